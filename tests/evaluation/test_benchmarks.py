import shutil

import cv2
import numpy as np
import pytest

from stablenormal.errors import DataError, FrameError, SettingError
from stablenormal.evaluation.benchmarks import BENCHMARKS, list_benchmark

TOLERANCES = {"nyuv2": 0.006, "scannet": 0.006}  # 8 bits; the others keep four digits or more
REGION = (slice(1, 9), slice(2, 12))  # of OASIS's fixtures


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_each_format_is_decoded_to_opengl(fixtures, writer, benchmark) -> None:
    entries = list_benchmark(benchmark, fixtures / benchmark)
    assert len(entries) == 2
    for image, entry in zip("ab", entries, strict=True):
        truth, pair = writer.truth(image), entry.load()
        if benchmark == "oasis":
            inside = np.zeros(truth.shape[:2], bool)
            inside[REGION] = True
            truth = truth * inside[..., None]
        expected_length = 0.75 if benchmark in ("ibims", "sintel") else 1
        np.testing.assert_allclose(
            pair.normals, truth * expected_length, atol=TOLERANCES.get(benchmark, 1e-4), err_msg=entry.name
        )
        assert ((pair.normals == 0).all(-1) == (truth == 0).all(-1)).all()
        assert pair.normals.dtype == np.float32
        assert pair.image.shape == truth.shape


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_script_still_writes_the_committed_sets(fixtures, writer, tmp_path, benchmark) -> None:
    writer.write_fixtures(tmp_path)
    for old, new in zip(
        list_benchmark(benchmark, fixtures), list_benchmark(benchmark, tmp_path), strict=True
    ):
        assert old.name == new.name
        np.testing.assert_array_equal(old.load().normals, new.load().normals)
    assert (tmp_path / "known-answers.json").read_text() == (fixtures / "known-answers.json").read_text()


def test_names_lie_below_the_common_folder_and_scenes_are_sources(fixtures) -> None:
    assert [entry.name for entry in list_benchmark("nyuv2", fixtures / "nyuv2")] == ["000000", "000001"]
    scannet = list_benchmark("scannet", fixtures)
    assert [entry.name for entry in scannet] == ["scene0015_00/000063", "scene0025_01/000117"]
    assert [entry.source for entry in scannet] == ["scene0015_00", "scene0025_01"]


@pytest.mark.parametrize("benchmark", [name for name in BENCHMARKS if name != "folder"])
def test_a_set_behind_a_link_is_found(fixtures, tmp_path, benchmark) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "elsewhere").symlink_to(fixtures / benchmark, target_is_directory=True)
    here = list_benchmark(benchmark, fixtures / benchmark)
    there = list_benchmark(benchmark, tmp_path / "sets")
    assert len(here) == len(there) > 0


def test_diode_has_parts(fixtures) -> None:
    assert [entry.source for entry in list_benchmark("diode", fixtures)] == ["indoor", "outdoor"]
    (indoor,) = list_benchmark("diode", fixtures, part="indoor")
    assert "indoors" in indoor.photograph.as_posix()
    with pytest.raises(SettingError, match="only diode has parts"):
        list_benchmark("nyuv2", fixtures, part="indoor")


@pytest.mark.parametrize("benchmark", ["diode", "folder"])
def test_the_frame_of_the_truth_can_be_given(fixtures, benchmark) -> None:
    plain = list_benchmark(benchmark, fixtures)[0].load().normals
    flipped = list_benchmark(benchmark, fixtures, truth_frame="directx")[0].load().normals
    np.testing.assert_allclose(flipped, plain * [1, -1, 1], atol=1e-6)


