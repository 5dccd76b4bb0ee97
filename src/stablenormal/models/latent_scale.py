"""Latents in other units: what a model computes stays, and noise meets latents of unit variance again."""

import torch
from torch import nn

from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.token_image_encoder import TokenImageEncoder


def scale_latents(components: ModelComponents, factor: float) -> None:
    """Multiply a model's latents by a factor, in place; maps that it gives without noise stay as they are.

    A one-step network that is trained through the decoder chooses the size of its latents itself, and the
    noise of a schedule is meant for unit variance. Scaled are the autoencoder's latents, the image encoder's,
    and what both denoisers read and write.

    Args:
        components: a model whose photographs are encoded from tokens.
        factor: positive.

    Raises:
        SettingError: if photographs are encoded otherwise (by En, f would read other latents too), or a
            denoiser is not one of ours.
    """
    encoder = components.image_encoder
    denoisers = [one for one in (components.yoso, components.refiner) if isinstance(one, GuidedDenoiser)]
    if not isinstance(encoder, TokenImageEncoder) or len(denoisers) != 2:
        raise SettingError("latents can be scaled in models that encode photographs from tokens alone")
    config = components.autoencoder.config
    components.autoencoder.register_to_config(scaling_factor=float(config.scaling_factor) * factor)
    written: list[nn.Module] = [encoder.latent, *(one.unet.conv_out for one in denoisers)]
    with torch.no_grad():
        for convolution in written:
            for parameter in convolution.parameters():
                parameter.mul_(factor)
        for denoiser in denoisers:
            denoiser.unet.conv_in.weight.div_(factor)
