"""Every reader against an analytic scene, in its set's true layout; see `write_fixtures.py`."""

import ast
import json
import shutil
import tarfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from stablenormal.data.keep_list import write_keep_list
from stablenormal.data.readers import hypersim, sintel
from stablenormal.data.readers.catalogue import READERS, open_source
from stablenormal.data.readers.conventions import CONVENTIONS
from stablenormal.data.sample import CLASSES, UNLABELLED, Sample
from stablenormal.data.shards import write_shard
from stablenormal.errors import DataError, FrameError, SettingError, StableNormalError

OPTIONS = {"folder": {"frame": "dsine"}, "shards": {"frame": "opencv"}}
MEDIAN_DEG = {"vkitti": 0.5, "replica": 0.3}
"""Depth in whole centimetres, 8-bit codes; the others are exact."""
WORST_DEG = {"vkitti": 25.0, "sintel": 10.0}
"""Planes fitted to depth are off beside the ball's outline."""


def opened(name: str, sets: Path, **options):
    return open_source(name, sets / name, **(OPTIONS.get(name, {}) | options))


def errors_deg(sample: Sample, truth) -> np.ndarray:
    valid = sample.normals.any(-1)
    return np.degrees(np.arccos(np.clip((sample.normals * truth.normals).sum(-1)[valid], -1, 1)))


@pytest.mark.parametrize("name", READERS)
def test_normals_are_those_of_the_scene(name: str, sets: Path, scenes) -> None:
    source = opened(name, sets)
    assert list(source.keys) == scenes.KEYS[name] and len(source) == len(scenes.KEYS[name])
    for index, key in enumerate(source.keys):
        sample, truth = source[index], scenes.truth(name, key)
        valid = sample.normals.any(-1)
        assert valid.mean() > (0.4 if name == "objaverse" else 0.9)
        errors = errors_deg(sample, truth)
        assert np.median(errors) < MEDIAN_DEG.get(name, 0.05)
        assert errors.max() < WORST_DEG.get(name, 0.5)
        np.testing.assert_allclose(np.linalg.norm(sample.normals[valid], axis=-1), 1, atol=1e-6)
        assert sample.meta["key"] == key and sample.meta["source"] == name
        assert (sample.labels == 0).tolist() == (~valid).tolist()


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("shards", "folder")])
def test_depth_and_camera_are_those_of_the_scene(name: str, sets: Path, scenes) -> None:
    source = opened(name, sets)
    for index, key in enumerate(source.keys):
        sample, truth = source[index], scenes.truth(name, key)
        known = sample.depth > 0
        assert known.mean() > 0.4
        np.testing.assert_allclose(sample.depth[known], truth.depth[known], rtol=1e-3)
        camera = scenes.TILTED if "ai_003" in key else scenes.SETS[name]
        found = sample.intrinsics
        assert (found.fx, found.fy, found.cx, found.cy) == pytest.approx(
            (camera.fx, camera.fy, camera.cx, camera.cy), abs=1e-6
        )


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("hypersim", "interiorverse")])
def test_pictures_are_those_of_the_scene(name: str, sets: Path, scenes) -> None:
    source = opened(name, sets)
    sample, truth = source[0], scenes.truth(name, source.keys[0])
    shown = truth.image.astype(int)
    if name == "objaverse":  # over white
        shown = np.where(truth.ball[..., None], shown, 255)
    assert np.abs(sample.image - shown).mean() < 2.5


@pytest.mark.parametrize("name", ["folder", "objaverse", "ken_burns", "interiorverse"])
def test_views_behind_a_link_are_found(name: str, sets: Path, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "elsewhere").symlink_to(sets / name, target_is_directory=True)
    assert len(opened(name, tmp_path).keys) == len(opened(name, sets).keys) > 0


