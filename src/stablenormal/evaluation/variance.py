"""How much an estimator's result depends on its seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.evaluation.edges import near_edges
from stablenormal.evaluation.pooling import PooledAngles
from stablenormal.geometry.normals import angular_error_deg, valid_mask
from stablenormal.pipelines.ensemble import average_normals, spread_deg

SeededEstimator = Callable[[Tensor, int], Tensor]
"""Image (3, H, W) in [0, 1] and seed -> OpenGL normals (3, H, W)."""

LEAST_SEEDS = 2


@dataclass(frozen=True)
class Spread:
    """Angular spread over pixels, degrees."""

    mean: float
    p95: float
    """The 95th percentile."""
    count: int
    """How many pixels."""


@dataclass(frozen=True)
class ImageVariance:
    """How far the results of different seeds lie apart on one image."""

    name: str
    everywhere: Spread
    on_edges: Spread | None
    """Near an edge of the ground truth, or of the mean prediction where there is none; None if nothing is."""
    off_edges: Spread | None
    mean_errors_deg: tuple[float, ...] | None
    """Mean error of each seed; None without ground truth."""
    error_variance: float | None
    """Variance of `mean_errors_deg` over the seeds, degrees squared: the mean squared distance from their
    mean."""


@dataclass(frozen=True)
class VarianceSummary:
    """How far the results of different seeds lie apart over a set."""

    images: int
    everywhere: Spread
    """Over the pixels of all images."""
    on_edges: Spread | None
    off_edges: Spread | None
    error_variance: float | None
    """Mean over images, degrees squared: the number that the paper gives. A constant wrong result has
    zero."""


@dataclass(frozen=True, eq=False)
class SeedsCompared:
    """One image under all seeds."""

    result: ImageVariance
    spread_deg: Tensor
    """(H, W): mean angle of the seeds' normals to their mean direction."""
    mean_normals: Tensor
    """(3, H, W): that direction."""


class VarianceEvaluator:
    """Runs seeds image after image and remembers what the summary needs.

    Args:
        estimate: the estimator.
        seeds: the seeds of every image.

    Raises:
        SettingError: if there are fewer than two, or one twice.
    """

    def __init__(self, estimate: SeededEstimator, seeds: Sequence[int]) -> None:
        if len(seeds) < LEAST_SEEDS or len(set(seeds)) < len(seeds):
            raise SettingError(f"expected {LEAST_SEEDS} or more different seeds, got {list(seeds)}")
        self._estimate = estimate
        self._seeds = tuple(seeds)
        self.results: list[ImageVariance] = []
        self._pools = {region: PooledAngles() for region in ("everywhere", "on_edges", "off_edges")}

    def add(self, name: str, image: Tensor, truth: Tensor | None = None) -> SeedsCompared:
        """Run every seed on one image.

        Args:
            name: of the image.
            image: (3, H, W) in [0, 1].
            truth: normals (3, H, W), OpenGL, zero where invalid; None if there are none.

        Raises:
            ImageShapeError: if truth and predictions differ in size, or nothing is valid.
        """
        members = [self._estimate(image, seed).detach().cpu().float()[None] for seed in self._seeds]
        mean = average_normals(members)  # (1, 3, H, W)
        spread = spread_deg(members, mean)[0]  # (H, W)
        if truth is not None and truth.shape != mean.shape[1:]:
            raise ImageShapeError(f"{name}: predicted {tuple(mean.shape[1:])}, truth is {tuple(truth.shape)}")
        reference = mean[0] if truth is None else truth
        valid = valid_mask(reference)
        if not valid.any():
            raise ImageShapeError(f"{name}: no valid pixel; take the image out")
        near = near_edges(reference)
        found = {}
        for region, mask in (("everywhere", valid), ("on_edges", valid & near), ("off_edges", valid & ~near)):
            self._pools[region].add(spread[mask])
            one = PooledAngles()
            one.add(spread[mask])
            found[region] = _spread(one)
        errors = None if truth is None else tuple(_mean_error(member, truth, valid) for member in members)
        assert found["everywhere"] is not None, "a pixel is valid"
        result = ImageVariance(
            name=name,
            everywhere=found["everywhere"],
            on_edges=found["on_edges"],
            off_edges=found["off_edges"],
            mean_errors_deg=errors,
            error_variance=None if errors is None else float(np.var(errors)),
        )
        self.results.append(result)
        return SeedsCompared(result, spread, mean[0])

    def summary(self) -> VarianceSummary:
        """Over all images so far.

        Raises:
            ImageShapeError: if there are none.
        """
        everywhere = _spread(self._pools["everywhere"])
        if everywhere is None:
            raise ImageShapeError("no images to compare seeds on")
        variances = [one.error_variance for one in self.results if one.error_variance is not None]
        return VarianceSummary(
            images=len(self.results),
            everywhere=everywhere,
            on_edges=_spread(self._pools["on_edges"]),
            off_edges=_spread(self._pools["off_edges"]),
            error_variance=float(np.mean(variances)) if variances else None,
        )


def _spread(pool: PooledAngles) -> Spread | None:
    if not pool.count:
        return None
    return Spread(mean=pool.metrics().mean, p95=pool.quantile(0.95), count=pool.count)


def _mean_error(member: Tensor, truth: Tensor, valid: Tensor) -> float:
    return float(angular_error_deg(member, truth[None])[0][valid].double().mean())
