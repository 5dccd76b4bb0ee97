"""Score any estimator: a function from an image to normals."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.metrics import angular_metrics, mean_over_sources
from stablenormal.evaluation.pairs import Pair
from stablenormal.geometry.normals import angular_error_deg

Estimator = Callable[[Tensor], Tensor]
"""Image (3, H, W) in [0, 1] -> OpenGL normals (3, H, W)."""


@dataclass(frozen=True)
class Scores:
    """Errors of one estimator on a set of pairs.

    Attributes:
        mean_over_sources: degrees; image means, averaged per source, then over the sources.
        per_source: degrees, the mean of each source.
        per_image: for each name the metrics of its valid pixels.
    """

    mean_over_sources: float
    per_source: dict[str, float]
    per_image: dict[str, dict[str, Any]]


def score(estimator: Estimator, pairs: Iterable[Pair]) -> Scores:
    """Run an estimator over pairs and compare at the pairs' own size.

    Raises:
        ImageShapeError: if a prediction has another size than its ground truth.
    """
    per_image: dict[str, dict[str, Any]] = {}
    means: list[tuple[str, float]] = []
    for pair in pairs:
        truth = _planes(pair.normals)
        prediction = estimator(_planes(pair.image))
        if prediction.shape != truth.shape:
            raise ImageShapeError(
                f"{pair.name}: predicted {tuple(prediction.shape)}, truth is {tuple(truth.shape)}"
            )
        angles = angular_error_deg(prediction[None].float(), truth[None])[0]
        metrics = angular_metrics(angles[truth.square().sum(0) > 0.25])
        per_image[pair.name] = {"source": pair.source} | asdict(metrics)
        means.append((pair.source, metrics.mean))
    if not means:
        raise ImageShapeError("no pairs to score")
    overall, per_source = mean_over_sources(means)
    return Scores(overall, per_source, per_image)


def _planes(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
