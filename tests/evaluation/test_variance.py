import numpy as np
import pytest
import torch

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.evaluation.variance import VarianceEvaluator

IMAGE = torch.zeros(3, 16, 20)
SEEDS = (0, 1, 2, 3)


def _tilted(degrees: torch.Tensor | float) -> torch.Tensor:
    turn = torch.deg2rad(torch.as_tensor(degrees).expand(16, 20).float())
    return torch.stack([turn.sin(), torch.zeros_like(turn), turn.cos()])


def _seesaw(image: torch.Tensor, seed: int) -> torch.Tensor:
    """10 degrees to one side or the other."""
    return _tilted(10.0 if seed % 2 else -10.0)


def test_the_spread_is_the_mean_angle_to_the_mean_direction() -> None:
    compared = VarianceEvaluator(_seesaw, SEEDS).add("x", IMAGE)
    assert compared.result.everywhere.mean == pytest.approx(10, abs=1e-3)
    assert compared.result.everywhere.p95 == pytest.approx(10, abs=1e-3)
    assert compared.result.everywhere.count == 320
    torch.testing.assert_close(compared.mean_normals, _tilted(0.0), atol=1e-5, rtol=0)
    assert compared.result.error_variance is None and compared.result.mean_errors_deg is None
    assert compared.result.on_edges is None


def test_the_papers_variance_is_that_of_the_image_mean_errors() -> None:
    evaluator = VarianceEvaluator(lambda image, seed: _tilted(float(seed * 2)), SEEDS)
    result = evaluator.add("x", IMAGE, _tilted(0.0)).result
    assert result.mean_errors_deg == pytest.approx((0, 2, 4, 6), abs=1e-3)
    assert result.error_variance == pytest.approx(np.var([0, 2, 4, 6]), abs=1e-3)
    evaluator.add("y", IMAGE, _tilted(20.0))
    mean = np.mean([np.var([0, 2, 4, 6]), np.var([20, 18, 16, 14])])
    assert evaluator.summary().error_variance == pytest.approx(mean, abs=1e-3)
    assert evaluator.summary().images == 2


def test_a_symmetric_spread_has_no_variance_of_the_mean_error() -> None:
    result = VarianceEvaluator(_seesaw, SEEDS).add("x", IMAGE, _tilted(0.0)).result
    assert result.error_variance == pytest.approx(0, abs=1e-6)
    assert result.everywhere.mean == pytest.approx(10, abs=1e-3)


def test_a_constant_estimator_has_no_spread_however_wrong() -> None:
    result = VarianceEvaluator(lambda image, seed: _tilted(80.0), SEEDS).add("x", IMAGE, _tilted(0.0)).result
    assert result.everywhere.p95 == pytest.approx(0, abs=1e-4)
    assert result.error_variance == 0


def test_spread_is_split_by_the_edges_of_the_truth() -> None:
    columns = torch.arange(20)
    truth = _tilted(torch.where(columns < 10, 0.0, 60.0))
    near = (columns >= 6) & (columns <= 13)

    def trembling_at_the_edge(image: torch.Tensor, seed: int) -> torch.Tensor:
        return _tilted(torch.where(near, 8.0 if seed % 2 else -8.0, 0.0))

    evaluator = VarianceEvaluator(trembling_at_the_edge, SEEDS)
    result = evaluator.add("x", IMAGE, truth).result
    assert result.on_edges.mean == pytest.approx(8, abs=1e-3)
    assert result.off_edges.mean == pytest.approx(0, abs=1e-3)
    assert result.on_edges.count == 8 * 16
    assert evaluator.summary().on_edges.p95 == pytest.approx(8, abs=1e-3)


def test_without_truth_the_edges_are_those_of_the_mean_prediction() -> None:
    step = torch.where(torch.arange(20) < 10, 0.0, 60.0)
    evaluator = VarianceEvaluator(lambda image, seed: _tilted(step + seed), SEEDS)
    assert evaluator.add("x", IMAGE).result.on_edges.count == 8 * 16


def test_invalid_pixels_of_the_truth_do_not_count() -> None:
    truth = _tilted(0.0)
    truth[:, 4:] = 0
    assert VarianceEvaluator(_seesaw, SEEDS).add("x", IMAGE, truth).result.everywhere.count == 80
    with pytest.raises(ImageShapeError, match="x: no valid pixel"):
        VarianceEvaluator(_seesaw, SEEDS).add("x", IMAGE, truth * 0)


def test_bad_input_is_refused() -> None:
    for seeds in ((), (1,), (1, 1)):
        with pytest.raises(SettingError, match="2 or more different seeds"):
            VarianceEvaluator(_seesaw, seeds)
    with pytest.raises(ImageShapeError, match="x: predicted"):
        VarianceEvaluator(_seesaw, SEEDS).add("x", IMAGE, torch.ones(3, 4, 4))
    with pytest.raises(ImageShapeError, match="no images"):
        VarianceEvaluator(_seesaw, SEEDS).summary()