def test_the_extra_is_imported_only_when_it_is_needed() -> None:
    for path in Path(hypersim.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            assert "h5py" not in ast.unparse(node) or not isinstance(node, ast.Import | ast.ImportFrom), path


@pytest.mark.parametrize("name", ["hypersim", "interiorverse", "vkitti", "sintel", "replica", "ken_burns"])
def test_listing_reads_no_pixels(name: str, copy_of) -> None:
    root = copy_of(name)
    for path in root.rglob("*"):
        if path.suffix in (".hdf5", ".exr", ".png", ".jpg", ".dpt"):
            path.write_bytes(b"")
    source = open_source(name, root)
    assert len(source) > 0
    with pytest.raises(StableNormalError):
        source[0]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_declares_its_convention(name: str) -> None:
    convention = CONVENTIONS[name]
    assert convention.derived or convention.frame is not None or name in ("folder", "shards")


@pytest.mark.parametrize(
    "name", [name for name in READERS if not CONVENTIONS[name].derived and name != "folder"]
)
def test_another_frame_gives_other_normals(name: str, sets: Path, scenes) -> None:
    frame = "directx" if name != "objaverse" else "opengl"
    sample = opened(name, sets, frame=frame)[0]
    assert np.median(errors_deg(sample, scenes.truth(name, scenes.KEYS[name][0]))) > 10


@pytest.mark.parametrize("name", ["vkitti", "sintel"])
def test_a_frame_for_computed_normals_is_refused(name: str, sets: Path) -> None:
    with pytest.raises(SettingError, match="no option 'frame'"):
        opened(name, sets, frame="opencv")


def test_hypersim_tone_mapping_brings_the_90th_percentile_to_four_fifths(sets: Path) -> None:
    sample = opened("hypersim", sets)[0]
    with h5py.File(sets / "hypersim/ai_001_001/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5") as file:
        light = file["dataset"][:].astype(np.float64)
    brightness = (light @ [0.3, 0.59, 0.11])[3:]  # the first rows show nothing, and are very bright
    expected = np.clip(light * (0.8**2.2 / np.percentile(brightness, 90)), 0, None) ** (1 / 2.2)
    assert np.abs(sample.image - 255 * np.clip(expected, 0, 1)).max() < 1
    assert not sample.normals[:3].any()


def test_hypersim_dark_or_empty_pictures_are_black_or_unscaled() -> None:
    light = np.full((4, 4, 3), 1e-6, np.float32)
    assert hypersim.tone_mapped(light, np.ones((4, 4), bool)).max() == 0
    ones = np.ones((4, 4, 3), np.float32)
    assert (hypersim.tone_mapped(ones, np.zeros((4, 4), bool)) == 255).all()


def test_hypersim_tilted_cameras_are_told(sets: Path, scenes) -> None:
    source = opened("hypersim", sets)
    straight, tilted = source[0], source[2]
    angle = np.degrees(np.arccos(scenes.TILT[2, 2]))
    assert straight.meta["tilt_deg"] == pytest.approx(0, abs=1e-5)
    assert tilted.meta["tilt_deg"] == pytest.approx(angle, abs=1e-6)
    assert tilted.meta["skew"] == pytest.approx(0, abs=1e-9)


def test_hypersim_without_its_tables_takes_the_usual_camera(copy_of, scenes) -> None:
    root = copy_of("hypersim")
    for table in root.glob("*.csv"):
        table.unlink()
    sample = open_source("hypersim", root)[0]
    assert np.median(errors_deg(sample, scenes.truth("hypersim", "ai_001_001/cam_00/frame.0000"))) < 0.05
    with pytest.raises(DataError, match="split 'train' is not known"):
        open_source("hypersim", root, split="train")


def test_hypersim_splits_bumps_and_labels(sets: Path) -> None:
    train = opened("hypersim", sets, split="train")
    assert train.keys == ("ai_001_001/cam_00/frame.0000", "ai_003_010/cam_01/frame.0007")
    assert opened("hypersim", sets, split="val").keys == ("ai_001_001/cam_00/frame.0001",)
    labels = {CLASSES[number] for number in np.unique(train[0].labels)}
    assert labels == {"background", "floor", "object"}
    assert set(np.unique(train[0].instances)) == {0, 4, 8}
    bumped = opened("hypersim", sets, bump="true")[0]
    assert np.abs(bumped.normals - train[0].normals).max() > 0.02
    with pytest.raises(SettingError, match=r"no split 'holdout'; choose one of train, val"):
        opened("hypersim", sets, split="holdout")


def test_hypersim_matrices_that_are_no_camera_are_refused() -> None:
    with pytest.raises(DataError, match="is no camera"):
        hypersim.camera_model(np.diag([1.0, 1.0, 1.0]), 8, 8)


def test_sintel_has_two_passes(sets: Path) -> None:
    final, clean = opened("sintel", sets)[0], opened("sintel", sets, rendering="clean")[0]
    np.testing.assert_array_equal(final.image, 255 - clean.image)
    with pytest.raises(SettingError, match="no pass 'albedo'; choose one of final, clean"):
        opened("sintel", sets, rendering="albedo")


@pytest.mark.parametrize("what", ["depth", "camdata_left"])
def test_sintel_files_cut_short_or_missing_are_named(what: str, copy_of) -> None:
    root = copy_of("sintel")
    path = next((root / "training" / what).rglob("frame_0001.*"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="copy it again") as caught:
        open_source("sintel", root)[0]
    assert str(path) in str(caught.value)
    path.write_bytes(b"\0" * 4000)
    with pytest.raises(DataError, match="Sintel's tag"):
        (sintel.read_dpt if what == "depth" else sintel.read_cam)(path)
    path.unlink()
    with pytest.raises(DataError, match="unpack MPI-Sintel-depth-training"):
        open_source("sintel", root)[0]


def test_vkitti_in_the_folders_of_its_archives(sets: Path, tmp_path: Path) -> None:
    for what in ("rgb", "depth", "classSegmentation"):
        target = tmp_path / f"vkitti_2.0.3_{what}/Scene01/clone/frames/{what}"
        shutil.copytree(sets / f"vkitti/Scene01/clone/frames/{what}", target)
    for name in ("intrinsic.txt", "colors.txt"):
        target = tmp_path / "vkitti_2.0.3_textgt/Scene01/clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sets / f"vkitti/Scene01/clone/{name}", target)
    apart, merged = open_source("vkitti", tmp_path), opened("vkitti", sets)
    assert apart.keys == merged.keys
    np.testing.assert_array_equal(apart[1].normals, merged[1].normals)
    assert {CLASSES[number] for number in np.unique(apart[1].labels)} == {"background", "object", "road"}


def test_vkitti_says_which_archive_is_missing(copy_of) -> None:
    root = copy_of("vkitti")
    (root / "Scene01/clone/intrinsic.txt").unlink()
    with pytest.raises(DataError, match="unpack vkitti_2.0.3_textgt too"):
        open_source("vkitti", root)[0]
    shutil.rmtree(root / "Scene01/clone/frames/depth")
    with pytest.raises(DataError, match="unpack vkitti_2.0.3_depth too"):
        open_source("vkitti", root)[0]


def test_classes_that_a_set_does_not_have_are_unlabelled(sets: Path) -> None:
    assert set(np.unique(opened("ken_burns", sets)[0].labels)) == {UNLABELLED}


def test_a_field_of_view_is_an_option_where_the_set_does_not_say_it(sets: Path) -> None:
    sample = opened("interiorverse", sets, fov_deg="120")[0]
    assert sample.intrinsics.fov_deg[0] == pytest.approx(120)
    with pytest.raises(SettingError, match="fov_deg is 'wide'"):
        opened("interiorverse", sets, fov_deg="wide")


def test_a_ken_burns_place_without_its_field_of_view_is_assumed(copy_of) -> None:
    root = copy_of("ken_burns")
    (root / "asdf-flying/00000-meta.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(DataError, match="fltFov"):
        open_source("ken_burns", root)[0]
    (root / "asdf-flying/00000-meta.json").unlink()
    assert open_source("ken_burns", root)[0].meta["intrinsics"] == "assumed"


def test_objects_are_valid_where_they_are_opaque(sets: Path, scenes) -> None:
    sample = opened("objaverse", sets)[0]
    ball = scenes.truth("objaverse", "teapot/r_0").ball
    np.testing.assert_array_equal(sample.normals.any(-1), ball)
    assert (sample.image[~ball] == 255).all()


def test_broken_cameras_of_objects_are_named(copy_of) -> None:
    root = copy_of("objaverse")
    (root / "teapot/transforms.json").write_text("{")
    with pytest.raises(DataError, match=r"transforms.json: not cameras with frames"):
        open_source("objaverse", root)


def test_a_folder_needs_to_know_the_frame(sets: Path) -> None:
    with pytest.raises(FrameError, match="does not say its frame"):
        open_source("folder", sets / "folder")[0]
    sample = open_source("folder", sets / "folder")[1]  # says it itself
    assert sample.meta["key"] == "inner/pear"


def test_masks_are_applied(sets: Path) -> None:
    sample = opened("folder", sets)[0]
    assert not sample.normals[-6:].any() and sample.normals[:-6].any(-1).all()
    assert sample.intrinsics.fy == 104.0


def test_sizes_that_differ_are_an_error(copy_of) -> None:
    root = copy_of("replica")
    path = root / "rgb/replica/apartment_0/point_0_view_0_domain_rgb.png"
    cv2.imwrite(str(path), np.zeros((36, 48, 3), np.uint8))
    with pytest.raises(DataError, match=r"its normal map has 96 x 72 px, its image 48 x 36 px"):
        open_source("replica", root)[0]


def test_nan_in_normals_is_an_error(copy_of) -> None:
    root = copy_of("folder")
    path = root / "inner/pear_normal.npy"
    normals = np.load(path)
    normals[3, 4] = np.nan
    np.save(path, normals)
    with pytest.raises(DataError, match=r"inner/pear: 1 normals are NaN or infinite"):
        open_source("folder", root)[1]


def test_a_missing_partner_is_named(copy_of) -> None:
    root = copy_of("interiorverse")
    (root / "L3D124S8/001_normal.exr").unlink()
    source = open_source("interiorverse", root)
    assert source[0].normals.any()
    with pytest.raises(StableNormalError, match=r"001_normal.exr: no such file"):
        source[1]


def test_our_shards_by_index_are_what_was_written(sets: Path, tmp_path: Path) -> None:
    written = [opened("hypersim", sets)[index] for index in range(2)]
    for place, sample in enumerate(written):
        sample.meta["key"] = f"s{place}"
    write_shard(tmp_path / "shard-000000.tar", written, "png")
    source = open_source("shards", tmp_path)
    assert source.keys == ("shard-000000/s0", "shard-000000/s1")
    for index in (1, 0):
        np.testing.assert_array_equal(source[index].image, written[index].image)
        np.testing.assert_allclose(source[index].normals, written[index].normals, atol=4e-5)
        np.testing.assert_array_equal(source[index].labels, written[index].labels)
        assert source[index].intrinsics == written[index].intrinsics
        np.testing.assert_allclose(source.view(index).vectors, written[index].normals, atol=4e-5)


def test_a_shard_cut_short_gives_what_is_whole_and_names_the_rest(copy_of) -> None:
    root = copy_of("shards")
    path = root / "generic-000000.tar"
    with tarfile.open(path) as tar:
        last = tar.getmember("room/b.normal.png")
    path.write_bytes(path.read_bytes()[: last.offset_data + 100])
    source = open_source("shards", root, frame="opencv")
    assert len(source) == 2 and source[0].normals.any()
    with pytest.raises(DataError, match=r"generic-000000.tar, room/b: the shard is cut short"):
        source[1]


@pytest.mark.parametrize("into", [0, 200])
def test_a_shard_cut_in_a_header_is_noticed(copy_of, into: int) -> None:
    root = copy_of("shards")
    path = root / "generic-000000.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset + into])
    source = open_source("shards", root, frame="opencv")
    with pytest.raises(DataError, match=r"generic-000000.tar, room/b: the shard is cut short"):
        source[len(source) - 1]


def test_a_mask_of_another_size_is_named(copy_of) -> None:
    root = copy_of("replica")
    masks = sorted((root / "mask_valid").rglob("*.png"))
    assert masks
    for path in masks:
        cv2.imwrite(str(path), np.full((9, 11), 255, np.uint8))
    with pytest.raises(DataError, match=r"is 11 x 9 px, the normals"):
        open_source("replica", root)[0]


def test_objects_whose_frames_name_absolute_paths(copy_of) -> None:
    root = copy_of("objaverse")
    file = next(root.rglob("transforms*.json"))
    content = json.loads(file.read_text())
    before = open_source("objaverse", root)[0]
    for frame in content["frames"]:
        frame["file_path"] = str((file.parent / frame["file_path"]).resolve())
    file.write_text(json.dumps(content))
    np.testing.assert_array_equal(open_source("objaverse", root)[0].normals, before.normals)
    file.write_text('"not cameras"')
    with pytest.raises(DataError, match="not cameras with frames"):
        open_source("objaverse", root)


def test_a_window_that_fits_no_plane_is_refused(copy_of) -> None:
    with pytest.raises(SettingError, match="window is 4"):
        open_source("sintel", copy_of("sintel"), window=4)


def test_a_shard_that_is_no_tar_at_all_is_one_damaged_sample(copy_of) -> None:
    root = copy_of("shards")
    (root / "generic-000001.tar").write_bytes(b"not a tar file" * 100)
    source = open_source("shards", root, frame="opencv")
    assert len(source) == 3 and source[1].normals.any()
    with pytest.raises(DataError, match=r"generic-000001.tar, first sample: the shard is cut short"):
        source[2]


def test_a_foreign_shard_without_normals_names_its_members(tmp_path: Path) -> None:
    import webdataset

    _, picture = cv2.imencode(".png", np.zeros((72, 96, 3), np.uint8))
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "x", "jpg": picture.tobytes(), "txt": "a"})
    with pytest.raises(DataError, match=r"a.tar, x: has no normal map among jpg, txt; name it normal.png"):
        open_source("shards", tmp_path)[0]


def test_damage_inside_a_foreign_shard_names_shard_and_member(tmp_path: Path) -> None:
    import webdataset

    _, picture = cv2.imencode(".png", np.zeros((72, 96, 3), np.uint8))
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "x", "png": picture.tobytes(), "normal.png": picture.tobytes()[:60]})
    with pytest.raises(DataError, match=r"a.tar, x.normal.png: not a readable PNG"):
        open_source("shards", tmp_path, frame="opengl")[0]


@pytest.mark.parametrize("name", [name for name in READERS if name != "shards"])
def test_an_empty_folder_says_what_was_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"holds nothing of {name}; looked for"):
        open_source(name, tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_source("hypersim", tmp_path / "nowhere")


def test_unknown_readers_and_options_name_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'hypersim'"):
        open_source("hypersym", ".")
    with pytest.raises(SettingError, match="no option 'fov'; did you mean 'fov_deg'"):
        open_source("interiorverse", ".", fov=85)


def test_a_keep_list_leaves_the_rest_out(sets: Path, tmp_path: Path) -> None:
    keep = tmp_path / "keep.txt"
    write_keep_list(keep, "replica", ["replica/room_1/point_3_view_2"])
    source = open_source("replica", sets / "replica", keep)
    assert source.keys == ("replica/room_1/point_3_view_2",) and source[0].normals.any()
