"""Turbo: YOSO alone, the clean latent in one network call."""

from torch import Tensor

from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.pipelines.conditioning import ConditionedDenoiser
from stablenormal.pipelines.noise import NoiseSource
from stablenormal.sampling.one_step import one_step


class OneStepSampler:
    """YOSO bound to encoded images; each call is one draw.

    Args:
        components: the model.
        encoded: the images, as `ModelComponents.encode_image` gives them.
    """

    def __init__(self, components: ModelComponents, encoded: EncodedImage) -> None:
        self.spec = components.spec
        self.encoded = encoded
        self.yoso = ConditionedDenoiser(components.yoso, encoded.condition)
        self.deterministic = self.spec.start != "noise"
        """Whether every draw is the same."""
        self.calls = (0,) * len(encoded.latent)
        """Network calls of a refinement, of each image: there is none."""

    def __call__(self, noise: NoiseSource) -> Tensor:
        """Draw the latent x0 (B, c, h, w)."""
        return one_step(self.yoso, self.encoded.latent, noise(), self.spec.start, self.spec.turbo_t)
