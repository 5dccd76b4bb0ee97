import numpy as np
import pytest
import trimesh

from stablenormal.errors import SettingError
from stablenormal.evaluation.surface_metrics import surface_metrics

POINTS = 2000


def sheet(height: float = 0.0, wide: float = 1.0) -> trimesh.Trimesh:
    """A square of 2 x 2 x `wide` that faces up."""
    corners = np.array(
        [[-1, -1, height], [2 * wide - 1, -1, height], [2 * wide - 1, 1, height], [-1, 1, height]]
    )
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)


def test_a_surface_is_itself() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    found = surface_metrics(ball, ball, 1e-3, POINTS)
    assert found.chamfer < 1e-3
    assert found.f_score > 0.95
    assert found.normal_consistency > 0.99


@pytest.mark.parametrize("height", [0.01, 0.1])
def test_a_known_offset(height: float) -> None:
    found = surface_metrics(sheet(height), sheet(), 0.05, POINTS)
    assert found.accuracy == pytest.approx(height)
    assert found.completeness == pytest.approx(height)
    assert found.f_score == (1.0 if height < 0.05 else 0.0)
    assert found.normal_consistency == pytest.approx(1)


def test_what_is_missing_costs_completeness_alone() -> None:
    found = surface_metrics(sheet(wide=0.5), sheet(), 0.05, POINTS)
    assert found.accuracy == pytest.approx(0, abs=1e-9)
    # Half of the truth lies 0 to 1 from the edge.
    assert found.completeness == pytest.approx(0.25, rel=0.1)
    assert found.precision == 1
    assert found.recall == pytest.approx(0.525, abs=0.04)
    assert found.f_score == pytest.approx(2 * found.recall / (1 + found.recall))
    swapped = surface_metrics(sheet(), sheet(wide=0.5), 0.05, POINTS)
    assert swapped.accuracy == pytest.approx(0.25, rel=0.1)
    assert swapped.completeness == pytest.approx(0, abs=1e-9)


def test_a_surface_inside_out_has_opposite_normals() -> None:
    turned = sheet()
    turned.invert()
    assert surface_metrics(turned, sheet(), 0.05, POINTS).normal_consistency == pytest.approx(-1)


def test_balls_of_two_sizes() -> None:
    small, large = (trimesh.creation.icosphere(subdivisions=4, radius=radius) for radius in (1.0, 1.1))
    assert surface_metrics(small, large, 0.05, POINTS).chamfer == pytest.approx(0.1, rel=0.02)


def test_numbers_depend_on_the_seed_alone() -> None:
    pair = trimesh.creation.icosphere(subdivisions=2), trimesh.creation.box()
    assert surface_metrics(*pair, 0.1, POINTS, 3) == surface_metrics(*pair, 0.1, POINTS, 3)
    assert surface_metrics(*pair, 0.1, POINTS, 3) != surface_metrics(*pair, 0.1, POINTS, 4)


def test_bad_input() -> None:
    with pytest.raises(SettingError, match="positive"):
        surface_metrics(sheet(), sheet(), 0)
    with pytest.raises(SettingError, match="truth has no surface"):
        surface_metrics(sheet(), trimesh.Trimesh(), 0.1)
