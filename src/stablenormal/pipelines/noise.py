"""Where every random number of a pipeline comes from."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

NoiseSource = Callable[[], Tensor]


def seeded_noise(seed: int, like: Tensor) -> NoiseSource:
    """Gaussian noise for a batch in which every image has its own generator with the same seed.

    So an image's draws depend on the seed and its own size alone, not on its place in a batch; they are
    made on the CPU and stay float32, so that devices and dtypes agree.

    Args:
        seed: of each generator.
        like: gives shape (B, c, h, w) and device.
    """
    generators: Sequence[Generator] = [torch.Generator().manual_seed(seed) for _ in range(len(like))]
    shape = like.shape[1:]

    def draw() -> Tensor:
        draws = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        return draws.to(like.device)

    return draw
