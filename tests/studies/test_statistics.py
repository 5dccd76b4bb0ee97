import numpy as np
import pytest

from stablenormal.errors import ImageShapeError
from studies.claims.statistics import Comparison, Finding, answer, judge

IMAGES = np.random.default_rng(0).gamma(2, 5, size=(1, 80))


def rows(*shifts: float, noise: float = 0.2) -> np.ndarray:
    """Values (seeds, images): the images' own difficulty plus a shift for each training seed."""
    rng = np.random.default_rng(len(shifts))
    return IMAGES + np.array(shifts)[:, None] + rng.normal(0, noise, (len(shifts), IMAGES.shape[1]))


def verdict(better, worse, margin=0.0) -> str:
    return judge(
        Comparison("a", "b", "error", margin), {"a": {"error": better}, "b": {"error": worse}}
    ).verdict


class TestJudge:
    def test_a_clear_difference_is_told_in_both_directions(self):
        low, high = rows(0, 0.1, -0.1), rows(1, 1.1, 0.9)
        assert verdict(low, high) == "yes"
        assert verdict(high, low) == "no"

    def test_no_difference_cannot_be_told(self):
        assert verdict(rows(0, 0, 0), rows(0, 0, 0, noise=0.21)) == "cannot tell"

    def test_one_training_seed_against_the_others_cannot_be_told(self):
        assert verdict(rows(0, 0, 1.2), rows(1, 1, 1)) == "cannot tell"

    def test_no_worse_than_needs_a_margin(self):
        slightly_worse, base = rows(0.3, 0.3, 0.3), rows(0, 0, 0)
        assert verdict(slightly_worse, base) == "no"
        assert verdict(slightly_worse, base, margin=0.5) == "yes"
        assert verdict(slightly_worse, base, margin=0.1) == "no"

    def test_the_difference_is_that_of_the_means_and_paired(self):
        finding = judge(
            Comparison("a", "b", "m"), {"a": {"m": rows(0, 0, 0)}, "b": {"m": rows(2.4, 2.5, 2.6)}}
        )
        assert finding.difference.mean == pytest.approx(-2.5, abs=0.1)
        assert finding.per_seed == pytest.approx((-2.4, -2.5, -2.6), abs=0.1)
        assert finding.difference.high - finding.difference.low < 1.5

    def test_two_seeds_that_differ_widely_cannot_tell(self):
        assert verdict(rows(0, 0), rows(2, 3)) == "cannot tell"

    def test_one_seed_is_compared_with_every_seed(self):
        finding = judge(Comparison("a", "b", "m"), {"a": {"m": rows(0)}, "b": {"m": rows(1, 2, 3)}})
        assert len(finding.per_seed) == 3

    def test_what_was_not_measured_is_said(self):
        assert judge(Comparison("a", "b", "m"), {"a": {"m": rows(0)}}).verdict == "not measured"
        nothing = np.full((1, 3), np.nan)
        assert (
            judge(Comparison("a", "b", "m"), {"a": {"m": nothing}, "b": {"m": nothing}}).verdict
            == "not measured"
        )

    def test_other_images_are_an_error(self):
        with pytest.raises(ImageShapeError, match="same images"):
            judge(Comparison("a", "b", "m"), {"a": {"m": rows(0)}, "b": {"m": rows(0)[:, 1:]}})


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["yes", "yes"], "yes"),
        (["yes", "cannot tell"], "cannot tell"),
        (["yes", "no", "cannot tell"], "no"),
        (["yes", "not measured"], "not measured"),
        ([], "not measured"),
    ],
)
def test_a_claim_of_several_comparisons(verdicts, expected):
    comparison = Comparison("a", "b", "m")
    assert answer([Finding(comparison, one, None, ()) for one in verdicts]) == expected
