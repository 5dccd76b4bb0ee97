"""An encoder of photographs on pretrained features: a vision transformer's tokens beside a shallow stem."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.errors import ImageShapeError
from stablenormal.models.image_encoder import EncodedImage, places

REDUCTION = 8
"""Pixels of the side of a latent cell: the stem halves three times."""


class TokenImageEncoder(nn.Module):
    """Encodes photographs from a transformer's tokens, which say what is there, and a stem, which says where.

    The tokens come from several layers of the semantic encoder, one for each patch of 14 pixels; the stem
    sees every pixel. Beside its colour each pixel's place enters the stem, -1 to 1 along the longer side.

    Args:
        latent_channels: channels of the image latent, as many as En gives.
        condition_channels: channels of what f eats.
        token_channels: width of the semantic encoder.
        layers: numbers, from 1, of its layers that are given.
        token_width: channels of the blocks on the tokens' grid.
        stem_channels: channels of the stem at 1/2, 1/4 and 1/8 of the image's size.
        guide_channels: channels of De's features at 1/2, 1/4 and 1/8.
        norm_num_groups: groups of each group normalisation.
    """

    def __init__(
        self,
        latent_channels: int,
        condition_channels: int,
        token_channels: int,
        layers: Sequence[int],
        token_width: int,
        stem_channels: Sequence[int],
        guide_channels: Sequence[int],
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "condition_channels": condition_channels,
            "token_channels": token_channels,
            "layers": list(layers),
            "token_width": token_width,
            "stem_channels": list(stem_channels),
            "guide_channels": list(guide_channels),
            "norm_num_groups": norm_num_groups,
        }
        self.layers = tuple(layers)
        groups = norm_num_groups
        half, quarter, eighth = stem_channels
        self.stem2 = nn.Sequential(nn.Conv2d(5, half, 3, 2, 1), _Block(half, half, groups))
        self.stem4 = nn.Sequential(nn.Conv2d(half, quarter, 3, 2, 1), _Block(quarter, quarter, groups))
        self.stem8 = nn.Sequential(nn.Conv2d(quarter, eighth, 3, 2, 1), _Block(eighth, eighth, groups))
        self.projections = nn.ModuleList(nn.Conv2d(token_channels, token_width // 2, 1) for _ in layers)
        self.tokens = nn.Sequential(
            nn.Conv2d(len(layers) * (token_width // 2), token_width, 1),
            _Block(token_width, token_width, groups),
            _Block(token_width, token_width, groups),
        )
        self.fused = _Block(token_width + eighth, condition_channels, groups)
        self.latent = nn.Conv2d(condition_channels, latent_channels, 1)
        self.guides = nn.ModuleList(
            nn.Conv2d(given, wanted, 1)
            for given, wanted in zip((half, quarter, condition_channels), guide_channels, strict=True)
        )
        for guide in self.guides.parameters():  # De begins as it was without them
            nn.init.zeros_(guide)

    def forward(self, image: Tensor, tokens: Sequence[Tensor]) -> EncodedImage:
        """Encode photographs.

        Args:
            image: (B, 3, H, W) in [-1, 1], sides that 8 divides.
            tokens: features (B, token_channels, g, k) of each of the semantic encoder's layers.

        Raises:
            ImageShapeError: if there are no three channels, sides that 8 does not divide, or another number
                of layers.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % REDUCTION or image.shape[3] % REDUCTION:
            raise ImageShapeError(
                f"expected an image (B, 3, H, W) with sides that {REDUCTION} divides, got "
                f"{tuple(image.shape)}; pad it first"
            )
        if len(tokens) != len(self.projections):
            raise ImageShapeError(f"expected tokens of {len(self.projections)} layers, got {len(tokens)}")
        return self.encode(torch.cat([image, places(image)], dim=1), tokens)

    def encode(self, pixels: Tensor, tokens: Sequence[Tensor]) -> EncodedImage:
        """As `forward`, for pixels (B, 5, H, W) that know their places: a window of a photograph, say."""
        half = self.stem2(pixels)
        quarter = self.stem4(half)
        eighth = self.stem8(quarter)
        known = [project(one) for project, one in zip(self.projections, tokens, strict=True)]
        semantic = self.tokens(torch.cat(known, dim=1))
        semantic = functional.interpolate(
            semantic, size=eighth.shape[2:], mode="bilinear", align_corners=False
        )
        condition = self.fused(torch.cat([semantic, eighth], dim=1))
        seen = zip(self.guides, (half, quarter, condition), strict=True)
        return EncodedImage(self.latent(condition), condition, tuple(guide(one) for guide, one in seen))


class _Block(nn.Module):
    """Two convolutions with a shortcut, normalised before each."""

    def __init__(self, given: int, wanted: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, given), nn.Conv2d(given, wanted, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, wanted), nn.Conv2d(wanted, wanted, 3, padding=1)
        self.shortcut = nn.Conv2d(given, wanted, 1) if given != wanted else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(hidden)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        result: Tensor = self.shortcut(hidden) + inner
        return result
