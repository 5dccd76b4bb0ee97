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
