"""Plain diffusion: from pure noise down a table of steps, as the estimators before StableNormal do."""

from collections.abc import Sequence

from torch import Tensor

from stablenormal.models.denoiser import Denoiser
from stablenormal.pipelines.conditioning import ConditionedDenoiser
from stablenormal.pipelines.noise import NoiseSource
from stablenormal.sampling.predictions import Prediction, denoise_from
from stablenormal.sampling.refine import Step, run_steps


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
        network: Denoiser,
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
