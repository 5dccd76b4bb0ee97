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


def test_holes_are_closed_and_the_outline_is_smooth() -> None:
    """An object with a hole of the ground's colour, and a fringe of whiskers two pixels wide."""
    side = 320
    v, u = np.mgrid[:side, :side].astype(np.float32) - side / 2 + 0.5
    radius = np.hypot(u, v)
    disc = radius < 90
    whiskers = (radius < 115) & (np.abs(u) < 100) & (v.astype(int) % 16 < 2)
    hole = np.hypot(u - 20, v + 10) < 25
    noise = np.random.default_rng(0).normal(0, 0.02, (side, side, 3))
    thing = ((disc | whiskers) & ~hole)[..., None]
    found = foreground((np.where(thing, [0.8, 0.3, 0.2], [0.2, 0.3, 0.4]) + noise).astype(np.float32))
    assert found[hole].all()
    assert (found & disc).sum() / (found | disc).sum() > 0.93
    outline = (np.diff(found.astype(int), axis=0) != 0).sum() + (
        np.diff(found.astype(int), axis=1) != 0
    ).sum()
    assert outline < 1.1 * 8 * 90  # a circle has 8 radii of pixel sides; the whiskers alone would add half


def test_the_outline_of_a_large_photograph_has_no_stairs() -> None:
    """The colours are clustered at 320 pixels; at 1280 a straight slanted edge must not step by four."""
    v, u = np.mgrid[:1280, :1280].astype(np.float32)
    edge = 300 + 0.4 * v
    thing = (u > edge) & (u < edge + 400) & (v > 200) & (v < 1080)
    noise = np.random.default_rng(0).normal(0, 0.02, (1280, 1280, 3))
    found = foreground(
        (np.where(thing[..., None], [0.8, 0.3, 0.2], [0.2, 0.3, 0.4]) + noise).astype(np.float32)
    )
    left = found[400:880].argmax(axis=1).astype(float)
    line = np.polyval(np.polyfit(np.arange(480), left, 1), np.arange(480))
    assert np.abs(left - line).max() < 2
