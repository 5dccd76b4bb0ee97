"""The semantic-injection network g, in the paper's form and in the released one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

GAUSSIAN_STD = 0.02


def align(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a feature map (B, C, g, g) to the latent's height and width, bilinearly."""
    return functional.interpolate(features, size=size, mode="bilinear", align_corners=False)


class InputInjector(nn.Module):
    """The paper's form: convolutions on aligned features, added to the noisy latent's features.

    Args:
        semantic_channels: channels of the semantic features.
        hidden_channels: channels of each convolution (paper: 16, 32, 64, 128).
        out_channels: channels of the denoiser's first features; the projection to them starts at zero.
    """

    def __init__(self, semantic_channels: int, hidden_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.config = {
            "semantic_channels": semantic_channels,
            "hidden_channels": list(hidden_channels),
            "out_channels": out_channels,
        }
        channels = (semantic_channels, *hidden_channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels))
        self.projection = nn.Conv2d(channels[-1], out_channels, 1)
        _initialise_gaussian(self.convolutions)
        _initialise_zero(self.projection)

    def forward(self, semantic: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Turn features (B, C, g, g) into one residual (B, out, *size), for the first stage alone."""
        hidden = align(semantic, size)
        for convolution in self.convolutions:
            hidden = functional.silu(convolution(hidden))
        return (self.projection(hidden),)


class StageInjector(nn.Module):
    """The released form: a chain of levels whose outputs enter every stage of the denoiser's encoder.

    Args:
        semantic_channels: channels of the semantic features.
        hidden_channels: channels of the embedding's convolutions before the last one.
        stages: channels and stride of each encoder stage, from `unet_stages.stage_channels`.
        zero_projections: end each residual in a 1 x 1 convolution that starts at zero, as training from
            scratch needs; without, the levels' raw outputs are added, as released.
    """

    def __init__(
        self,
        semantic_channels: int,
        hidden_channels: Sequence[int],
        stages: Sequence[tuple[int, int]],
        zero_projections: bool,
    ) -> None:
        super().__init__()
        self.config = {
            "semantic_channels": semantic_channels,
            "hidden_channels": list(hidden_channels),
            "stages": [list(stage) for stage in stages],
            "zero_projections": zero_projections,
        }
        channels = (semantic_channels, *hidden_channels, stages[0][0])
        layers: list[nn.Module] = []
        for a, b in pairwise(channels):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.SiLU()]
        self.dino_controlnet_cond_embedding = nn.Sequential(*layers[:-1])
        inputs = (stages[0][0], *(width for width, _ in stages[:-1]))
        self.levels = nn.ModuleList(
            nn.Conv2d(a, b, 1) if stride == 1 else nn.Conv2d(a, b, 3, stride=stride, padding=1)
            for a, (b, stride) in zip(inputs, stages, strict=True)
        )
        self.projections = nn.ModuleList(nn.Conv2d(b, b, 1) for b, _ in stages) if zero_projections else None
        _initialise_gaussian(self.dino_controlnet_cond_embedding)
        if self.projections is not None:
            for projection in self.projections:
                _initialise_zero(cast(nn.Conv2d, projection))

    def forward(self, semantic: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Turn features (B, C, g, g) into one residual for each encoder stage of a latent of `size`."""
        hidden = align(self.dino_controlnet_cond_embedding(semantic), size)
        residuals = []
        for level in self.levels:
            hidden = level(hidden)
            residuals.append(hidden)
        if self.projections is None:
            return tuple(residuals)
        return tuple(project(hidden) for project, hidden in zip(self.projections, residuals, strict=True))


def _initialise_gaussian(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=GAUSSIAN_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _initialise_zero(convolution: nn.Conv2d) -> None:
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
