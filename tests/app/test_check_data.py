"""`data check` as a whole: chance, and settings that no view can be read with."""

from pathlib import Path

import numpy as np
import pytest

from stablenormal.app import check_data as job
from stablenormal.app.check_data import CheckSettings, check_data
from stablenormal.data.checking import Finding, ViewReport
from stablenormal.errors import SettingError
from stablenormal.io.image import write_image


def folder_of(root: Path, count: int) -> CheckSettings:
    for place in range(count):
        write_image(root / f"{place:03}_rgb.png", np.zeros((8, 8, 3), np.float32))
        np.save(root / f"{place:03}_normal.npy", np.broadcast_to(np.float32([0, 0, 1]), (8, 8, 3)))
    return CheckSettings(reader="folder", root=str(root), options={"frame": "opengl"})


def with_mirrored(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The first `count` views look mirrored, the others have nothing."""

    def checked(view: object, key: str, *unused: object) -> ViewReport:
        looks = (Finding("mirrored", "edges"),) if int(key[:3]) < count else ()
        return ViewReport(key, 8, 8, findings=(*looks, Finding("blank", "grey")))

    monkeypatch.setattr(job, "check_view", checked)


@pytest.mark.parametrize(("mirrored", "told"), [(1, 0), (2, 2), (40, 40)])
def test_one_mirrored_view_of_many_is_chance_but_not_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirrored: int, told: int
) -> None:
    settings = folder_of(tmp_path, 40)
    with_mirrored(monkeypatch, mirrored)
    report = check_data(settings)
    assert report.counts.get("mirrored", 0) == told
    assert report.counts["blank"] == 40  # nothing else is left out


def test_a_setting_that_fits_no_view_is_told_once(tmp_path: Path) -> None:
    folder_of(tmp_path, 20)
    seen: list[None] = []
    with pytest.raises(SettingError, match="none of the first 8 views can be read: .*frame") as told:
        check_data(CheckSettings(reader="folder", root=str(tmp_path)), on_view=lambda: seen.append(None))
    assert "\n" not in str(told.value) and len(seen) < 8


def test_one_damaged_view_does_not_stop_the_check(tmp_path: Path) -> None:
    settings = folder_of(tmp_path, 12)
    (tmp_path / "000_normal.npy").write_bytes(b"cut")
    report = check_data(settings)
    assert len(report.views) == 12 and report.counts["unreadable"] == 1
