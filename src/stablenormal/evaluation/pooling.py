"""Metrics of any number of pooled angles in fixed memory.

Mean, RMSE and shares are exact: sums in float64, counts in integers. Quantiles come from a histogram of 2^20
bins over [0, 180] degrees; each is the middle of its bin, so it is off by at most half a bin, 0.000086
degrees, whatever the number of angles. The histogram takes 8 MiB; angles are added in blocks, so a large map
needs little more.
"""

import math

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.evaluation.metrics import THRESHOLDS_DEG, AngularMetrics

BINS = 2**20

BIN_DEG = 180 / BINS

QUANTILE_ERROR_DEG = BIN_DEG / 2
"""Largest distance of a pooled quantile from the exact one."""

_BLOCK = 2**20


class PooledAngles:
    """Angles of many images pooled, kept as sums and a histogram."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._below = dict.fromkeys(THRESHOLDS_DEG, 0)
        self._bins = torch.zeros(BINS, dtype=torch.int64)
        self._lowest, self._highest = math.inf, -math.inf

    def add(self, angles_deg: Tensor) -> None:
        """Add angles of any shape, in degrees.

        Raises:
            ImageShapeError: if an angle is NaN or outside [0, 180].
        """
        for block in torch.split(angles_deg.flatten(), _BLOCK):
            if block.numel():
                self._add_block(block.double())

    def metrics(self) -> AngularMetrics:
        """Summary of all angles so far; the median is within `QUANTILE_ERROR_DEG`.

        Raises:
            ImageShapeError: if there are none.
        """
        self._require_angles()
        return AngularMetrics(
            mean=self._sum / self.count,
            median=self.quantile(0.5),
            rmse=math.sqrt(self._sum_of_squares / self.count),
            below={limit: 100 * below / self.count for limit, below in self._below.items()},
            count=self.count,
        )

    def quantile(self, share: float) -> float:
        """The angle in degrees under which a share of the angles lies, interpolated as numpy does by default.

        Args:
            share: in [0, 1]; 0.5 is the median.

        Raises:
            SettingError: if the share is outside.
            ImageShapeError: if there are no angles.
        """
        if not 0 <= share <= 1:
            raise SettingError(f"expected a share from 0 to 1, got {share}")
        self._require_angles()
        place = share * (self.count - 1)
        below = math.floor(place)
        lower, upper = self._ordered(below), self._ordered(min(below + 1, self.count - 1))
        return lower + (upper - lower) * (place - below)

    def _add_block(self, angles: Tensor) -> None:
        low, high = float(angles.min()), float(angles.max())
        if not (low >= 0 and high <= 180 + 1e-4):  # also refuses NaN; float32 rounds pi up
            raise ImageShapeError(f"angles must be in [0, 180] degrees, got {low} to {high}")
        self.count += angles.numel()
        self._sum += float(angles.sum())
        self._sum_of_squares += float(angles.square().sum())
        for limit in THRESHOLDS_DEG:
            self._below[limit] += int((angles < limit).sum())
        places = (angles / BIN_DEG).long().clamp(max=BINS - 1)
        self._bins += torch.bincount(places, minlength=BINS)
        self._lowest, self._highest = min(self._lowest, low), max(self._highest, high)

    def _ordered(self, rank: int) -> float:
        """The angle of a rank, 0 for the smallest, to half a bin."""
        place = int(torch.searchsorted(self._bins.cumsum(0), rank, right=True))
        # Nothing lies outside the extremes: equal angles, above all zeros, come back exactly.
        return min(max((place + 0.5) * BIN_DEG, self._lowest), self._highest)

    def _require_angles(self) -> None:
        if not self.count:
            raise ImageShapeError("no angles to summarise: the ground truth has no valid pixel")
