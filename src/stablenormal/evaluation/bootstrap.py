"""Confidence intervals of a mean over images, and over training seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stablenormal.errors import ImageShapeError, SettingError

RESAMPLES = 4000

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and where it may lie."""

    mean: float
    low: float
    """The level's lower end."""
    high: float
    """The level's upper end."""

    def __post_init__(self) -> None:
        """An interval has its ends in order."""
        assert self.low <= self.high, self


def bootstrap_mean(
    values: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of a table of values with its interval, over rows and columns.

    Rows are training seeds, columns images. Each resample draws as many columns with replacement, as the
    ordinary bootstrap over images does. Rows are too few to be resampled (of three, a bootstrap knows little
    more than the range): their means get Student's t with one degree of freedom less than there are rows,
    drawn independently and added. What images have in common over seeds, and seeds over images, does not
    count as repeated evidence. One row is the bootstrap over images alone. For the difference of two methods
    on the same images give the table of differences: it is paired.

    Args:
        values: (images,) or (training seeds, images); columns with a NaN are left out.
        level: share of resamples inside, symmetric in rank (percentile interval).
        resamples: how many.
        seed: of the resampling.

    Raises:
        ImageShapeError: if there is no column without NaN, or the shape is another.
        SettingError: if level or resamples are out of range.
    """
    if not 0 < level < 1 or resamples < 1:
        raise SettingError(f"bootstrap: expected 0 < level < 1 and resamples, got {level} and {resamples}")
    table = _table(values)
    rows, columns = table.shape
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(columns, np.full(columns, 1 / columns), size=resamples)
    means = draws @ table.mean(axis=0) / columns
    if rows > 1:
        deviation = float(table.mean(axis=1).std(ddof=1)) / np.sqrt(rows)
        means = means + deviation * rng.standard_t(rows - 1, size=resamples)
    mean = float(table.mean())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, min(float(low), mean), max(float(high), mean))


def _table(values: ArrayLike) -> NDArray[np.float64]:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2:
        raise ImageShapeError(f"bootstrap: expected (images,) or (seeds, images), got {table.shape}")
    table = table[:, ~np.isnan(table).any(axis=0)]
    if not table.size:
        raise ImageShapeError("bootstrap: no image has a value")
    return table
