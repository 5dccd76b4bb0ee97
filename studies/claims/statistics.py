"""Decides by one rule whether measurements support a claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.bootstrap import Interval, bootstrap_mean

Verdict = Literal["yes", "no", "cannot tell", "not measured"]

Measurements = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""Row -> metric -> values (training seeds, images). Smaller is better, and equal columns are equal images."""

RULE = (
    "For every comparison the difference is taken image by image and training seed by training seed, and "
    "its mean gets a 95 % interval: a bootstrap over images, and Student's t over training seeds. **Yes**: "
    "the whole interval lies on the claimed side of zero (or of the stated margin), and so does every "
    "training seed's own mean. **No**: the same on the other side. **Cannot tell**: anything else. A "
    "claim of several comparisons is yes if all are, no if one is no, not measured if one is not, and "
    "otherwise cannot tell."
)
"""The rule in words, for pages."""


@dataclass(frozen=True)
class Comparison:
    """One row is claimed to have a smaller metric than another, on the same images."""

    better: str
    """The row that is claimed to be smaller."""
    worse: str
    metric: str
    margin: float = 0.0
    """`better` may be larger than `worse` by less than this; positive for "no worse than"."""


@dataclass(frozen=True)
class Claim:
    """A sentence and what would have to be measured for it."""

    key: str
    """Short name."""
    sentence: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Finding:
    """What was measured of a comparison."""

    comparison: Comparison
    verdict: Verdict
    difference: Interval | None
    """Metric of `better` minus that of `worse`: below the margin speaks for the claim."""
    per_seed: tuple[float, ...]
    """Mean difference of each training seed."""


def judge(comparison: Comparison, measurements: Measurements) -> Finding:
    """Apply the rule to one comparison.

    A row of one training seed (a method without training, say) is compared with every seed of the other. Of
    two rows with several, the seeds that both have are compared.

    Raises:
        ImageShapeError: if the two rows were measured on different numbers of images.
    """
    pair = [measurements.get(row, {}).get(comparison.metric) for row in (comparison.better, comparison.worse)]
    if pair[0] is None or pair[1] is None:
        return Finding(comparison, "not measured", None, ())
    better, worse = pair[0], pair[1]
    if better.ndim != 2 or worse.ndim != 2 or better.shape[1] != worse.shape[1]:
        raise ImageShapeError(
            f"{comparison.better} and {comparison.worse}: expected values (seeds, images) of the same "
            f"images, got {better.shape} and {worse.shape}"
        )
    if 1 not in (len(better), len(worse)):
        seeds = min(len(better), len(worse))
        better, worse = better[:seeds], worse[:seeds]
    differences = better - worse
    differences = differences[:, ~np.isnan(differences).any(axis=0)]
    if not differences.size:
        return Finding(comparison, "not measured", None, ())
    interval = bootstrap_mean(differences)
    per_seed = tuple(float(mean) for mean in differences.mean(axis=1))
    verdict: Verdict = "cannot tell"
    if interval.high < comparison.margin and max(per_seed) < comparison.margin:
        verdict = "yes"
    if interval.low > comparison.margin and min(per_seed) > comparison.margin:
        verdict = "no"
    return Finding(comparison, verdict, interval, per_seed)


def answer(findings: Sequence[Finding]) -> Verdict:
    """The answer to a claim of several comparisons."""
    verdicts = {finding.verdict for finding in findings}
    if "no" in verdicts:
        return "no"
    if "not measured" in verdicts or not verdicts:
        return "not measured"
    return "yes" if verdicts == {"yes"} else "cannot tell"
