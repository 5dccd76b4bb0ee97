from pathlib import Path

import numpy as np
import pytest

from stablenormal.errors import SettingError
from stablenormal.io.camera_file import read_camera_matrix


def test_text_of_windows(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_bytes(b"\xef\xbb\xbf100, 0, 48\r\n0, 110, 32\r\n0, 0, 1\r\n")
    camera = read_camera_matrix(tmp_path / "k.txt", 96, 64)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (100, 110, 48, 32)


@pytest.mark.parametrize("factor", [0.5, 0.25, 1.5, 2.0])
def test_a_matrix_of_another_size_is_refused(tmp_path: Path, factor: float) -> None:
    np.save(tmp_path / "k.npy", np.diag([factor, factor, 1]) @ [[300, 0, 160], [0, 300, 120], [0, 0, 1]])
    with pytest.raises(
        SettingError, match=rf"{320 * factor:.0f} x {240 * factor:.0f} px, the picture is 320"
    ):
        read_camera_matrix(tmp_path / "k.npy", 320, 240)


def test_a_crop_may_be_off_centre(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", [[300, 0, 300], [0, 300, 20], [0, 0, 1]])
    assert read_camera_matrix(tmp_path / "k.npy", 320, 240).cx == 300


@pytest.mark.parametrize("focal", [0.035, 1e9])
def test_a_focal_length_of_no_lens_is_refused(tmp_path: Path, focal: float) -> None:
    np.save(tmp_path / "k.npy", [[focal, 0, 160], [0, focal, 120], [0, 0, 1]])
    with pytest.raises(SettingError, match=r"k\.npy: .*field of view.* not plausible"):
        read_camera_matrix(tmp_path / "k.npy", 320, 240)
