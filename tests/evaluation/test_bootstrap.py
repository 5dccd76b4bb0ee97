import numpy as np
import pytest

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.evaluation.bootstrap import bootstrap_mean


def coverage(draw, true_mean: float, trials: int = 150) -> float:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(trials):
        found = bootstrap_mean(draw(rng), resamples=300, seed=trial)
        inside += found.low <= true_mean <= found.high
    return inside / trials


class TestCoverage:
    def test_of_skewed_images(self):
        """Errors of images are skewed to the right, as a gamma distribution is."""
        assert 0.9 <= coverage(lambda rng: rng.gamma(2, 5, size=60), 10) <= 0.99

    def test_of_images_and_seeds_that_both_vary(self):
        """Of many rows the share must be about right; ignoring the rows would cover in half the trials."""

        def draw(rng):
            return 3 + rng.normal(0, 1, (12, 1)) + rng.normal(0, 2, (1, 80)) + rng.normal(0, 1, (12, 80))

        assert 0.88 <= coverage(draw, 3) <= 0.99
        ignoring = coverage(lambda rng: draw(rng).mean(axis=0), 3)
        assert ignoring < 0.85

    def test_of_three_seeds_that_vary_more_than_images_do(self):
        """The study's case: three trainings, no true difference; a bootstrap over rows misses it in 25 %."""

        def draw(rng):
            return rng.normal(0, 1, (3, 1)) + rng.normal(0, 0.5, (1, 80)) + rng.normal(0, 0.5, (3, 80))

        assert 0.9 <= coverage(draw, 0, trials=300) <= 0.99

    def test_pairing_narrows_the_interval_of_a_difference(self):
        rng = np.random.default_rng(1)
        images = rng.gamma(2, 5, size=100)
        a, b = images + rng.normal(0, 0.5, 100), images + 1 + rng.normal(0, 0.5, 100)
        paired = bootstrap_mean(a - b)
        assert paired.high < 0
        alone = bootstrap_mean(a)
        assert (alone.high - alone.low) > 5 * (paired.high - paired.low)


class TestBootstrapMean:
    def test_equal_values_have_no_width(self):
        found = bootstrap_mean(np.full((3, 5), 2.5))
        assert (found.mean, found.low, found.high) == (2.5, 2.5, 2.5)

    def test_the_same_seed_gives_the_same_interval(self):
        values = np.random.default_rng(0).normal(size=40)
        assert bootstrap_mean(values) == bootstrap_mean(values)
        assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)

    def test_a_lower_level_is_narrower(self):
        values = np.random.default_rng(0).normal(size=40)
        half, most = bootstrap_mean(values, level=0.5), bootstrap_mean(values)
        assert most.low < half.low < half.mean < half.high < most.high

    def test_an_image_without_a_value_is_left_out_of_all_seeds(self):
        assert bootstrap_mean([[1, np.nan, 3], [1, 100, 3]]).mean == 2

    @pytest.mark.parametrize("values", [[], [[np.nan, 1], [1, np.nan]], np.zeros((2, 2, 2))])
    def test_no_values_are_an_error(self, values):
        with pytest.raises(ImageShapeError, match="bootstrap"):
            bootstrap_mean(values)

    def test_settings_out_of_range_are_refused(self):
        with pytest.raises(SettingError, match="level"):
            bootstrap_mean([1, 2], level=1)
        with pytest.raises(SettingError, match="resamples"):
            bootstrap_mean([1, 2], resamples=0)
