"""The field's metrics of a set of angles."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError

THRESHOLDS_DEG = (5.0, 7.5, 11.25, 22.5, 30.0)


@dataclass(frozen=True)
class AngularMetrics:
    """Summary of angular errors.

    Attributes:
        mean: degrees.
        median: degrees; of an even number of angles the mean of the two middle ones, as numpy's.
        rmse: degrees.
        below: percentage of angles strictly under each of `THRESHOLDS_DEG`.
        count: how many angles.
    """

    mean: float
    median: float
    rmse: float
    below: dict[float, float]
    count: int


def angular_metrics(angles_deg: Tensor) -> AngularMetrics:
    """Summarise angles of any shape, in degrees.

    Raises:
        ImageShapeError: if there are none.
    """
    angles = angles_deg.flatten().double()
    if not angles.numel():
        raise ImageShapeError("no angles to summarise: the ground truth has no valid pixel")
    return AngularMetrics(
        mean=float(angles.mean()),
        median=_median(angles),
        rmse=float(angles.square().mean().sqrt()),
        below={limit: float((angles < limit).double().mean() * 100) for limit in THRESHOLDS_DEG},
        count=angles.numel(),
    )


def mean_of_metrics(per_image: Sequence[AngularMetrics]) -> AngularMetrics:
    """The mean of each metric over images, each image weighing the same; the counts are added.

    Raises:
        ImageShapeError: if there is no image.
    """
    if not per_image:
        raise ImageShapeError("no images to average")
    images = len(per_image)
    return AngularMetrics(
        mean=sum(one.mean for one in per_image) / images,
        median=sum(one.median for one in per_image) / images,
        rmse=sum(one.rmse for one in per_image) / images,
        below={limit: sum(one.below[limit] for one in per_image) / images for limit in THRESHOLDS_DEG},
        count=sum(one.count for one in per_image),
    )


def mean_over_sources(values: list[tuple[str, float]]) -> tuple[float, dict[str, float]]:
    """Mean of per-image values inside each source, then over the sources.

    Args:
        values: (source, value) of every image.

    Returns:
        The mean over sources, and the mean of each source.
    """
    sources = dict.fromkeys(source for source, _ in values)
    per_source = {
        name: float(torch.tensor([v for source, v in values if source == name], dtype=torch.float64).mean())
        for name in sources
    }
    return sum(per_source.values()) / len(per_source), per_source


def _median(angles: Tensor) -> float:
    lower = angles.median()  # torch's is the lower of the two middle ones
    if angles.numel() % 2:
        return float(lower)
    above = angles[angles > lower]
    ties = int((angles <= lower).sum()) > angles.numel() // 2
    return float(lower if ties else (lower + above.min()) / 2)
