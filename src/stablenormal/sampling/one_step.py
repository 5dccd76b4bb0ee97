"""The one-step start: what YOSO's denoiser is fed, and its single call."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from stablenormal.errors import SettingError

Start = Literal["noise", "image_latent"]


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
        start: whether z is the noise, or the image latent (released v1.5 and later, deterministic).
        timestep: the level of the prediction; 0 is the clean latent.

    Returns:
        The predicted latent x_t, (B, c, h, w).

    Raises:
        SettingError: if the start does not exist.
    """
    if start not in ("noise", "image_latent"):
        raise SettingError(f"start: {start!r} does not exist; choose noise or image_latent")
    return denoise(noise if start == "noise" else image_latent, timestep)
