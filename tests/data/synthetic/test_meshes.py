import numpy as np
import pytest

from stablenormal.data.synthetic import meshes


def unit(mesh: meshes.Mesh) -> None:
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices[:, 3:6], axis=1), 1, atol=1e-5)


def test_box_faces_stay_flat() -> None:
    mesh = meshes.box((2, 4, 6), (1, 0, 0))
    unit(mesh)
    assert len(mesh.vertices) == 24 and len(mesh.faces) == 12
    assert set(np.abs(mesh.vertices[:, 3:6]).max(1)) == {1.0}
    low, high = mesh.bounds()
    np.testing.assert_allclose(low, [0, -2, -3])
    np.testing.assert_allclose(high, [2, 2, 3])


def test_cylinder_is_smooth_around_and_sharp_at_its_rim() -> None:
    mesh = meshes.cylinder(1.0, 2.0, sections=24)
    side = np.abs(mesh.vertices[:, 5]) < 1e-6
    cap = np.abs(np.abs(mesh.vertices[:, 5]) - 1) < 1e-6
    assert (side | cap).all() and side.any() and cap.any()
    radial = mesh.vertices[side, :2] / np.linalg.norm(mesh.vertices[side, :2], axis=1, keepdims=True)
    sign = np.sign((radial * mesh.vertices[side, 3:5]).sum(1, keepdims=True))
    np.testing.assert_allclose(mesh.vertices[side, 3:5] * sign, radial, atol=1e-5)


def test_crease_angle_decides_what_is_smooth() -> None:
    bend = np.array([[[0, 0, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0]], [[2, 0, 0.5], [2, 1, 0.5]]], float)
    assert len(np.unique(np.round(meshes.grid(bend, crease_deg=40).vertices[:, 3:6], 4), axis=0)) == 3
    assert len(np.unique(np.round(meshes.grid(bend, crease_deg=10).vertices[:, 3:6], 4), axis=0)) == 2


def test_sphere_normals_are_its_positions() -> None:
    mesh = meshes.sphere(2.0, 3)
    np.testing.assert_allclose(mesh.positions / 2, mesh.vertices[:, 3:6], atol=1e-6)
    assert len(mesh.faces) == 20 * 4**3


def test_rounded_box_is_its_core_swept_by_a_ball() -> None:
    mesh = meshes.rounded_box((2, 1, 0.6), 0.1)
    core = np.array([0.9, 0.4, 0.2])
    away = mesh.positions - np.clip(mesh.positions, -core, core)
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.1, atol=1e-5)
    np.testing.assert_allclose(away / 0.1, mesh.vertices[:, 3:6], atol=1e-4)


def test_rounding_shrinks_to_fit_thin_boxes() -> None:
    low, high = meshes.rounded_box((1, 1, 0.02), 0.5).bounds()
    np.testing.assert_allclose(high - low, [1, 1, 0.02], atol=1e-6)


