"""Normals as an IMAGE of ComfyUI: (B, H, W, 3), colours (n + 1) / 2, black where there is none."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.geometry.normals import convert_frame, unit_length, valid_mask

BLACK = 0.5 / 255
"""Colours up to this, on all channels, are pixels without a normal."""
NO_DIRECTION = 0.1
"""Vectors shorter than this are none: middle grey, as other programs paint it."""


def to_colours(normals: Sequence[Tensor], frame: str) -> Tensor:
    """Normal maps of one size as one IMAGE.

    Args:
        normals: (3, H, W) each, unit length or zero, OpenGL camera.
        frame: of the colours.

    Returns:
        (B, H, W, 3) float32 on the CPU.
    """
    maps = convert_frame(torch.stack(list(normals)).float().cpu(), "opengl", frame)  # (B, 3, H, W)
    colours = torch.where(valid_mask(maps)[:, None], (maps + 1) / 2, 0.0)
    return colours.permute(0, 2, 3, 1).contiguous()


def from_colours(image: Tensor, frame: str) -> Tensor:
    """Normals of an IMAGE (B, H, W, 3 or 4), with whatever rounding it went through.

    Args:
        image: colours.
        frame: of the colours.

    Returns:
        (B, 3, H, W) float32, unit length, zero where there is no normal, OpenGL camera.

    Raises:
        ImageShapeError: if the IMAGE has another shape.
    """
    if image.ndim != 4 or image.shape[-1] not in (3, 4):
        raise ImageShapeError(f"normals: expected an IMAGE (B, H, W, 3), got {tuple(image.shape)}")
    colours = image[..., :3].float().permute(0, 3, 1, 2)  # (B, 3, H, W)
    vectors = colours * 2 - 1
    black = (colours <= BLACK).all(dim=1, keepdim=True)
    unclear = torch.linalg.vector_norm(vectors, dim=1, keepdim=True) < NO_DIRECTION
    return convert_frame(unit_length(vectors.masked_fill(black | unclear, 0.0)), frame, "opengl")
