"""Fresh weights that are easy to train from nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from stablenormal.models.building import ModelComponents
from stablenormal.models.semantic_encoder import SemanticEncoder

_FIRST_LOGVAR = -5.0


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, new modules take their weights from the seed alone; the global random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def quieten(components: ModelComponents) -> None:
    """Make fresh weights easy to train from nothing, in place.

    Residual blocks begin as identities. The semantic encoder's positions begin as sines and cosines: fresh
    ones are 3 % of the patches' features, and not seen for thousands of steps. The autoencoder's posterior
    begins narrow: at its usual standard deviation of 1 the first steps learn little.
    """
    for part in components.parts().values():
        quieten_blocks(part)
    if components.spec.predicts_change:
        for denoiser in (components.yoso, components.refiner):  # they begin by changing nothing
            nn.init.zeros_(denoiser.unet.conv_out.weight)
            nn.init.zeros_(denoiser.unet.conv_out.bias)
    bias = components.autoencoder.quant_conv.bias
    with torch.no_grad():
        if isinstance(components.semantic_encoder, SemanticEncoder):
            quieten_semantic_encoder(components.semantic_encoder)
        bias[len(bias) // 2 :] = _FIRST_LOGVAR


def quieten_semantic_encoder(encoder: SemanticEncoder) -> None:
    """Let a fresh encoder's positions begin as sines and cosines, in place; see `quieten`."""
    with torch.no_grad():
        positions = encoder.network.embeddings.position_embeddings
        positions[:, 1:] = sine_positions(isqrt(positions.shape[1] - 1), positions.shape[2])


def quieten_blocks(network: nn.Module) -> None:
    """Make every residual block of a network begin as the identity, in place."""
    for module in network.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)


def sine_positions(grid: int, width: int) -> Tensor:
    """Sines and cosines of x and y, (grid^2, width), at wavelengths from 0.4 pictures up."""
    places = (torch.arange(grid) + 0.5) * 16 / grid
    y, x = (place.flatten()[:, None] for place in torch.meshgrid(places, places, indexing="ij"))
    frequencies = 10000 ** -(torch.arange(-(-width // 4)) * 4 / width)
    waves = [wave(axis * frequencies) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1)[:, :width]
