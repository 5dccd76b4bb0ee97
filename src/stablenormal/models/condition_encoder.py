"""The image-condition encoder f: a ControlNet whose input is image latents."""

from typing import NamedTuple

from torch import Tensor, nn

from stablenormal.models.library import ControlNetModel
from stablenormal.models.unet_stages import embed_time, run_encoder


class ConditionResiduals(NamedTuple):
    """What f gives to a denoiser: one residual for each skip connection and one for the middle block."""

    skips: tuple[Tensor, ...]
    middle: Tensor


class ConditionEncoder(nn.Module):
    """The encoder half of a denoiser, fed with the image latent (StableNormal, section 4.1; ControlNet).

    Args:
        network: a diffusers `ControlNetModel`; its RGB embedding is never run.
        zero_convolutions: pass the features through the network's 1 x 1 convolutions, which start at zero;
            the released weights add raw features instead.
    """

    def __init__(self, network: ControlNetModel, zero_convolutions: bool) -> None:
        super().__init__()
        self.network = network
        self.zero_convolutions = zero_convolutions
        self.freeze_unused()

    def freeze_unused(self) -> None:
        """Take gradients from what is never run; once more after all was allowed to take them."""
        self.network.controlnet_cond_embedding.requires_grad_(False)
        if not self.zero_convolutions:
            self.network.controlnet_down_blocks.requires_grad_(False)
            self.network.controlnet_mid_block.requires_grad_(False)

    def forward(self, image_latent: Tensor, timestep: int | Tensor, text: Tensor) -> ConditionResiduals:
        """Encode an image latent (B, c, h, w) at a timestep, with a text condition (B, tokens, width)."""
        time = embed_time(self.network, timestep, image_latent)
        hidden, skips = run_encoder(self.network, image_latent, time, text)
        middle = self.network.mid_block(hidden, time, encoder_hidden_states=text)
        if self.zero_convolutions:
            convolutions = self.network.controlnet_down_blocks
            skips = [conv(skip) for conv, skip in zip(convolutions, skips, strict=True)]
            middle = self.network.controlnet_mid_block(middle)
        return ConditionResiduals(tuple(skips), middle)
