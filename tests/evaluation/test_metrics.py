import math

import numpy as np
import pytest
import torch

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.metrics import angular_metrics, mean_over_sources


def test_metrics_of_known_angles():
    metrics = angular_metrics(torch.tensor([[0.0, 5.0], [10.0, 45.0], [4.0, 30.0]]))
    assert metrics.mean == pytest.approx(94 / 6)
    assert metrics.median == 5
    assert metrics.rmse == pytest.approx(math.sqrt((25 + 100 + 45**2 + 16 + 900) / 6))
    assert metrics.below[5.0] == pytest.approx(100 * 2 / 6)  # strictly under
    assert metrics.below[11.25] == pytest.approx(100 * 4 / 6)
    assert metrics.below[30.0] == pytest.approx(100 * 4 / 6)
    assert metrics.count == 6


def test_metrics_agree_with_numpy():
    angles = np.random.default_rng(0).uniform(0, 180, 1001)
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
