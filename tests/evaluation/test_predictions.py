import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from stablenormal.errors import FrameError, NormalMapError, SettingError
from stablenormal.evaluation.benchmarks import list_benchmark
from stablenormal.evaluation.predictions import KINDS, find_predictions, read_prediction

SIZE = (12, 16)


@pytest.fixture
def entries(fixtures):
    return list_benchmark("folder", fixtures)


@pytest.fixture
def folder(fixtures, tmp_path):
    """A copy of the 16-bit predictions that may be spoiled."""
    shutil.copytree(fixtures / "predictions/png16", tmp_path / "p")
    return tmp_path / "p"


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_found_and_read(fixtures, writer, entries, kind) -> None:
    found = find_predictions(fixtures / "predictions" / kind, entries)
    assert (found.kind, found.unused) == (kind, 0)
    for image, entry in zip("ab", entries, strict=True):
        normals = read_prediction(found.paths[entry.name], "opengl", SIZE).permute(1, 2, 0)
        tolerance = 0.006 if kind == "png8" else 1e-4
        np.testing.assert_allclose(normals, writer.prediction(image), atol=tolerance)


@pytest.mark.parametrize("stem", ["cup", "cup_normal", "cup_rgb", "cup_rgb_normal", "cup_rgb_normal_8bit"])
def test_names_that_estimators_give(folder, entries, stem) -> None:
    (folder / "cup_rgb_normal.png").rename(folder / f"{stem}.png")
    assert find_predictions(folder, entries).paths["cup"].stem == stem


def test_folders_of_the_set_are_folders_of_the_predictions(fixtures, tmp_path) -> None:
    entries = list_benchmark("scannet", fixtures)
    for entry in entries:
        path = tmp_path / f"{entry.name}.npy"
        path.parent.mkdir()
        np.save(path, np.zeros((*SIZE, 3), np.float32))
    assert find_predictions(tmp_path, entries).paths[entries[1].name] == path


@pytest.mark.parametrize("below", ["", "test"])
def test_folders_count_from_the_root_or_from_what_the_photographs_share(fixtures, tmp_path, below) -> None:
    entries = list_benchmark("nyuv2", fixtures)
    (tmp_path / below).mkdir(exist_ok=True)
    for entry in entries:
        np.save(tmp_path / below / f"{entry.name}_img_normal.npy", np.zeros((*SIZE, 3), np.float32))
    assert find_predictions(tmp_path, entries).paths["000001"].parent == tmp_path / below


def test_a_missing_prediction_is_named(folder, entries) -> None:
    (folder / "pear_rgb_normal.png").unlink()
    with pytest.raises(NormalMapError, match=r"pear_normal\.png: missing"):
        find_predictions(folder, entries)
    with pytest.raises(NormalMapError, match="no such folder"):
        find_predictions(folder / "nowhere", entries)


def test_two_predictions_of_one_image_are_refused_unless_the_format_decides(
    folder, fixtures, entries
) -> None:
    for name in ("cup", "pear"):
        shutil.copy(fixtures / f"predictions/npy/{name}_rgb_normal.npy", folder)
    with pytest.raises(NormalMapError, match="second prediction besides"):
        find_predictions(folder, entries)
    assert find_predictions(folder, entries, "npy").paths["cup"].suffix == ".npy"
    assert find_predictions(folder, entries, "png16").paths["cup"].suffix == ".png"
    with pytest.raises(SettingError, match="no format 'tiff'"):
        find_predictions(folder, entries, "tiff")


def test_a_wrong_or_mixed_bit_depth_is_named(folder, fixtures, entries) -> None:
    with pytest.raises(NormalMapError, match=r"cup_rgb_normal\.png: is png16, not png8"):
        find_predictions(folder, entries, "png8")
    shutil.copy(fixtures / "predictions/png8/pear_rgb_normal.png", folder)
    with pytest.raises(NormalMapError, match=r"pear_rgb_normal\.png: is png8, but .* png16"):
        find_predictions(folder, entries)
    Image.new("1", SIZE[::-1]).save(folder / "pear_rgb_normal.png")
    with pytest.raises(NormalMapError, match=r"pear_rgb_normal\.png: has 1 bits a channel"):
        find_predictions(folder, entries)
    (folder / "pear_rgb_normal.png").write_bytes(b"no picture")
    with pytest.raises(NormalMapError, match=r"pear_rgb_normal\.png: not a readable PNG"):
        find_predictions(folder, entries)


def test_maps_that_belong_to_nothing_are_counted(folder, entries) -> None:
    shutil.copy(folder / "cup_rgb_normal.png", folder / "apple_rgb_normal.png")
    assert find_predictions(folder, entries).unused == 1


def test_the_ground_truth_is_no_prediction(fixtures, entries) -> None:
    with pytest.raises(NormalMapError, match="is a file of the set itself"):
        find_predictions(fixtures / "folder", [entries[0]], "png16")


def test_another_size_is_never_resized(folder, entries) -> None:
    path = folder / "cup_rgb_normal.png"
    with pytest.raises(NormalMapError, match=r"cup_rgb_normal\.png: is 16 x 12 px, its ground truth 32 x 24"):
        read_prediction(path, "opengl", (24, 32))


def test_not_unit_length_all_zero_and_nan_are_named(tmp_path) -> None:
    path = tmp_path / "x.npy"
    for value, message in ((0.5, "not unit length"), (0.0, "all normals are zero"), (np.nan, "NaN")):
        np.save(path, np.full((*SIZE, 3), value, np.float32))
        with pytest.raises(NormalMapError, match=rf"x\.npy: .*{message}"):
            read_prediction(path, "opengl", SIZE)
    cv2.imwrite(str(tmp_path / "x.png"), np.full((*SIZE, 3), 200, np.uint16))  # 8 bits in a 16-bit file
    with pytest.raises(NormalMapError, match=r"x\.png: .*not unit length"):
        read_prediction(tmp_path / "x.png", "opengl", SIZE)


def test_the_frame_must_be_known(folder) -> None:
    path = folder / "cup_rgb_normal.png"
    with pytest.raises(FrameError, match="give frame="):
        read_prediction(path, None, SIZE)
    flipped = read_prediction(path, "dsine", SIZE)
    np.testing.assert_allclose(flipped[0], -read_prediction(path, "opengl", SIZE)[0], atol=1e-6)
