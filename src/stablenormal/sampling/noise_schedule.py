"""The forward diffusion x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stablenormal.errors import SettingError


@dataclass(frozen=True)
class NoiseSchedule:
    """Stable Diffusion's `scaled_linear` schedule: the betas' square roots grow linearly."""

    timesteps: int = 1000
    """Number of noise levels."""
    beta_start: float = 0.00085
    """Variance of the first step."""
    beta_end: float = 0.012
    """Variance of the last step."""

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.timesteps < 2 or not 0 < self.beta_start <= self.beta_end < 1:
            raise SettingError(
                "noise schedule: expected at least 2 timesteps and 0 < beta_start <= beta_end < 1, "
                f"got {self.timesteps}, {self.beta_start}, {self.beta_end}"
            )

    @property
    def alphas_cumprod(self) -> Tensor:
        """The signal's share a_t of the variance at each timestep, (timesteps,) float32."""
        betas = torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.timesteps) ** 2
        return torch.cumprod(1 - betas, dim=0)

    def alpha(self, timestep: int) -> float:
        """a_t of one timestep.

        Raises:
            SettingError: if the timestep is outside the schedule.
        """
        if not 0 <= timestep < self.timesteps:
            raise SettingError(f"timestep: expected 0 to {self.timesteps - 1}, got {timestep}")
        return float(self.alphas_cumprod[timestep])

    def add_noise(self, x0: Tensor, noise: Tensor, timestep: int | Tensor) -> Tensor:
        """Bring clean latents (B, c, h, w) to one noise level, or to one level each, (B,)."""
        alpha = self.alphas_cumprod.to(x0.device)[timestep].reshape(-1, 1, 1, 1)
        signal, sigma = (
            alpha.sqrt(),
            (1 - alpha).sqrt(),
        )  # in float32: bfloat16 has no number between 0.9961 and 1
        return signal.to(x0.dtype) * x0 + sigma.to(x0.dtype) * noise
