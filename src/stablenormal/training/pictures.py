"""Pictures of a validation: input, prediction and truth."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stablenormal.data.sample import CLASSES
from stablenormal.geometry.normals import encode_8bit

_GAP = 2
_LIGHTEST = 255


def grid(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Put pictures (3, H, W) uint8 of one size into rows and columns with white gaps, (3, H', W')."""
    return _join([_join(row, dim=2) for row in rows], dim=1)


def photograph_colours(image: Tensor) -> Tensor:
    """A photograph (3, H, W) in [-1, 1] as uint8."""
    return ((image.float().cpu().clamp(-1, 1) + 1) * (_LIGHTEST / 2)).round().to(torch.uint8)


def normal_colours(normals: Tensor) -> Tensor:
    """Normals (3, H, W) as uint8 colours, black where they are zero."""
    coded: Tensor = encode_8bit(normals.float().cpu()[None])[0]
    return coded


def class_colours(labels: Tensor) -> Tensor:
    """Class ids (H, W) as uint8 colours (3, H, W), black for class 0, white for unlabelled surfaces."""
    turns = torch.arange(len(CLASSES), dtype=torch.float32)[:, None] * torch.tensor(
        [0.381966, 0.618034, 0.236068]
    )
    palette = (80 + 175 * (turns % 1)).to(torch.uint8)
    palette[0] = 0
    palette = torch.cat([palette, torch.full((1, 3), _LIGHTEST, dtype=torch.uint8)])
    return palette[labels.cpu().clamp(max=len(CLASSES))].permute(2, 0, 1)


def feature_colours(features: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """Feature maps (C, h, w) as uint8 colours of one size: their common first three principal components."""
    rows = torch.cat([one.float().cpu().flatten(1).T for one in features])
    mean = rows.mean(0)
    _, _, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    directions = directions[:3].T
    projected = [
        torch.einsum("chw,ck->khw", one.float().cpu() - mean[:, None, None], directions) for one in features
    ]
    limit = torch.cat([one.flatten(1) for one in projected], dim=1).abs().quantile(0.98, dim=1)[:, None, None]
    return [
        torch.nn.functional.interpolate(
            ((one / limit.clamp(min=1e-9)).clamp(-1, 1)[None] + 1) * (_LIGHTEST / 2),
            size=size,
            mode="nearest",
        )[0].to(torch.uint8)
        for one in projected
    ]


def _join(pictures: Sequence[Tensor], dim: int) -> Tensor:
    shape = list(pictures[0].shape)
    shape[dim] = _GAP
    gap = torch.full(shape, _LIGHTEST, dtype=torch.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return torch.cat(parts[:-1], dim=dim)
