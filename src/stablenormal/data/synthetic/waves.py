"""Smooth random fields over space."""

import numpy as np

from stablenormal.data.synthetic.draws import Array, Rng


def waves(rng: Rng, points: Array, octaves: int, frequency: float) -> Array:
    """Smooth random values (N,) at points (N, 3): sums of sines; each octave doubles the frequency."""
    return wave_field(rng, octaves, frequency)(points)


class WaveField:
    """A sum of sines that can be asked again and again."""

    def __init__(self, directions: Array, phases: Array, heights: Array) -> None:
        self._directions, self._phases, self._heights = directions, phases, heights

    def __call__(self, points: Array) -> Array:
        """Values (...) at points (..., 3)."""
        total = np.zeros(points.shape[:-1])
        for heading, phase, height in zip(self._directions, self._phases, self._heights, strict=True):
            total += height * np.sin(points @ heading + phase)
        return total


def wave_field(rng: Rng, octaves: int, frequency: float) -> WaveField:
    """A smooth random field of about unit range: six sines an octave, each octave twice as fine."""
    directions, phases, heights = [], [], []
    for octave in range(octaves):
        for _ in range(6):
            directions.append(rng.standard_normal(3) * frequency * 2**octave)
            phases.append(rng.random() * 2 * np.pi)
            heights.append(0.5**octave / 6)
    return WaveField(np.array(directions), np.array(phases), np.array(heights))
