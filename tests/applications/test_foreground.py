import numpy as np
import pytest

from stablenormal.applications.foreground import foreground
from stablenormal.errors import SettingError


def test_the_thing_in_the_middle_is_found_the_same_way_twice() -> None:
    v, u = np.mgrid[:90, :120].astype(np.float32)
    disc = (u - 60) ** 2 + (v - 45) ** 2 < 25**2
    noise = np.random.default_rng(0).normal(0, 0.02, (90, 120, 3))
    rgb = (np.where(disc[..., None], [0.8, 0.3, 0.2], [0.2, 0.3, 0.4]) + noise).astype(np.float32)
    found = foreground(rgb)
    assert (found & disc).sum() / (found | disc).sum() > 0.95
    assert np.array_equal(found, foreground(rgb))


def test_nothing_in_the_picture_is_said() -> None:
    with pytest.raises(SettingError, match="stands out"):
        foreground(np.full((40, 40, 3), 0.5, np.float32))
