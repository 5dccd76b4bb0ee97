"""An image's residuals, computed once and used in every network call."""

from typing import Any

from torch import Tensor

from stablenormal.models.denoiser import GuidedDenoiser


class ConditionedDenoiser:
    """The callable `denoise(x_t, t)` that sampling takes: a denoiser bound to images.

    The injector runs once, when first needed; the condition encoder once for each distinct timestep.

    Args:
        pair: the denoiser with all that conditions it.
        condition: what f eats of the images, (B, C, h, w): En(I), or an image encoder's features.
        semantic: features of the semantic encoder (B, C, g, g), or None.
    """

    def __init__(self, pair: GuidedDenoiser, condition: Tensor, semantic: Tensor | None = None) -> None:
        self.pair = pair
        self.condition = condition
        size = (condition.shape[2], condition.shape[3])
        self.semantic_residuals = pair.encode_semantic(semantic, size)
        self.conditions: dict[int, Any] = {}

    def __call__(self, x_t: Tensor, timestep: int) -> Tensor:
        """Predict from a noisy latent (B, c, h, w); float32, whatever the network computes in."""
        if timestep not in self.conditions:
            self.conditions[timestep] = self.pair.encode_condition(self.condition, timestep)
        x_t = x_t.to(self.condition.dtype)
        return self.pair.denoise(x_t, timestep, self.conditions[timestep], self.semantic_residuals).float()
