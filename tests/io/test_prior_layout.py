import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stablenormal.errors import SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import PosedCamera
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.prior_layout import (
    LAYOUTS,
    check_layout,
    prior_files,
    read_confidence,
    write_index,
    write_prior,
)

VALID = np.ones((6, 8), np.bool_)
VALID[0] = False


def camera() -> PosedCamera:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [0.3, -0.5, 1.0]).as_matrix()
    pose[:3, 3] = 1, 2, 3
    return PosedCamera(Intrinsics(9, 10, 4, 3, 8, 6), pose)


def normals() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(6, 8, 3)) + [0, 0, 2]
    unit = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return np.where(VALID[..., None], unit, 0).astype(np.float32)


def written(folder: Path, layout: str, space: str) -> Path:
    confidence = np.where(VALID, 0.25, 0).astype(np.float32)
    write_prior(folder, layout, "a/b", normals(), camera(), VALID, confidence, space)
    path, mask, sure = prior_files(folder, layout, "a/b", True)
    assert np.array_equal(cv2.imread(str(mask), 0) == 255, VALID)
    assert np.allclose(read_confidence(sure), confidence, atol=1e-4)
    return path


@pytest.mark.parametrize("space", ["camera", "world"])
def test_plain_maps_know_their_frame(tmp_path: Path, space: str) -> None:
    found = read_normal_map(written(tmp_path, "plain", space))
    assert found.stored_frame == {"camera": "opengl", "world": "world"}[space]
    assert np.allclose(found.normals, normals(), atol=2e-4)


@pytest.mark.parametrize("layout", ["2dgs", "gsplat"])
@pytest.mark.parametrize("space", ["camera", "world"])
def test_arrays(tmp_path: Path, layout: str, space: str) -> None:
    found = np.load(written(tmp_path, layout, space))
    turn = camera().rotation.T if space == "world" else np.diag([1, -1, -1])
    assert found.dtype == np.float32
    assert np.allclose(found, normals() @ turn, atol=1e-6)


def test_eight_bits_of_opencv(tmp_path: Path) -> None:
    path = written(tmp_path, "dn-splatter", "camera")
    assert path == tmp_path / "normals_from_pretrain/a/b.png"
    found = cv2.imread(str(path))[..., ::-1] / 255 * 2 - 1
    assert np.allclose(found[VALID], (normals() * [1, -1, -1])[VALID], atol=0.005)


def test_what_nerfstudios_reader_makes_of_it(tmp_path: Path) -> None:
    """The reader's own steps: decode, unit length, camera-to-world of the index, (H, W, 3)."""
    write_prior(tmp_path, "nerfstudio", "b", normals(), camera(), VALID, None, "camera")
    write_index(tmp_path, {"b": camera()}, {"b": "images/b.png"}, [[-1, -1, -1], [1, 1, 1]])
    meta = json.loads((tmp_path / "meta_data.json").read_text())
    entry = meta["frames"][0]
    assert (meta["width"], meta["height"], meta["has_mono_prior"]) == (8, 6, True)
    assert np.load(tmp_path / entry["mono_depth_path"]).shape == (6, 8)
    assert np.allclose(np.array(entry["intrinsics"])[:2, :3], [[9, 0, 4], [0, 10, 3]])
    loaded = (np.load(tmp_path / entry["mono_normal_path"]) * 2 - 1).reshape(3, -1)
    world = (np.array(entry["camtoworld"])[:3, :3] @ loaded).T.reshape(6, 8, 3)
    assert np.allclose(world, normals() @ camera().rotation.T, atol=1e-5)


def test_bad_choices(tmp_path: Path) -> None:
    assert check_layout("gsplat", None) == "world"
    assert all(check_layout(name, None) == layout.space for name, layout in LAYOUTS.items())
    with pytest.raises(SettingError, match="unknown layout"):
        check_layout("ngp", None)
    with pytest.raises(SettingError, match="camera space, not 'world'"):
        check_layout("nerfstudio", "world")
    other = PosedCamera(Intrinsics(9, 10, 4, 3, 9, 6), np.eye(4))
    with pytest.raises(SettingError, match="one size"):
        write_index(tmp_path, {"a": camera(), "b": other}, {"a": "a", "b": "b"}, [[0, 0, 0], [1, 1, 1]])
    (tmp_path / "c.png").write_bytes(b"no")
    with pytest.raises(SettingError, match="not a confidence map"):
        read_confidence(tmp_path / "c.png")
