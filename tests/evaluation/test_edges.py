import math

import pytest
import torch

from stablenormal.evaluation.edges import EDGE_DEG, NEAR_PX, near_edges, sharpness


def _step(angle_deg: float, size: int = 20, at: int = 10) -> torch.Tensor:
    """Facing left of a column, turned about the vertical right of it."""
    normals = torch.zeros(3, size, size)
    normals[2] = 1
    turn = math.radians(angle_deg)
    normals[:, :, at:] = torch.tensor([math.sin(turn), 0, math.cos(turn)])[:, None, None]
    return normals


def test_three_pixels_on_each_side_of_a_step() -> None:
    near = near_edges(_step(60))
    columns = torch.arange(20)
    expected = (columns >= 9 - NEAR_PX) & (columns <= 10 + NEAR_PX)
    assert (near == expected[None]).all()
    assert (near_edges(_step(60).transpose(1, 2)) == expected[:, None]).all()


def test_only_steps_above_the_limit_count() -> None:
    assert not near_edges(_step(EDGE_DEG - 0.5)).any()
    assert near_edges(_step(EDGE_DEG + 0.5)).any()
    assert not near_edges(_step(0)).any()


def test_the_distance_is_euclidean() -> None:
    normals = _step(0)
    normals[:, 10, 10] = torch.tensor([1.0, 0, 0])
    near = near_edges(normals)
    edge = {(10, 10), (9, 10), (11, 10), (10, 9), (10, 11)}
    for row in range(20):
        for column in range(20):
            distance = min(math.hypot(row - r, column - c) for r, c in edge)
            assert bool(near[row, column]) == (distance <= NEAR_PX)


def test_the_border_of_the_valid_part_is_no_edge_and_length_does_not_matter() -> None:
    normals = _step(60)
    normals[:, :, 10:] = 0
    assert not near_edges(normals).any()
    assert (near_edges(_step(60) * 0.7) == near_edges(_step(60))).all()


class TestSharpness:
    def test_of_the_truth_itself_is_one(self) -> None:
        assert sharpness(_step(60), _step(60)) == pytest.approx(1)
        assert sharpness(_step(60) * 3, _step(60)) == pytest.approx(1)

    @pytest.mark.parametrize("pixels", [2, 3, 4])
    def test_a_step_spread_over_k_pixels_counts_one_kth(self, pixels) -> None:
        spread, first = _step(0), 10 - pixels // 2
        for index in range(pixels):
            spread[:, :, first + index :] = _step(60 * (index + 1) / pixels)[:, :, 10:11]
        assert sharpness(spread, _step(60)) == pytest.approx(1 / pixels, rel=1e-3)

    def test_a_flat_prediction_has_none(self) -> None:
        assert sharpness(_step(0), _step(60)) == pytest.approx(0, abs=1e-6)

    def test_what_happens_away_from_edges_or_where_nothing_was_measured_does_not_count(self) -> None:
        truth, prediction = _step(60), _step(60)
        truth[:, :5] = 0
        prediction[:, :5] = torch.randn(3, 5, 20, generator=torch.Generator().manual_seed(0))
        prediction[:, :, :4] = _step(90)[:, :, 10:14]
        assert sharpness(prediction, truth) == pytest.approx(1)

    def test_without_an_edge_there_is_no_number(self) -> None:
        assert math.isnan(sharpness(_step(60), _step(0)))
