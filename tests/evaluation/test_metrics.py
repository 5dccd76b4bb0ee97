import math

import numpy as np
import pytest
import torch

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.metrics import angular_metrics, mean_of_metrics, mean_over_sources


def test_metrics_of_known_angles():
    metrics = angular_metrics(torch.tensor([[0.0, 5.0], [10.0, 45.0], [4.0, 30.0]]))
    assert metrics.mean == pytest.approx(94 / 6)
    assert metrics.median == 7.5  # between 5 and 10
    assert metrics.rmse == pytest.approx(math.sqrt((25 + 100 + 45**2 + 16 + 900) / 6))
    assert metrics.below[5.0] == pytest.approx(100 * 2 / 6)  # strictly under
    assert metrics.below[11.25] == pytest.approx(100 * 4 / 6)
    assert metrics.below[30.0] == pytest.approx(100 * 4 / 6)
    assert metrics.count == 6


@pytest.mark.parametrize(
    "angles",
    [
        np.random.default_rng(0).uniform(0, 180, 1001),
        np.random.default_rng(1).uniform(0, 180, 1000),
        np.random.default_rng(2).integers(0, 4, 100).astype(float),
        np.array([1.0, 1.0]),
        np.array([2.0, 2.0, 5.0, 9.0]),
        np.array([1.0, 2.0, 2.0, 9.0]),
    ],
)
def test_metrics_agree_with_numpy(angles):
    metrics = angular_metrics(torch.from_numpy(angles))
    assert metrics.mean == pytest.approx(angles.mean())
    assert metrics.median == pytest.approx(np.median(angles))
    assert metrics.below[22.5] == pytest.approx((angles < 22.5).mean() * 100)


def test_no_valid_pixel_is_an_error():
    with pytest.raises(ImageShapeError, match="no valid pixel"):
        angular_metrics(torch.empty(0))


def test_sources_weigh_the_same_whatever_their_number_of_images():
    overall, per_source = mean_over_sources([("a", 10.0), ("a", 20.0), ("a", 30.0), ("b", 40.0)])
    assert per_source == {"a": 20.0, "b": 40.0}
    assert overall == 30.0


def test_the_mean_of_metrics_gives_every_image_the_same_weight():
    few, many = angular_metrics(torch.tensor([10.0])), angular_metrics(torch.full((9,), 2.0))
    mean = mean_of_metrics([few, many])
    assert (mean.mean, mean.median, mean.rmse) == (6, 6, 6)
    assert mean.below == {5.0: 50, 7.5: 50, 11.25: 100, 22.5: 100, 30.0: 100}
    assert mean.count == 10
    with pytest.raises(ImageShapeError, match="no images"):
        mean_of_metrics([])
