"""Posed renders: what the files say agrees with the mesh."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from stablenormal.data.synthetic.posed_views import MESH_NAME, write_posed_scene
from stablenormal.errors import SettingError
from stablenormal.io.depth_map import read_depth_map
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.scene import read_view
from stablenormal.io.scene_formats import read_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("posed")
    write_posed_scene(made, seed=5, views=3, size=48)
    return made


def test_depth_normals_and_mesh_are_one_surface(folder: Path) -> None:
    scene = read_scene(folder)
    mesh = trimesh.load_mesh(folder / MESH_NAME, process=False)
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1, abs=1e-5)
    assert mesh.volume > 0  # wound outward
    samples, faces = trimesh.sample.sample_surface(mesh, 40_000, seed=0)
    from scipy.spatial import cKDTree

    tree = cKDTree(samples)
    assert len(scene.views) == 3
    for view in scene.views:
        picture = read_view(view)
        depth = read_depth_map(view.depth)
        normals = read_normal_map(folder / f"normals/{view.name}_normal.png").normals
        hit = depth > 0
        assert np.array_equal(hit, np.linalg.norm(normals, axis=-1) > 0.5)
        assert (hit == picture.photograph.valid).mean() > 0.98
        points = picture.camera.centre + picture.camera.directions()[hit] * depth[hit][:, None]
        distance, nearest = tree.query(points)
        assert distance.max() < 0.03
        cosines = ((normals[hit] @ picture.camera.rotation.T) * mesh.face_normals[faces[nearest]]).sum(1)
        assert np.median(cosines) > 0.98


def test_the_same_seed_is_the_same_scene(folder: Path, tmp_path: Path) -> None:
    write_posed_scene(tmp_path, seed=5, views=3, size=48)
    for path in sorted(folder.rglob("*.png")):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_bad_sizes(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least 2 views"):
        write_posed_scene(tmp_path, 0, views=1)
