"""The rivals' networks: the method's own, or a U-Net that sees the image latent in its first convolution."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from diffusers import UNet2DConditionModel
from torch import Generator, Tensor, nn

from stablenormal.errors import SettingError
from stablenormal.models.architecture import Architecture
from stablenormal.models.building import ModelComponents, build_components, build_unet
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.text import text_constant
from stablenormal.training.fresh_weights import quieten_blocks, seeded

NetworkKind = Literal["guided", "beside", "alone"]
"""How the image reaches the U-Net: through the condition encoder, beside the noisy latent, or alone."""


def rival_components(
    base: ModelComponents, architecture: Architecture, kind: NetworkKind, seed: int
) -> ModelComponents:
    """A model with the base's frozen autoencoder and encoders, and fresh denoisers.

    Guided networks of one seed are equal, whatever they are trained for.

    Args:
        base: gives the frozen parts and the spec.
        architecture: shapes of the denoisers.
        kind: what stands in YOSO's place.
        seed: decides the fresh weights.
    """
    generator = Generator().manual_seed(seed)
    fresh = build_components(architecture, replace(base.spec, start="noise", turbo_t=0), generator)
    components = replace(
        fresh,
        autoencoder=base.autoencoder,
        image_encoder=base.image_encoder,
        semantic_encoder=base.semantic_encoder,
    )
    if kind != "guided":
        network = build_concatenating_denoiser(architecture, kind == "beside", generator)
        components.yoso = cast(
            GuidedDenoiser, network
        )  # the pipelines take any denoiser; it is never saved as YOSO
    for name, part in components.parts().items():
        if name in ("yoso", "refiner"):
            quieten_blocks(part)
        else:
            part.requires_grad_(False).eval()
    return components


def build_concatenating_denoiser(
    architecture: Architecture, noisy_latent: bool, generator: Generator | None = None
) -> "ConcatenatingDenoiser":
    """Build a rival's network: about as many parameters as YOSO's denoiser and condition encoder together.

    One residual block more in each level takes the place of the condition encoder.

    Args:
        architecture: all shapes.
        noisy_latent: whether it sees the noisy latent beside the image's.
        generator: the source of every initial weight; the global random state stays untouched.
    """
    shape = replace(architecture.yoso, layers_per_block=architecture.yoso.layers_per_block + 1)
    channels = architecture.autoencoder.latent_channels
    with torch.device("meta"):  # for its configuration alone
        config = dict(build_unet(shape, channels).config) | {"in_channels": channels * (1 + noisy_latent)}
    with seeded(int(torch.randint(2**31, (), generator=generator, device="cpu"))):
        unet = UNet2DConditionModel.from_config(config)
        text = text_constant("prompt", shape.text_tokens, shape.cross_attention_dim)
        return ConcatenatingDenoiser(unet, text)


class ConcatenatingDenoiser(nn.Module):
    """A U-Net that sees the image latent in its first convolution: beside the noisy one, or alone.

    Beside it is Marigold's way (arXiv 2312.02145), alone a feed-forward network's. Which of the two it is,
    the U-Net's input channels say: twice the latent's, or as many.

    Args:
        unet: the network.
        text: the stored text condition (1, tokens, width).

    Raises:
        SettingError: if the U-Net's input channels are neither.
    """

    text: Tensor

    def __init__(self, unet: UNet2DConditionModel, text: Tensor) -> None:
        super().__init__()
        ratio, rest = divmod(int(unet.config.in_channels), int(unet.config.out_channels))
        if rest or ratio not in (1, 2):
            raise SettingError(
                f"U-Net of {unet.config.in_channels} input channels: expected {unet.config.out_channels} "
                "(the image latent alone) or twice as many (noisy latent beside it)"
            )
        self.register_buffer("text", text)
        self.unet = unet
        self.sees_noisy_latent = ratio == 2

    def encode_condition(self, image_latent: Tensor, timestep: int | Tensor) -> Tensor:
        """The image latent itself."""
        return image_latent

    def encode_semantic(self, semantic: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Nothing: no semantics enter."""
        return ()

    def denoise(
        self,
        x_t: Tensor,
        timestep: int | Tensor,
        condition: Tensor,
        semantic_residuals: Sequence[Tensor] = (),
    ) -> Tensor:
        """Run the U-Net on the image latent `condition` (B, c, h, w), with or without `x_t` (B, c, h, w)."""
        sample = torch.cat([condition, x_t], dim=1) if self.sees_noisy_latent else condition
        text = self.text.to(condition.dtype).expand(condition.shape[0], -1, -1)
        prediction: Tensor = self.unet(sample, timestep, encoder_hidden_states=text, return_dict=False)[0]
        return prediction

    def predict(
        self, x_t: Tensor, timestep: int | Tensor, image_latent: Tensor, semantic: Tensor | None = None
    ) -> Tensor:
        """Run everything at once, with gradients, as training does; what the U-Net was trained to give."""
        return self.denoise(x_t, timestep, image_latent)