def test_wrong_settings_name_the_choices(fixtures) -> None:
    with pytest.raises(SettingError, match="no benchmark 'kitti'; choose one of nyuv2"):
        list_benchmark("kitti", fixtures)
    with pytest.raises(SettingError, match="sintel's ground truth is in frame dsine"):
        list_benchmark("sintel", fixtures, truth_frame="opengl")
    with pytest.raises(FrameError, match="unknown frame"):
        list_benchmark("diode", fixtures, truth_frame="maya")
    with pytest.raises(SettingError, match="needs a rotation"):
        list_benchmark("diode", fixtures, truth_frame="world")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_an_empty_set_is_an_error(tmp_path, benchmark) -> None:
    with pytest.raises(DataError, match="no NAME_rgb|found no X"):
        list_benchmark(benchmark, tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        list_benchmark(benchmark, tmp_path / "nowhere")


@pytest.mark.parametrize("benchmark", [name for name in BENCHMARKS if name != "folder"])
def test_a_missing_partner_is_named(fixtures, tmp_path, benchmark) -> None:
    root = tmp_path / "set"
    shutil.copytree(fixtures / benchmark, root)
    entry = list_benchmark(benchmark, root)[1]
    kept = entry.truth.read_bytes()
    entry.truth.unlink()
    with pytest.raises(DataError, match=f"{entry.truth.name}: missing"):
        list_benchmark(benchmark, root)
    entry.truth.write_bytes(kept)
    entry.photograph.unlink()
    with pytest.raises(DataError, match=f"{entry.truth.name}: its photograph is missing"):
        list_benchmark(benchmark, root)


def test_two_photographs_of_one_name_are_refused(fixtures, tmp_path) -> None:
    shutil.copytree(fixtures / "nyuv2", tmp_path / "set")
    shutil.copy(tmp_path / "set/test/000000_img.png", tmp_path / "set/test/000000_img.jpg")
    with pytest.raises(DataError, match="second photograph"):
        list_benchmark("nyuv2", tmp_path / "set")


@pytest.mark.parametrize(("benchmark", "kind"), [("nyuv2", np.uint16), ("vkitti", np.uint8)])
def test_a_wrong_bit_depth_of_the_truth_is_named(fixtures, tmp_path, benchmark, kind) -> None:
    shutil.copytree(fixtures / benchmark, tmp_path / "set")
    entry = list_benchmark(benchmark, tmp_path / "set")[0]
    cv2.imwrite(str(entry.truth), np.full((12, 16, 3), 100, kind))
    with pytest.raises(DataError, match=f"{entry.truth.name}: this set's normals are"):
        entry.load()


def test_truth_of_another_size_or_without_valid_pixels_is_named(fixtures, tmp_path) -> None:
    shutil.copytree(fixtures / "vkitti", tmp_path / "set")
    entry = list_benchmark("vkitti", tmp_path / "set")[0]
    cv2.imwrite(str(entry.truth), np.full((16, 16, 3), 40000, np.uint16))
    with pytest.raises(DataError, match=r"00000_normal\.png: is \(16, 16\), its photograph"):
        entry.load()
    cv2.imwrite(str(entry.truth), np.zeros((12, 16, 3), np.uint16))
    with pytest.raises(DataError, match=r"00000_normal\.png: has no valid pixel"):
        entry.load()


@pytest.mark.parametrize("benchmark", [name for name in BENCHMARKS if name != "folder"])
def test_damaged_truth_is_named(fixtures, tmp_path, benchmark) -> None:
    shutil.copytree(fixtures / benchmark, tmp_path / "set")
    entry = list_benchmark(benchmark, tmp_path / "set")[0]
    entry.truth.write_bytes(entry.truth.read_bytes()[:60])
    with pytest.raises(DataError, match=entry.truth.name):
        entry.load()


def test_nan_in_the_truth_is_an_error_where_no_rule_makes_it_invalid(fixtures, tmp_path) -> None:
    shutil.copytree(fixtures / "diode", tmp_path / "set")
    entry = list_benchmark("diode", tmp_path / "set")[0]
    np.save(entry.truth, np.full((12, 16, 3), np.nan, np.float32))
    with pytest.raises(DataError, match="NaN"):
        entry.load()
    np.save(entry.truth, np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(DataError, match="expected floats"):
        entry.load()
