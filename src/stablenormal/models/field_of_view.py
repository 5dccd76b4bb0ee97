"""The field of view of a photograph, estimated from a transformer's features of it."""

import math

import torch
from torch import Tensor, nn

from stablenormal.models.semantic_encoder import SemanticEncoder

SEEN_SIDE = 224
"""Pixels of the longer side at which the transformer sees a photograph for this."""
_FIRST_FOCAL = 1.0
"""Focal length over the longer side that fresh weights give: 53 degrees."""


class FieldOfViewHead(nn.Module):
    """Gives the focal length of a pinhole camera whose axis goes through the middle of the picture.

    Of each feature it takes the mean, the deviation, and how much it grows to the right and down: perspective
    shows in what changes across a picture.

    Args:
        channels: of the features.
        width: of the hidden layer.
    """

    def __init__(self, channels: int, width: int = 192) -> None:
        super().__init__()
        self.config = {"channels": channels, "width": width}
        self.network = nn.Sequential(
            nn.LayerNorm(4 * channels), nn.Linear(4 * channels, width), nn.GELU(), nn.Linear(width, 1)
        )
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(_FIRST_FOCAL))

    def forward(self, features: Tensor) -> Tensor:
        """Logarithms (B,) of focal length over the picture's longer side, of features (B, C, g, k)."""
        right, down = (_ramp(features, axis) for axis in (3, 2))
        pooled = [
            features.mean((2, 3)),
            features.flatten(2).std(2),
            (features * right).mean((2, 3)),
            (features * down).mean((2, 3)),
        ]
        logarithm: Tensor = self.network(torch.cat(pooled, dim=1))[:, 0]
        return logarithm


def seen_features(transformer: SemanticEncoder, image: Tensor) -> Tensor:
    """What the head takes: features (B, C, g, k) of photographs (B, 3, H, W) in [-1, 1]."""
    return transformer.layers(image, (), SEEN_SIDE)[1]


def horizontal_fov_deg(focal: float, width: int, height: int) -> float:
    """Horizontal field of view in degrees, from the focal length over the longer side."""
    return math.degrees(2 * math.atan(width / max(width, height) / focal / 2))


def _ramp(features: Tensor, axis: int) -> Tensor:
    """Numbers from -1 to 1 along an axis, which others of the four broadcast against."""
    count = features.shape[axis]
    shape = [1, 1, 1, 1]
    shape[axis] = count
    places = (2 * torch.arange(count, device=features.device) + 1 - count) / count
    return places.to(features.dtype).view(shape)
