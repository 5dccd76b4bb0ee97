"""Sampling as the estimators before StableNormal do: from pure noise down a table of steps; ensembles."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stablenormal.geometry.normals import unit_length
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.pipelines.conditioning import ConditionedDenoiser
from stablenormal.pipelines.ensemble import average_normals
from stablenormal.pipelines.noise import NoiseSource
from stablenormal.sampling.refine import TOTAL, Step, check_steps, descent_steps, run_steps
from studies.claims.predictions import Prediction, denoise_from


class DiffusionSampler:
    """A diffusion network bound to encoded images; each call is one draw.

    Args:
        network: any denoiser.
        image_latent: En(I), (B, c, h, w).
        table: from `plain_ddim` (leading spacing) or `trailing_ddim`.
        predicts: what the network was trained to give.
        semantic: features of the semantic encoder (B, C, g, g), or None.
    """

    def __init__(
        self,
        network: GuidedDenoiser,
        image_latent: Tensor,
        table: Sequence[Step],
        predicts: Prediction,
        semantic: Tensor | None = None,
    ) -> None:
        bound = ConditionedDenoiser(network, image_latent, semantic)
        self._denoise = denoise_from(predicts, bound)
        self._table = table

    def __call__(self, noise: NoiseSource) -> Tensor:
        """Draw the latent x0 (B, c, h, w)."""
        return run_steps(self._denoise, noise(), self._table, noise)


def trailing_ddim(steps: int) -> tuple[Step, ...]:
    """DDIM from pure noise in "trailing" spacing: 999, 899, ..., 99 for 10 steps (arXiv 2305.08891).

    `plain_ddim`'s default is the "leading" spacing, 901, 801, ..., 1, which takes pure noise for x_901.

    Args:
        steps: network calls, at least 1.

    Raises:
        SettingError: if `steps` is out of range.
    """
    check_steps(steps)
    return tuple(descent_steps([round(TOTAL - index * TOTAL / steps) - 1 for index in range(steps)]))


def closest_to_mean(members: Sequence[Tensor]) -> Tensor:
    """At each pixel the member nearest to the mean direction, (B, 3, H, W).

    Marigold's choice for normals (arXiv 2505.09358): unlike the mean itself it does not blur edges on which
    the members disagree.
    """
    stacked = torch.stack([unit_length(member) for member in members])  # (K, B, 3, H, W)
    agreement = (stacked * average_normals(members)).sum(dim=2, keepdim=True)  # (K, B, 1, H, W)
    best = agreement.argmax(dim=0, keepdim=True).expand(-1, -1, 3, -1, -1)
    return stacked.gather(0, best)[0]
