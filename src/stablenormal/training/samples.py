"""The samples of one optimiser step, each with random numbers of its own.

What a sample meets depends on the seed, the step and its place in the step's batch alone: not on how the
batch is divided among processes and passes, nor on what came before. So two processes see what one sees, and
a run that was stopped goes on as if it had not been.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class StepSamples:
    """The share of a step's batch that one process computes at once.

    Attributes:
        index: (B,) which samples of the epoch.
        places: (B,) their places in the step's whole batch.
        total: size of the step's whole batch.
        rngs: one for each sample, for augmentation.
        noise: one for each sample, for tensors.
        device: where drawn tensors go; the numbers themselves do not depend on it.
    """

    index: NDArray[np.int64]
    places: NDArray[np.int64]
    total: int
    rngs: tuple[np.random.Generator, ...]
    noise: tuple[torch.Generator, ...]
    device: torch.device

    def __len__(self) -> int:
        return len(self.index)

    def normal(self, *shape: int) -> Tensor:
        """Gaussian numbers (B, *shape)."""
        return self._each(lambda generator: torch.randn(shape, generator=generator))

    def uniform(self) -> Tensor:
        """Numbers (B,) in [0, 1)."""
        return self._each(lambda generator: torch.rand((), generator=generator))

    def integers(self, low: int, high: int) -> Tensor:
        """Whole numbers (B,) from `low` to `high` - 1."""
        return self._each(lambda generator: torch.randint(low, high, (), generator=generator))

    def _each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self.noise]).to(self.device)


def divide_step(
    index: NDArray[np.int64],
    seed: int,
    step: int,
    rank: int,
    processes: int,
    passes: int,
    device: torch.device,
) -> list[StepSamples]:
    """One process' shares of a step's batch, one for each pass of gradient accumulation.

    Args:
        index: (total,) samples of the whole batch, in order; `processes` times `passes` divides their number.
        seed: of the run.
        step: the optimiser step, from 0.
        rank: which process, from 0.
        processes: how many there are.
        passes: of gradient accumulation.
        device: where drawn tensors go.
    """
    own = np.arange(
        rank, len(index), processes
    )  # interleaved, as parts may treat the batch's ends differently
    return [
        StepSamples(index[places], places, len(index), *_generators(seed, step, places), device)
        for places in np.split(own, passes)
    ]


def _generators(
    seed: int, step: int, places: NDArray[np.int64]
) -> tuple[tuple[np.random.Generator, ...], tuple[torch.Generator, ...]]:
    sequences = [np.random.SeedSequence((seed, step, int(place))).spawn(2) for place in places]
    rngs = tuple(np.random.default_rng(one) for one, _ in sequences)
    noise = tuple(
        torch.Generator().manual_seed(int(two.generate_state(1, np.uint64)[0] >> 1)) for _, two in sequences
    )
    return rngs, noise
