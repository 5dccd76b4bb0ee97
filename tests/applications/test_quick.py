"""The public names of the applications, with files and arrays as people have them."""

from pathlib import Path

import numpy as np
import pytest

import stablenormal
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.normals import convert_frame
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import write_normal_map


def dome(size: int) -> np.ndarray:
    """Normals (H, W, 3) of half a sphere, zero around it."""
    y, x = np.mgrid[1 : -1 : size * 1j, -1 : 1 : size * 1j] * 1.1
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    normals = np.stack([x, y, z], axis=-1)
    return np.where(z[..., None] > 0.2, normals, 0).astype(np.float32)


def test_a_mesh_of_a_file_an_array_and_a_map_is_the_same(tmp_path: Path) -> None:
    normals = dome(24)
    write_normal_map(tmp_path / "a.exr", normals, format="exr")
    read = stablenormal.read_normal_map(tmp_path / "a.exr")
    by_array = stablenormal.mesh(np.asarray(read))
    for given in (tmp_path / "a.exr", str(tmp_path / "a.exr"), read):
        np.testing.assert_array_equal(stablenormal.mesh(given).positions, by_array.positions)
    assert len(by_array.faces) > 300
    depth = stablenormal.integrate_normals(read).depth
    assert depth[12, 12] < depth[12, 4]  # the middle of a dome is nearer
    with pytest.raises(stablenormal.StableNormalError, match="expected 'opengl'"):
        stablenormal.integrate_normals(convert_frame(read, "opengl", "opencv"))


def test_a_coarse_map_is_enhanced_from_files(toy_model: Path, tmp_path: Path) -> None:
    coarse = dome(32)
    write_normal_map(tmp_path / "coarse.exr", coarse, format="exr")
    write_image(
        tmp_path / "photo.png", np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    )
    options = {"model": toy_model, "device": "cpu", "strength": 0.5}
    output = stablenormal.enhance(tmp_path / "photo.png", tmp_path / "coarse.exr", **options)
    assert output.t_plus == 500
    assert ((output.numpy() == 0).all(-1) == (coarse == 0).all(-1)).all()
    assert stablenormal.enhance(tmp_path / "photo.png", coarse, **(options | {"strength": 0.1})).t_plus == 101
    with pytest.raises(SettingError, match="`strength`: 2 is out of range"):
        stablenormal.enhance(tmp_path / "photo.png", coarse, **(options | {"strength": 2}))
    with pytest.raises(ImageShapeError, match="resize one"):
        stablenormal.enhance(tmp_path / "photo.png", dome(16), **options)
    with pytest.raises(SettingError, match="one photograph, got 2"):
        stablenormal.enhance([tmp_path / "photo.png"] * 2, coarse, **options)
