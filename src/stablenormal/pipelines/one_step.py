"""Turbo: YOSO alone, the clean latent in one network call."""

from torch import Tensor

from stablenormal.models.building import ModelComponents
from stablenormal.pipelines.conditioning import ConditionedDenoiser
from stablenormal.pipelines.noise import NoiseSource
from stablenormal.sampling.one_step import one_step


class OneStepSampler:
    """YOSO bound to encoded images; each call is one draw.

    Args:
        components: the model.
        image_latent: En(I), (B, c, h, w).
    """

    def __init__(self, components: ModelComponents, image_latent: Tensor) -> None:
        self.spec = components.spec
        self.yoso = ConditionedDenoiser(components.yoso, image_latent)
        self.deterministic = self.spec.start != "noise"
        """Whether every draw is the same."""

    def __call__(self, noise: NoiseSource) -> Tensor:
        """Draw the latent x0 (B, c, h, w)."""
        return one_step(self.yoso, self.yoso.image_latent, noise(), self.spec.start, self.spec.turbo_t)
