"""What a diffusion network may be trained to give, and the x0 that follows from it.

x0         the clean latent
epsilon    the noise in x_t = sqrt(a) x0 + sqrt(1 - a) epsilon (DDPM, arXiv 2006.11239)
velocity   sqrt(a) epsilon - sqrt(1 - a) x0 (progressive distillation, arXiv 2202.00512)
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.sampling.noise_schedule import NoiseSchedule

Prediction = Literal["x0", "epsilon", "velocity"]


def prediction_target(kind: Prediction, x0: Tensor, noise: Tensor, timestep: int | Tensor) -> Tensor:
    """What the network is asked for at x_t.

    Args:
        kind: what it gives.
        x0: clean latents (B, c, h, w).
        noise: epsilon, like x0.
        timestep: one, or one for each sample, (B,).

    Raises:
        SettingError: if the kind does not exist.
    """
    _check(kind)
    if kind == "x0":
        return x0
    if kind == "epsilon":
        return noise
    signal, sigma = _levels(x0, timestep)
    return signal * noise - sigma * x0


def x0_from(
    kind: Prediction,
    output: Tensor,
    x_t: Tensor,
    timestep: int | Tensor,
) -> Tensor:
    """The clean latent that a network's output (B, c, h, w) at x_t stands for; arguments as above.

    Raises:
        SettingError: if the kind does not exist.
    """
    _check(kind)
    if kind == "x0":
        return output
    signal, sigma = _levels(x_t, timestep)
    if kind == "epsilon":
        return (x_t - sigma * output) / signal
    return signal * x_t - sigma * output


def denoise_from(
    kind: Prediction, network: Callable[[Tensor, int], Tensor]
) -> Callable[[Tensor, int], Tensor]:
    """The `denoise(x_t, t) -> x0` that the tables of steps take, from a network that gives something else."""

    def denoise(x_t: Tensor, timestep: int) -> Tensor:
        return x0_from(kind, network(x_t, timestep), x_t, timestep)

    return denoise


def _levels(like: Tensor, timestep: int | Tensor) -> tuple[Tensor, Tensor]:
    alpha = NoiseSchedule().alphas_cumprod.to(like.device)[torch.as_tensor(timestep)]
    alpha = alpha.reshape(-1, 1, 1, 1)
    return alpha.sqrt().to(like.dtype), (1 - alpha).sqrt().to(like.dtype)


def _check(kind: Prediction) -> None:
    if kind not in get_args(Prediction):
        raise SettingError(f"prediction: {kind!r} does not exist; choose {', '.join(get_args(Prediction))}")