def test_transformed_normals_stay_perpendicular() -> None:
    squash = meshes.rotation([0, 0, 1], 0.7) @ meshes.scaling([1, 2, 0.5])
    mesh = meshes.transformed(meshes.sphere(1.0, 3), squash)
    unit(mesh)
    corners = mesh.positions[mesh.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    middle = mesh.vertices[mesh.faces, 3:6].mean(1)
    assert np.abs((flat * middle).sum(1)).min() > 0.95


def test_rotation_is_right_handed() -> None:
    np.testing.assert_allclose(meshes.rotation([0, 0, 1], np.pi / 2) @ [1, 0, 0, 1], [0, 1, 0, 1], atol=1e-12)


@pytest.mark.parametrize("end", [(0, 0, 2), (1, 1, 0), (0, 3, 0)])
def test_rod_reaches_from_start_to_end(end: tuple[float, ...]) -> None:
    start = np.array([0.5, 0, 0])
    mesh = meshes.rod(start, np.array(end, float), 0.1, 0.05)
    along = (np.array(end) - start) / np.linalg.norm(np.array(end) - start)
    reach = (mesh.positions - start) @ along
    assert reach.min() == pytest.approx(0, abs=1e-5)
    assert reach.max() == pytest.approx(np.linalg.norm(np.array(end) - start), abs=1e-5)


def test_merged_keeps_every_triangle() -> None:
    both = meshes.merged([meshes.box((1, 1, 1)), meshes.box((1, 1, 1), (5, 0, 0))])
    assert len(both.faces) == 24
    assert both.positions[both.faces[12:]].min(axis=(0, 1))[0] == pytest.approx(4.5)


def test_tube_keeps_its_radius() -> None:
    t = np.linspace(0, 3, 40)
    path = np.stack([np.cos(t), np.sin(t), 0.2 * t], 1)
    mesh = meshes.tube(path, 0.05)
    nearest = np.linalg.norm(mesh.positions[:, None] - path[None], axis=-1).min(1)
    np.testing.assert_allclose(nearest, 0.05, atol=1e-3)


def test_fitted_to_unit_ball() -> None:
    mesh = meshes.fitted_to_unit_ball(meshes.box((1, 2, 7), (3, 3, 3)))
    assert np.linalg.norm(mesh.positions, axis=1).max() == pytest.approx(1, abs=1e-5)


def mixed_up(faces: np.ndarray) -> np.ndarray:
    """The faces with two in three wound the other way round."""
    turned = faces.copy()
    turned[np.arange(len(faces)) % 3 > 0] = turned[np.arange(len(faces)) % 3 > 0][:, ::-1]
    return turned


def test_faces_are_wound_alike_and_bodies_outward() -> None:
    points, faces = meshes.sphere_points(2)
    apart = np.vstack([points, points * 0.5 + [3.0, 0, 0]])  # two bodies
    both = np.vstack([faces, faces + len(points)])
    for given in (both, both[:, ::-1], mixed_up(both)):
        wound, turned = meshes.wound_alike(apart, given)
        corners = apart[wound]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        middle = np.where(np.arange(len(wound)) < len(faces), 0.0, 3.0)[:, None] * [1, 0, 0]
        assert (np.einsum("ij,ij->i", across, corners.mean(1) - middle) > 0).all()
        assert turned == (wound != given).any(1).sum()
    assert meshes.wound_alike(apart, both)[1] == 0


def test_an_open_sheet_keeps_the_side_of_most_of_its_faces() -> None:
    n = 5
    points = np.array([[x, y, 0.0] for y in range(n) for x in range(n)])
    faces = np.array(
        [[i, i + 1, i + n] for i in range(n * (n - 1)) if i % n < n - 1]
        + [[i + 1, i + n + 1, i + n] for i in range(n * (n - 1)) if i % n < n - 1]
    )
    wrong = faces.copy()
    wrong[[3, 7]] = wrong[[3, 7]][:, ::-1]
    wound, turned = meshes.wound_alike(points, wrong)
    np.testing.assert_array_equal(wound, faces)
    assert turned == 2


def test_smoothing_needs_faces_wound_alike() -> None:
    """A sphere whose faces are wound at random is smooth again after `wound_alike`."""
    points, faces = meshes.sphere_points(3)
    mesh = meshes.mesh_from_faces(points, meshes.wound_alike(points, mixed_up(faces))[0])
    assert np.einsum("ij,ij->i", mesh.positions, mesh.vertices[:, 3:6]).min() > 0.999


def test_own_textures_stretch_with_the_mesh_and_others_do_not() -> None:
    mesh = meshes.box((1, 1, 1))
    larger = meshes.scaling(2.0)
    np.testing.assert_allclose(meshes.transformed(mesh, larger).vertices[:, 6:], 2 * mesh.vertices[:, 6:])
    np.testing.assert_allclose(
        meshes.transformed(mesh, larger, own_texture=True).vertices[:, 6:], mesh.vertices[:, 6:]
    )


def test_vertices_in_order_of_use_make_the_same_triangles() -> None:
    mesh = meshes.sphere(1.0, 2)
    ordered = meshes.in_order_of_use(mesh)
    np.testing.assert_array_equal(ordered.vertices[ordered.faces], mesh.vertices[mesh.faces])
    first = [ordered.faces.ravel().tolist().index(k) for k in range(len(ordered.vertices))]
    assert first == sorted(first)
