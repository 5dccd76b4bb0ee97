import numpy as np
import pytest

from stablenormal.applications.mesh_preview import render_row, render_turn
from stablenormal.applications.normal_integration import Integration, integrate_normals
from stablenormal.applications.surface_mesh import surface_mesh
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.mesh import TriangleMesh

CAMERA = Intrinsics(20.0, 20.0, 5.0, 4.0, 10, 8)


def facing(depth: np.ndarray, torn_column: int | None = None) -> tuple[Integration, np.ndarray]:
    """A surface of this depth, torn to the right of a column."""
    torn = np.zeros(depth.shape, bool)
    if torn_column is not None:
        torn[:, torn_column] = True
    normals = np.zeros((*depth.shape, 3), np.float32)
    normals[depth > 0] = (0, 0, 1)
    integration = Integration(
        depth.astype(np.float32),
        np.zeros(depth.shape, np.float32),
        torn,
        np.zeros(depth.shape, bool),
        1,
        (0.0,),
        0,
    )
    return integration, normals


def triangle_normals(mesh: TriangleMesh) -> np.ndarray:
    a, b, c = (mesh.positions[mesh.faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def test_points_lie_on_their_rays_at_their_depth() -> None:
    mesh = surface_mesh(*facing(np.full((8, 10), 2.0)), CAMERA)
    assert mesh.positions.shape == (80, 3)
    assert np.allclose(mesh.positions[:, 2], -2)
    assert np.allclose(mesh.positions[0], [(0.5 - 5) / 20 * 2, (4 - 0.5) / 20 * 2, -2])
    assert np.allclose(mesh.uv[0], [0.05, 1 - 0.5 / 8])


def test_every_square_gives_two_triangles_that_face_the_viewer() -> None:
    mesh = surface_mesh(*facing(np.full((8, 10), 2.0)))
    assert len(mesh.faces) == 2 * 7 * 9
    assert (triangle_normals(mesh)[:, 2] > 0).all()


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_square_of_three_pixels_gives_one_triangle(corner: tuple[int, int]) -> None:
    depth = np.ones((2, 2))
    depth[corner] = 0
    mesh = surface_mesh(*facing(depth))
    assert mesh.faces.shape == (1, 3)
    assert len(mesh.positions) == 3
    assert triangle_normals(mesh)[0, 2] > 0


def test_no_triangle_crosses_a_tear() -> None:
    mesh = surface_mesh(*facing(np.ones((8, 10)), torn_column=4))
    left = mesh.positions[:, 0] < 0
    sides = left[mesh.faces]
    assert (sides.all(axis=1) | ~sides.any(axis=1)).all()
    assert len(mesh.faces) == 2 * 7 * 8


@pytest.mark.parametrize("camera", [CAMERA, None])
def test_a_steep_step_makes_no_streak_but_a_slope_stays(camera: Intrinsics | None) -> None:
    pixel = 1.0 if camera is None else 0.1  # 2 / 20 px of focal length
    depth = np.full((8, 10), 2.0)
    depth[:, 5:] += 12 * pixel
    assert len(surface_mesh(*facing(depth), camera).faces) == 2 * 7 * 8
    depth[:, 5:] -= 8 * pixel
    assert len(surface_mesh(*facing(depth), camera).faces) == 2 * 7 * 9
    depth[:, 5:] += 8 * pixel
    integration, normals = facing(depth)
    normals[:, 4:6] = np.array([0.98, 0, 0.2]) / np.linalg.norm([0.98, 0, 0.2])  # both ends say: steep
    assert len(surface_mesh(integration, normals, camera).faces) == 2 * 7 * 9


def test_what_is_no_surface_is_refused() -> None:
    depth = np.zeros((8, 10))
    depth[2, 2] = 1
    with pytest.raises(SettingError, match="no three"):
        surface_mesh(*facing(depth))
    integration, normals = facing(np.ones((8, 10)))
    with pytest.raises(ImageShapeError, match="fit"):
        surface_mesh(integration, normals[:4])


def test_a_picture_shows_the_photograph_where_it_belongs_without_holes() -> None:
    mesh = surface_mesh(*facing(np.ones((8, 10))))
    photograph = np.zeros((8, 10, 3), np.float32)
    photograph[:, :5, 0] = 1  # left half red
    photograph[:, 5:, 2] = 1
    picture = render_turn(mesh, 0, side=64, photograph=photograph)
    assert picture[32, 20].tolist() == [255, 0, 0]
    assert picture[32, 44].tolist() == [0, 0, 255]
    assert picture[0, 0].tolist() == [255, 255, 255]
    shown = (picture != 255).any(axis=-1)
    rows, columns = np.nonzero(shown)
    assert shown[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_turning_narrows_a_flat_thing_and_the_nearer_point_hides_the_other() -> None:
    mesh = surface_mesh(*facing(np.ones((8, 10))))
    widths = [(render_turn(mesh, angle, 64) != 255).any(axis=(0, 2)).sum() for angle in (0, 60)]
    assert widths[1] == pytest.approx(widths[0] / 2, abs=3)
    near = TriangleMesh(mesh.positions + np.float32([0, 0, 1]), mesh.normals, mesh.uv, mesh.faces)
    both = TriangleMesh(
        np.concatenate([near.positions, mesh.positions]),
        np.concatenate([mesh.normals, mesh.normals]),
        np.concatenate([np.full_like(mesh.uv, 0.01), np.full_like(mesh.uv, 0.99)]),
        np.concatenate([mesh.faces, mesh.faces + len(mesh.positions)]),
    )
    photograph = np.zeros((8, 10, 3), np.float32)
    photograph[-1, 0] = 1, 0, 0  # uv (0, 0): the nearer one
    assert render_turn(both, 0, 64, photograph)[32, 32].tolist() == [255, 0, 0]
    assert render_row(both, (-30, 30), 48).shape == (48, 96, 3)


def test_a_real_integration_makes_a_mesh_that_follows_its_normals() -> None:
    normals = np.zeros((12, 12, 3))
    normals[:] = np.array([0.3, -0.2, 1]) / np.linalg.norm([0.3, -0.2, 1])
    camera = Intrinsics.from_fov(50, 12, 12)
    mesh = surface_mesh(integrate_normals(normals, camera), normals, camera)
    found = triangle_normals(mesh)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert (found @ normals[0, 0]).min() > 0.999


def test_a_far_scrap_does_not_shrink_the_picture() -> None:
    mesh = surface_mesh(*facing(np.ones((8, 10))))
    scrap = TriangleMesh(
        np.concatenate([mesh.positions, mesh.positions[:8] * np.float32(0.1) + np.float32([200, 50, -90])]),
        np.concatenate([mesh.normals, mesh.normals[:8]]),
        np.concatenate([mesh.uv, mesh.uv[:8]]),
        np.concatenate(
            [mesh.faces, len(mesh.positions) + np.int32([[0, 1, 2], [2, 3, 4], [4, 5, 6], [5, 6, 7]])]
        ),
    )
    assert np.array_equal(render_turn(mesh, 30, 64), render_turn(scrap, 30, 64))
