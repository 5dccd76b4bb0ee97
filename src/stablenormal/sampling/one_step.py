"""The one-step start: what YOSO's denoiser is fed, and its single call."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from stablenormal.errors import SettingError

Start = Literal["noise", "zeros", "image_latent"]


def one_step(
    denoise: Callable[[Tensor, int], Tensor],
    image_latent: Tensor,
    noise: Tensor,
    start: Start,
    timestep: int,
) -> Tensor:
    """Predict the latent at a noise level in one network call (StableNormal, section 4.1).

    Args:
        denoise: YOSO's network: (z, t) to x_t.
        image_latent: En(I), (B, c, h, w).
        noise: Gaussian, (B, c, h, w).
        start: whether z is the noise, zeros (E2E-FT, arXiv 2409.11355), or the image latent (released v1.5
            and later); the last two are deterministic.
        timestep: the level of the prediction; 0 is the clean latent.

    Returns:
        The predicted latent x_t, (B, c, h, w).

    Raises:
        SettingError: if the start does not exist.
    """
    inputs = {"noise": noise, "zeros": torch.zeros_like(noise), "image_latent": image_latent}
    if start not in inputs:
        raise SettingError(f"start: {start!r} does not exist; choose one of {', '.join(inputs)}")
    return denoise(inputs[start], timestep)
