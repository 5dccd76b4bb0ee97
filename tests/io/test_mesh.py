from pathlib import Path

import numpy as np
import pytest
import trimesh

from stablenormal.errors import ImageShapeError, OutputError
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.io.mesh import mesh_files, write_mesh


@pytest.fixture
def mesh() -> TriangleMesh:
    return TriangleMesh(
        np.float32([[0, 0, -1], [1, 0, -1], [0, 1, -2], [1, 1, -2]]),
        np.float32([[0, 0, 1]] * 4),
        np.float32([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]]),
        np.int32([[0, 1, 2], [1, 3, 2]]),
    )


@pytest.fixture
def photograph() -> np.ndarray:
    rgb = np.zeros((8, 8, 3), np.float32)
    rgb[:4, :4] = 1, 0, 0  # upper left
    return rgb


@pytest.mark.parametrize("ending", [".ply", ".obj", ".glb"])
@pytest.mark.parametrize("textured", [False, True])
def test_other_programs_read_back_what_was_written(
    tmp_path: Path, mesh: TriangleMesh, photograph: np.ndarray, ending: str, textured: bool
) -> None:
    path = tmp_path / f"a{ending}"
    files = write_mesh(path, mesh, photograph if textured else None)
    assert files[-1] == path
    assert sorted(files) == sorted(tmp_path.iterdir())
    found = trimesh.load_mesh(path, process=False)
    assert np.allclose(found.vertices, mesh.positions)
    assert np.array_equal(found.faces, mesh.faces)
    word = {".ply": b"property float nx", ".obj": b"vn 0 0 1", ".glb": b'"NORMAL"'}[ending]
    assert word in path.read_bytes()
    if not textured:
        return
    colours = found.visual.vertex_colors if ending == ".ply" else found.visual.to_color().vertex_colors
    assert np.asarray(colours)[2, :3].tolist() == [255, 0, 0]  # uv (0.1, 0.9) is the upper left
    assert np.asarray(colours)[1, :3].tolist() == [0, 0, 0]


def test_another_ending_is_refused(tmp_path: Path, mesh: TriangleMesh) -> None:
    with pytest.raises(OutputError, match="ending"):
        write_mesh(tmp_path / "a.stl", mesh)
    assert not list(tmp_path.iterdir())


def test_arrays_that_do_not_fit_are_refused(mesh: TriangleMesh) -> None:
    with pytest.raises(ImageShapeError, match="must be"):
        TriangleMesh(mesh.positions, mesh.normals[:2], mesh.uv, mesh.faces)
    with pytest.raises(ImageShapeError, match="faces"):
        TriangleMesh(mesh.positions, mesh.normals, mesh.uv, mesh.faces[:, :2])


@pytest.mark.parametrize("ending", [".ply", ".obj", ".glb"])
def test_colours_of_vertices(tmp_path: Path, mesh: TriangleMesh, ending: str) -> None:
    colours = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.4, 0.6]])
    write_mesh(tmp_path / f"a{ending}", mesh, vertex_colours=colours)
    found = trimesh.load_mesh(tmp_path / f"a{ending}", process=False)
    assert np.allclose(np.asarray(found.visual.vertex_colors)[:, :3], colours * 255, atol=1)


def test_strict_readers_find_the_parts_of_an_obj_with_blanks_in_its_name(
    tmp_path: Path, mesh: TriangleMesh
) -> None:
    path = tmp_path / "my statue #2.obj"
    written = write_mesh(path, mesh, np.ones((4, 4, 3), np.float32))
    assert written == mesh_files(path, textured=True) and all(file.is_file() for file in written)
    (material,) = [line.split()[1:] for line in path.read_text().splitlines() if line.startswith("mtllib")]
    assert len(material) == 1
    text = (tmp_path / material[0]).read_text()
    (texture,) = [line.split()[1:] for line in text.splitlines() if line.startswith("map_Kd")]
    assert len(texture) == 1 and (tmp_path / texture[0]).is_file()
    assert (tmp_path / "my statue #2.mtl").read_text() == text
