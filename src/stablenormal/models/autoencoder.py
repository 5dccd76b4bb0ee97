"""The autoencoder En and De: images and normal maps to latents, and back."""

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.errors import ImageShapeError
from stablenormal.models.library import AutoencoderKL, DiagonalGaussianDistribution

_CELLS_AT_ONCE = 512 * 512
"""Cells of the finest level that a pass may have: a batch of larger images goes through one by one, so that
memory does not grow with it. Rows of an image cannot be split: group norms average over all of them."""


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
    if torch.is_grad_enabled():
        mode: Tensor = posterior(autoencoder, image).mode()
    else:
        mode = torch.cat(
            [posterior(autoencoder, image[one]).mode() for one in _slices(autoencoder, image, 1)]
        )
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
    decoder = autoencoder.decoder
    if guides and len(guides) != len(decoder.up_blocks):
        raise ImageShapeError(f"got {len(guides)} guides for {len(decoder.up_blocks)} decoder levels")
    latent = latent / float(autoencoder.config.scaling_factor)
    if torch.is_grad_enabled():
        decoded = _decode(autoencoder, latent, guides)
    else:
        slices = _slices(autoencoder, latent, reduction(autoencoder))
        parts = [_decode(autoencoder, latent[one], [guide[one] for guide in guides]) for one in slices]
        decoded = torch.cat(parts) if len(parts) > 1 else parts[0]
    return functional.pixel_shuffle(decoded, patch_size(autoencoder))


def _decode(autoencoder: AutoencoderKL, latent: Tensor, guides: Sequence[Tensor]) -> Tensor:
    """Run De on an unscaled latent (B, c, h, w), to blocks of pixels as channels."""
    if torch.is_grad_enabled() and not guides:
        trained: Tensor = autoencoder.decode(latent).sample  # which knows gradient checkpointing
        return trained
    decoder = autoencoder.decoder
    mixed = latent if autoencoder.post_quant_conv is None else autoencoder.post_quant_conv(latent)
    hidden = decoder.mid_block(decoder.conv_in(mixed))
    given: Sequence[Tensor | None] = guides or [None] * len(decoder.up_blocks)
    for block, guide in zip(decoder.up_blocks, reversed(given), strict=True):
        hidden = _run_level(block, hidden if guide is None else hidden + guide)
    decoded: Tensor = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(hidden)))
    return decoded


def _run_level(block: Any, hidden: Tensor) -> Tensor:
    """A level of De; without gradients, its upsampling in four phases."""
    if torch.is_grad_enabled() or hasattr(block, "attentions"):
        whole: Tensor = block(hidden)
        return whole
    for resnet in block.resnets:
        hidden = resnet(hidden, temb=None)
    for upsampler in block.upsamplers or ():
        hidden = upsample(upsampler.conv, hidden)
    return hidden


def upsample(convolution: nn.Conv2d, hidden: Tensor) -> Tensor:
    """Repeat every cell twice in each direction and convolve 3 x 3, in 4/9 of the multiplications.

    Of the three rows that a kernel sees after the repetition two are the same, so that each of the four
    phases of the result is a convolution 2 x 2, with sums of the kernel's weights, of what comes in.

    Args:
        convolution: 3 x 3, padded by one with zeros.
        hidden: (B, C, h, w).

    Returns:
        (B, D, 2 h, 2 w); equal but for rounding.
    """
    height, width = hidden.shape[2:]
    by_row = _phases(convolution.weight.float(), 2)
    padded = functional.pad(hidden, (1, 1, 1, 1))
    format = (
        torch.channels_last
        if hidden.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format
    )
    result = hidden.new_empty(
        (len(hidden), convolution.out_channels, 2 * height, 2 * width)
    ).contiguous(memory_format=format)  # fmt: skip
    for down, rows in enumerate(by_row):
        for right, weight in enumerate(_phases(rows, 3)):
            seen = padded[:, :, down : down + height + 1, right : right + width + 1]
            result[:, :, down::2, right::2] = functional.conv2d(
                seen, weight.to(hidden.dtype), convolution.bias
            )
    return result


def _phases(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Kernels of 2 cells for the even and the odd cells of a repeated axis, from one of 3."""
    first, second, third = weight.unbind(axis)
    return torch.stack([first, second + third], axis), torch.stack([first + second, third], axis)


def _slices(autoencoder: AutoencoderKL, maps: Tensor, cell: int) -> Iterator[slice]:
    """Parts of a batch that go through together; a cell of the maps covers `cell` x `cell` pixels."""
    height, width = (side * cell for side in maps.shape[2:])
    count = slice_length(autoencoder, height, width)
    return (slice(first, first + count) for first in range(0, len(maps), count))


def patch_size(autoencoder: AutoencoderKL) -> int:
    """Side of the pixel blocks that enter as channels: 1 in Stable Diffusion, 4 for 48 input channels."""
    return isqrt(int(autoencoder.config.in_channels) // 3)


def slice_length(autoencoder: AutoencoderKL, height: int, width: int) -> int:
    """How many images of height x width pixels go through together."""
    return max(1, _CELLS_AT_ONCE * patch_size(autoencoder) ** 2 // (height * width))
