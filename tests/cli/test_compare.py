"""`stablenormal compare`: two folders of maps, their angles and their page."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stablenormal.cli.main import main
from stablenormal.io.normal_map import write_normal_map

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, list[str]]:
        with pytest.raises(SystemExit) as ended:
            main(["compare", *(str(word) for word in words)])
        out, err = capsys.readouterr()
        return int(str(ended.value.code or 0)), out, err.splitlines()

    return run


def tilted(degrees: float, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A plane whose normal is turned to the right."""
    angle = np.radians(degrees)
    return np.broadcast_to(np.array([np.sin(angle), 0, np.cos(angle)], np.float32), (*size, 3)).copy()


def record(folder: Path, name: str, photograph: str) -> None:
    entry = {
        "source": f"{name}.jpg", "name": name, "status": "done", "outputs": [f"{name}_normal.png"],
        "made_from": {"photograph": photograph},
    }  # fmt: skip
    settings = {"model": "small", "mode": "turbo", "seed": 3}
    (folder / "run.json").write_text(json.dumps({"files": [entry], "settings": settings}))


def test_the_angle_is_that_between_the_maps(tmp_path: Path, compare: Run) -> None:
    half = tilted(10)
    half[:, 20:] = 0  # not valid
    write_normal_map(tmp_path / "a/trip/one_normal.png", tilted(0), "directx")
    write_normal_map(tmp_path / "b/trip/one_normal.exr", half, format="exr")
    write_normal_map(tmp_path / "b/trip/one_normal_8bit.png", tilted(80), format="png8")  # less exact
    record(tmp_path / "a", "trip/one", "same")
    code, out, errors = compare(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert (code, errors) == (0, [])
    said = json.loads((tmp_path / "out/comparison.json").read_text())
    (one,) = said["maps"]
    assert one["name"] == "trip/one" and one["mean_deg"] == pytest.approx(10, abs=0.01)
    assert one["below"] == {"5": 0.0, "11.25": 1.0, "30": 1.0}
    assert (one["pixels"], one["only_one"]) == (20 * 20, 20 * 10)
    assert "trip/one" in out and "10.00°" in out
    page = (tmp_path / "out/index.html").read_text()
    assert "Difference" in page and "mode turbo, seed 3" in page and "10.00°" in page
    for label in ("left", "right", "difference"):
        assert (tmp_path / f"out/shown/trip/one-{label}.jpg").is_file()
        assert f"shown/trip/one-{label}.jpg" in page


def test_what_cannot_be_compared_is_told_and_the_rest_goes_on(tmp_path: Path, compare: Run) -> None:
    for side in ("a", "b"):
        write_normal_map(tmp_path / side / "good_normal.png", tilted(0))
    write_normal_map(tmp_path / "a/alone_normal.png", tilted(0))
    write_normal_map(tmp_path / "a/size_normal.png", tilted(0))
    write_normal_map(tmp_path / "b/size_normal.png", tilted(0, (20, 31)))
    code, out, errors = compare(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert code == 1 and "good" in out and len(errors) == 2
    assert "alone_normal.png" in errors[0] and "has no map of its name" in errors[0]
    assert "is 30 x 20 px" in errors[1] and "only maps of one size can be compared" in errors[1]
    assert errors[0].removeprefix("error: ") in (tmp_path / "out/index.html").read_text()


def test_maps_of_two_photographs_are_refused(tmp_path: Path, compare: Run) -> None:
    for side in ("a", "b"):
        write_normal_map(tmp_path / side / "one_normal.png", tilted(0))
        record(tmp_path / side, "one", f"photograph of {side}")
    code, _, errors = compare(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert code == 1 and len(errors) == 1 and "two different photographs" in errors[0]
    assert not (tmp_path / "out/index.html").exists()


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("none", "none: no such folder"),
        ("empty", "no normal map in it"),
        ("other", "no normal map of one name"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, compare: Run, second: str, told: str
) -> None:
    write_normal_map(tmp_path / "a/one_normal.png", tilted(0))
    write_normal_map(tmp_path / "other/two_normal.png", tilted(0))
    (tmp_path / "empty").mkdir()
    code, _, errors = compare(tmp_path / "a", tmp_path / second, "-o", tmp_path / "out")
    assert code == 1 and len(errors) == 1 and told in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_record_is_one_line(tmp_path: Path, compare: Run, content: str) -> None:
    for side in ("a", "b"):
        write_normal_map(tmp_path / side / "one_normal.png", tilted(0))
    (tmp_path / "b/run.json").write_text(content)
    code, _, errors = compare(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert code == 1 and len(errors) == 1 and "run.json: not a record of this program" in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_page_of_somebody_else_stays(tmp_path: Path, compare: Run) -> None:
    for side in ("a", "b"):
        write_normal_map(tmp_path / side / "one_normal.png", tilted(0))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/index.html").write_text("mine")
    code, _, errors = compare(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert code == 1 and "was not made by this program" in errors[0]
    assert (tmp_path / "out/index.html").read_text() == "mine"
