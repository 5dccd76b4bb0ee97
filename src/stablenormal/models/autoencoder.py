"""The autoencoder En and De: images and normal maps to latents, and back."""

from collections.abc import Sequence
from math import isqrt

from torch import Tensor
from torch.nn import functional

from stablenormal.errors import ImageShapeError
from stablenormal.models.library import AutoencoderKL, DiagonalGaussianDistribution


def reduction(autoencoder: AutoencoderKL) -> int:
    """How many pixels the side of one latent pixel covers (8 for SD 2.1)."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1)) * patch_size(autoencoder)


def encode(autoencoder: AutoencoderKL, image: Tensor) -> Tensor:
    """Encode an image or a normal map: the posterior's mode times the scaling factor.

    Args:
        autoencoder: any diffusers `AutoencoderKL`.
        image: (B, 3, H, W) in [-1, 1]; H and W are multiples of `reduction(autoencoder)`.

    Returns:
        The latent (B, c, H / 8, W / 8).

    Raises:
        ImageShapeError: if the image has no three channels, or sides that do not divide.
    """
    side = reduction(autoencoder)
    if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % side or image.shape[3] % side:
        raise ImageShapeError(
            f"expected an image (B, 3, H, W) with sides that {side} divides, got {tuple(image.shape)}; "
            "pad it first"
        )
    mode: Tensor = posterior(autoencoder, image).mode()
    return mode * float(autoencoder.config.scaling_factor)


def posterior(autoencoder: AutoencoderKL, image: Tensor) -> DiagonalGaussianDistribution:
    """The distribution of unscaled latents (B, c, H / 8, W / 8) for an image (B, 3, H, W), as in training."""
    return autoencoder.encode(functional.pixel_unshuffle(image, patch_size(autoencoder))).latent_dist


def decode(autoencoder: AutoencoderKL, latent: Tensor, guides: Sequence[Tensor] = ()) -> Tensor:
    """Decode a latent (B, c, h, w) to (B, 3, 8 h, 8 w), about in [-1, 1] and not of unit length.

    Args:
        autoencoder: any diffusers `AutoencoderKL`.
        latent: what `encode` gives, or what a denoiser predicts.
        guides: features of the photograph, finest first, which are added to what enters each of the decoder's
            levels, so that edges of the normals fall on edges of the photograph; or nothing.

    Raises:
        ImageShapeError: if there are guides, and not one for each level.
    """
    latent = latent / float(autoencoder.config.scaling_factor)
    if not guides:
        decoded = autoencoder.decode(latent).sample
    else:
        decoder = autoencoder.decoder
        if len(guides) != len(decoder.up_blocks):
            raise ImageShapeError(f"got {len(guides)} guides for {len(decoder.up_blocks)} decoder levels")
        mixed = latent if autoencoder.post_quant_conv is None else autoencoder.post_quant_conv(latent)
        hidden = decoder.mid_block(decoder.conv_in(mixed))
        for block, guide in zip(decoder.up_blocks, reversed(guides), strict=True):
            hidden = block(hidden + guide)
        decoded = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(hidden)))
    return functional.pixel_shuffle(decoded, patch_size(autoencoder))


def patch_size(autoencoder: AutoencoderKL) -> int:
    """Side of the pixel blocks that enter as channels: 1 in Stable Diffusion, 4 for 48 input channels."""
    return isqrt(int(autoencoder.config.in_channels) // 3)
