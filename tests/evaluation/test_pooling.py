import numpy as np
import pytest
import torch

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.evaluation.pooling import QUANTILE_ERROR_DEG, PooledAngles

SETS = {
    "uniform": np.random.default_rng(0).uniform(0, 180, 100_001),
    "even": np.random.default_rng(1).uniform(0, 180, 1000),
    "small": np.abs(np.random.default_rng(2).normal(0, 0.01, 4096)),
    "heavy tail": np.minimum(np.random.default_rng(3).pareto(1.5, 50_000) * 5, 180),
    "two far apart": np.array([3.0, 90.0]),
    "one": np.array([11.25]),
    "ends": np.array([0.0, 0.0, 180.0, 180.0]),
}


@pytest.mark.parametrize("name", SETS)
def test_metrics_agree_with_numpy(name) -> None:
    angles, pool = SETS[name], PooledAngles()
    for part in np.array_split(angles, 3):
        pool.add(torch.from_numpy(part))
    metrics = pool.metrics()
    assert metrics.count == angles.size
    assert metrics.mean == pytest.approx(angles.mean(), rel=1e-12)
    assert metrics.rmse == pytest.approx(np.sqrt((angles**2).mean()), rel=1e-12)
    assert abs(metrics.median - np.median(angles)) <= QUANTILE_ERROR_DEG
    for limit, share in metrics.below.items():
        assert share == pytest.approx((angles < limit).mean() * 100, rel=1e-12)


@pytest.mark.parametrize("share", [0, 0.05, 0.25, 0.95, 1])
def test_every_quantile_agrees_with_numpy(share) -> None:
    for angles in SETS.values():
        pool = PooledAngles()
        pool.add(torch.from_numpy(angles))
        assert abs(pool.quantile(share) - np.quantile(angles, share)) <= QUANTILE_ERROR_DEG


def test_perfect_is_exactly_zero() -> None:
    pool = PooledAngles()
    pool.add(torch.zeros(7, 9))
    metrics = pool.metrics()
    assert (metrics.mean, metrics.median, metrics.rmse) == (0, 0, 0)
    assert metrics.below[5.0] == 100


def test_a_map_larger_than_a_block_is_counted_whole() -> None:
    angles = torch.linspace(0, 180, 2**20 + 12_345, dtype=torch.float64)
    pool = PooledAngles()
    pool.add(angles)
    assert pool.count == angles.numel()
    assert pool.metrics().median == pytest.approx(90, abs=2 * QUANTILE_ERROR_DEG)


@pytest.mark.parametrize("angle", [float("nan"), -0.1, 180.1, float("inf")])
def test_what_is_no_angle_is_refused(angle) -> None:
    with pytest.raises(ImageShapeError, match=r"\[0, 180\]"):
        PooledAngles().add(torch.tensor([1.0, angle]))


def test_no_angles_and_no_share_are_errors() -> None:
    pool = PooledAngles()
    pool.add(torch.empty(0))
    with pytest.raises(ImageShapeError, match="no valid pixel"):
        pool.metrics()
    pool.add(torch.ones(1))
    with pytest.raises(SettingError, match="from 0 to 1"):
        pool.quantile(1.01)
