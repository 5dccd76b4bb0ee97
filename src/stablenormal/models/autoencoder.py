"""The autoencoder En and De: images and normal maps to latents, and back."""

from diffusers import AutoencoderKL
from torch import Tensor

from stablenormal.errors import ImageShapeError


def reduction(autoencoder: AutoencoderKL) -> int:
    """How many pixels the side of one latent pixel covers (8 for SD 2.1)."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


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
    mode: Tensor = autoencoder.encode(image).latent_dist.mode()
    return mode * float(autoencoder.config.scaling_factor)


def decode(autoencoder: AutoencoderKL, latent: Tensor) -> Tensor:
    """Decode a latent (B, c, h, w) to (B, 3, 8 h, 8 w), about in [-1, 1] and not of unit length."""
    decoded: Tensor = autoencoder.decode(latent / float(autoencoder.config.scaling_factor)).sample
    return decoded
