from pathlib import Path

import cv2
import numpy as np
import pytest

from stablenormal.errors import ImageReadError, OutputError, SettingError
from stablenormal.io.camera_file import read_camera_matrix
from stablenormal.io.depth_map import read_depth_map, write_depth_map

DEPTH = np.float32([[0, 1.5, 2.25], [1e-6, 3.0, 1.0]])


@pytest.mark.parametrize(("ending", "tolerance"), [(".exr", 0), (".npy", 0), (".png", 3 / 65535)])
def test_reading_gives_back_what_was_written(tmp_path: Path, ending: str, tolerance: float) -> None:
    path = tmp_path / f"depth{ending}"
    write_depth_map(path, DEPTH)
    found = read_depth_map(path)
    assert np.abs(found - DEPTH).max() <= tolerance
    assert np.array_equal(found > 0, DEPTH > 0)
    assert np.allclose(read_depth_map(path, scale=3 * 3 / 65535 if ending == ".png" else 3), found * 3)


def test_png_of_other_programs_needs_a_scale(tmp_path: Path) -> None:
    path = tmp_path / "millimetres.png"
    cv2.imwrite(str(path), np.uint16([[0, 1500]]))
    with pytest.raises(SettingError, match="scale"):
        read_depth_map(path)
    assert np.allclose(read_depth_map(path, scale=0.001), [[0, 1.5]])
    with pytest.raises(SettingError, match="scale"):
        read_depth_map(path, scale=0)


def test_what_is_not_known_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "depth.npy"
    np.save(path, np.array([[np.nan, np.inf, -1, 2]]))
    assert read_depth_map(path).tolist() == [[0, 0, 0, 2]]


def test_bad_files_are_refused(tmp_path: Path) -> None:
    for name, data in (("a.exr", b"x"), ("a.npy", b"x"), ("a.png", b"x"), ("a.txt", b"x"), ("b.exr", b"")):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ImageReadError, match=name):
            read_depth_map(path)
    np.save(tmp_path / "c.npy", np.zeros((2, 2, 3)))
    with pytest.raises(ImageReadError, match="H, W"):
        read_depth_map(tmp_path / "c.npy")
    with pytest.raises(OutputError, match="ending"):
        write_depth_map(tmp_path / "a.tif", DEPTH)


def test_a_camera_matrix_is_read_from_text_and_arrays(tmp_path: Path) -> None:
    matrix = np.array([[100, 0, 32], [0, 101, 24], [0, 0, 1.0]])
    np.savetxt(tmp_path / "k.txt", matrix)
    np.savetxt(tmp_path / "k.csv", matrix, delimiter=",")
    np.save(tmp_path / "k.npy", matrix)
    for name in ("k.txt", "k.csv", "k.npy"):
        camera = read_camera_matrix(tmp_path / name, 64, 48, pixel_centre=0)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (100, 101, 32.5, 24.5)
    np.savetxt(tmp_path / "bad.txt", matrix[:2])
    with pytest.raises(SettingError, match="3 x 3"):
        read_camera_matrix(tmp_path / "bad.txt", 64, 48)
    (tmp_path / "words.txt").write_text("one two three")
    with pytest.raises(ImageReadError, match="words.txt"):
        read_camera_matrix(tmp_path / "words.txt", 64, 48)
