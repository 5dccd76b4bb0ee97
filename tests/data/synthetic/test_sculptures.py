"""Level sets, their exact normals, and the forms carved from them."""

from collections.abc import Callable

import numpy as np
import pytest

from stablenormal.data.synthetic import sculptures, sheets
from stablenormal.data.synthetic.draws import Array, Rng, generator
from stablenormal.data.synthetic.meshes import Mesh, rotation
from stablenormal.data.synthetic.sculptures import capsule, carved, ellipsoid, joined, level_set, slope_of


def edge_uses(mesh: Mesh) -> np.ndarray:
    """How many triangles share each edge, vertices at one place taken as one."""
    _, joint = np.unique(np.round(mesh.positions, 4), axis=0, return_inverse=True)
    faces = joint.reshape(-1)[mesh.faces]
    faces = faces[(faces != np.roll(faces, 1, 1)).all(1)]
    edges = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def volume_by_normals(mesh: Mesh) -> float:
    """The volume by the divergence theorem, with the side of each face taken from its vertex normals."""
    corners = mesh.positions[mesh.faces].astype(float)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    outward = mesh.vertices[mesh.faces, 3:6].sum(1)
    flat *= np.sign((flat * outward).sum(1))[:, None]
    return float((flat * corners.mean(1)).sum() / 3)


def test_level_set_of_an_ellipsoid_has_its_analytic_normals() -> None:
    centre, radii = np.array([0.1, -0.2, 0.05]), np.array([0.9, 0.6, 0.7])
    mesh = level_set(lambda p: ellipsoid(p, centre, radii), np.full(3, -1.1), np.full(3, 1.1), 40)
    away = (mesh.positions - centre) / radii**2
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    assert np.degrees(np.arccos(np.clip((away * mesh.vertices[:, 3:6]).sum(1), -1, 1))).max() < 0.1
    assert set(edge_uses(mesh)) == {2}
    assert volume_by_normals(mesh) == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.01)


def test_level_set_is_closed_where_it_meets_its_box() -> None:
    mesh = level_set(lambda p: np.linalg.norm(p, axis=1) - 0.9, np.full(3, -0.5), np.full(3, 0.5), 12)
    assert set(edge_uses(mesh)) == {2}


def test_capsule_is_a_distance() -> None:
    a, b, points = (
        np.array([0.0, 0, 0]),
        np.array([0.0, 0, 2]),
        np.array([[1.0, 0, 1], [0, 0, 3], [0, 0.2, 1]]),
    )
    np.testing.assert_allclose(capsule(points, a, b, 0.5, 0.5), [0.5, 0.5, -0.3])
    assert capsule(np.array([[1.0, 0, 2]]), a, b, 0.5, 0.25)[0] == pytest.approx(0.75)


def test_smooth_union_and_difference_differ_from_sharp_ones_only_near_the_seam() -> None:
    first, second = generator(1).uniform(-1, 1, (2, 400))
    union, far = joined(first, second, 0.2), np.abs(first - second) > 0.2
    sharp = np.minimum(first, second)
    assert (union <= sharp + 1e-12).all() and (union >= sharp - 0.2 / 4 - 1e-12).all()
    np.testing.assert_allclose(union[far], sharp[far])
    left = carved(first, second, 0.2)
    far = np.abs(first + second) > 0.2
    np.testing.assert_allclose(left[far], np.maximum(first, -second)[far])


