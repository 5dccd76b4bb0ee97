"""FeatUp's feed-forward upsampler (arXiv 2403.10516): joint bilateral upsampling, guided by the image."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

RADIUS = 3
_PROJECTION = 32


class JointBilateralDoubling(nn.Module):
    """One doubling: bicubic, then an adaptive convolution whose kernel follows the image.

    The kernel over the (2 r + 1)^2 neighbours is a softmax over inner products of learned projections of the
    image (range term) times a Gaussian of the distance (spatial term), normalised to a sum of one.

    Args:
        projection: channels of the image's learned projection (FeatUp: 32).
        radius: of the neighbourhood in pixels (FeatUp: 3).
    """

    def __init__(self, projection: int = _PROJECTION, radius: int = RADIUS) -> None:
        super().__init__()
        self.radius = radius
        self.project = nn.Sequential(
            nn.Conv2d(3, projection, 1), nn.GELU(), nn.Conv2d(projection, projection, 1)
        )
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.log_width = nn.Parameter(torch.zeros(()))  # in pixels of the doubled map

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Double features (B, C, h, w) to (B, C, 2 h, 2 w), guided by an image (B, 3, H, W) of any size."""
        size = (2 * features.shape[2], 2 * features.shape[3])
        guidance = functional.interpolate(image, size=size, mode="bilinear", antialias=True)
        doubled = functional.interpolate(features, size=size, mode="bicubic", align_corners=False)
        return self._convolve(doubled, self.kernel(guidance))

    def kernel(self, guidance: Tensor) -> Tensor:
        """Weights ((2 r + 1)^2, B, 1, H, W) of each pixel's neighbours, summing to one, for (B, 3, H, W)."""
        projected = self.project(guidance)
        likeness = torch.stack(
            [(projected * moved).sum(1, keepdim=True) for moved in self._neighbours(projected)]
        )
        reach = torch.arange(-self.radius, self.radius + 1, device=guidance.device, dtype=guidance.dtype)
        squared = (reach[:, None] ** 2 + reach[None] ** 2).flatten().view(-1, 1, 1, 1, 1)
        spatial = -squared / (2 * (2 * self.log_width).exp())
        # A product of the two terms, normalised, is one softmax over the sum of their logarithms.
        return (likeness * self.log_temperature.exp() + spatial).softmax(0)

    def _convolve(self, features: Tensor, kernel: Tensor) -> Tensor:
        total = torch.zeros_like(features)
        for weight, moved in zip(kernel, self._neighbours(features), strict=True):
            total = total + weight * moved
        return total

    def _neighbours(self, values: Tensor) -> list[Tensor]:
        """Views of (B, C, H, W), each shifted by one offset; the border is repeated by reflection."""
        height, width = values.shape[2:]
        padded = _pad(values, self.radius)
        side = range(2 * self.radius + 1)
        return [padded[..., top : top + height, left : left + width] for top in side for left in side]


class FeatureUpsampler(nn.Module):
    """A stack of doublings and a small learned correction, which starts at zero.

    Args:
        channels: of the features.
        levels: doublings, each with weights of its own (FeatUp: 4).
    """

    def __init__(self, channels: int, levels: int = 1) -> None:
        super().__init__()
        self.config = {"channels": channels, "levels": levels}
        self.levels = nn.ModuleList(JointBilateralDoubling() for _ in range(levels))
        self.correction = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(cast(Tensor, self.correction.bias))

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Bring features (B, C, g, g) to 2^levels times their sides, guided by an image (B, 3, H, W)."""
        for level in self.levels:
            features = level(features, image)
        corrected: Tensor = features + self.correction(features)
        return corrected


def _pad(values: Tensor, radius: int) -> Tensor:
    """Reflect the border where the map is large enough, else repeat it."""
    mode = "reflect" if min(values.shape[2:]) > radius else "replicate"
    return functional.pad(values, (radius,) * 4, mode=mode)
