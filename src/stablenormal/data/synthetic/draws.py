"""Random draws that the scene code uses everywhere."""

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Rng: TypeAlias = np.random.Generator
Array: TypeAlias = npt.NDArray[np.float64]
T = TypeVar("T")


def generator(*key: int) -> Rng:
    """A random generator for this key of non-negative integers; another key, another independent stream."""
    return np.random.default_rng(np.random.SeedSequence(key))


def chance(rng: Rng, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """One of the choices, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number between low and high whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def direction(rng: Rng, *, up: float | None = None) -> Array:
    """A random unit vector (3,); with `up`, in the upper half, lifted by that much before scaling."""
    vector = rng.normal(size=3)
    if up is not None:
        vector[2] = abs(vector[2]) + up
    return vector / np.linalg.norm(vector)


def hsv_to_rgb(hue: float, saturation: float, value: float) -> Array:
    """Colour (3,) in [0, 1] from hue, saturation and value in [0, 1]."""
    k = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    return value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))


def surface_colour(rng: Rng, *, vivid: bool = False) -> Array:
    """A display-coded colour (3,) as surfaces have them: half warm, mostly muted, any brightness."""
    hue = rng.normal(0.08, 0.04) % 1 if chance(rng, 0.5) else rng.random()
    saturation = rng.beta(2, 2) if vivid else rng.beta(1.2, 4)
    return hsv_to_rgb(float(hue), float(saturation), float(rng.uniform(0.12, 0.95)))