def test_slope_follows_the_smooth_union_through_its_fillet() -> None:
    def field(p: Array) -> Array:
        return joined(ellipsoid(p, np.zeros(3), np.ones(3)), p @ np.array([0, 0, 1.0]), 0.4)

    points = generator(2).uniform(-1, 1, (300, 3))
    radial = points / np.linalg.norm(points, axis=1, keepdims=True)
    share = np.clip(0.5 + 0.5 * (points[:, 2] - np.linalg.norm(points, axis=1) + 1) / 0.4, 0, 1)[:, None]
    expected = share * radial + (1 - share) * [0, 0, 1]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    cosine = (slope_of(field, points, 1e-4) * expected).sum(1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.2


@pytest.mark.parametrize("maker", [sculptures.head, sculptures.animal])
def test_sculptures_are_closed_and_their_normals_point_out(maker: Callable[[Rng], Mesh]) -> None:
    for seed in range(2):
        mesh = maker(generator(seed))
        assert (edge_uses(mesh) == 2).mean() > 0.999
        size = np.ptp(mesh.positions, axis=0).prod()
        assert 0.08 * size < volume_by_normals(mesh) < 0.8 * size
        corners = mesh.positions[mesh.faces].astype(float)
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(flat, axis=1)
        smooth = mesh.vertices[mesh.faces, 3:6].mean(1)
        cosine = np.abs((flat * smooth).sum(1)) / np.maximum(area * np.linalg.norm(smooth, axis=1), 1e-15)
        assert np.average(cosine, weights=area) > 0.96


def test_a_head_is_mirrored_and_has_a_face() -> None:
    mesh = sculptures.head(generator(5))
    nose = mesh.positions[mesh.positions[:, 1].argmin()]
    assert abs(nose[0]) < 0.12  # what stands out most in front lies in the middle
    front = mesh.vertices[mesh.positions[:, 1] < -0.3]
    assert front[:, 3:6].std(0).min() > 0.2


def test_a_pedestal_has_its_height() -> None:
    for seed in range(4):
        low, high = sculptures.pedestal(generator(seed), 1.1, 0.3).bounds()
        assert (low[2], high[2]) == pytest.approx((0, 1.1), abs=1e-5)
        assert 0.5 < high[0] - low[0] < 0.8


def flat_normals(mesh: Mesh) -> np.ndarray:
    corners = mesh.positions[mesh.faces].astype(float)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_a_folded_sheet_is_flat_between_its_creases() -> None:
    for seed in range(8):
        mesh = sheets.folded_sheet(generator(seed))
        flat = flat_normals(mesh)[:, None]
        cosine = np.abs((flat * mesh.vertices[mesh.faces, 3:6]).sum(-1))
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < sheets.FACET_DEG
        across = np.ptp(mesh.positions, axis=0)
        assert across[0] == pytest.approx(2) and 1 <= across[1] <= 2  # cutting loses nothing
    creased = [
        len(np.unique(np.round(flat_normals(sheets.folded_sheet(generator(s))), 2), axis=0)) for s in range(8)
    ]
    assert max(creased) > 3


def test_a_folded_sheet_keeps_its_area_in_plan() -> None:
    mesh = sheets.folded_sheet(generator(3))
    corners = mesh.positions[mesh.faces, :2].astype(float)
    sides = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    plan = np.abs(sides[0][:, 0] * sides[1][:, 1] - sides[0][:, 1] * sides[1][:, 0]).sum() / 2
    assert plan == pytest.approx(np.ptp(mesh.positions[:, 0]) * np.ptp(mesh.positions[:, 1]), rel=1e-4)


def test_a_curled_page_is_a_cylinder_in_general() -> None:
    mesh = sheets.curled_page(generator(4))
    assert np.abs(mesh.vertices[:, 4]).max() < 1e-4  # no normal leans along the straight direction


def test_a_paper_ball_is_closed() -> None:
    for seed in range(3):
        mesh = sheets.paper_ball(generator(seed))
        assert set(edge_uses(mesh)) == {2}
        assert volume_by_normals(mesh) > 2


def test_cloth_has_folds_in_several_directions() -> None:
    spread = [sheets.heap_of_cloth(generator(seed)).vertices[:, 3:6].std(0)[:2].min() for seed in range(6)]
    assert np.mean(spread) > 0.1


def test_hanging_cloth_hangs_from_its_upper_edge() -> None:
    mesh = sheets.hanging_cloth(generator(1), 1.2, 2.0)
    low, high = mesh.bounds()
    assert high[2] <= 2.001 and low[2] == pytest.approx(0, abs=0.01) and high[0] - low[0] <= 1.21
    assert np.abs(mesh.vertices[:, 5]).mean() < 0.15 and mesh.vertices[:, 3].std() > 0.2


def test_sculptures_repeat_from_their_seed() -> None:
    for maker in (sculptures.head, sheets.crumpled_sheet, sheets.pouch, sculptures.relief_panel):
        first, again, other = (maker(generator(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first.vertices, again.vertices)
        assert first.vertices.shape != other.vertices.shape or not np.array_equal(
            first.vertices, other.vertices
        )


def test_fields_turn_with_their_points() -> None:
    turn = rotation([0, 0, 1], 0.6)[:3, :3]
    points = generator(3).uniform(-1, 1, (50, 3))
    a, b = np.array([0.2, 0.1, -0.4]), np.array([0.5, -0.3, 0.6])
    np.testing.assert_allclose(
        capsule(points, a, b, 0.2, 0.1), capsule(points @ turn.T, turn @ a, turn @ b, 0.2, 0.1), atol=1e-12
    )
