"""How much normals flicker: how much a surface's normal changes from frame to frame beyond its true change.

Which pixels of two frames show the same point, and how the camera turned, is known of rendered clips.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import ImageShapeError
from stablenormal.geometry.normals import angular_error_deg, unit_length, valid_mask
from stablenormal.geometry.posed import PosedCamera

SAME_DEPTH = 0.01
"""Two depths that differ by less, as a share, are those of one point."""


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Which point of the frame before each pixel of a frame shows."""

    source: Tensor
    """(H, W, 2): x and y in the frame before, in pixels, the first one's centre at 0.5."""
    valid: Tensor
    """(H, W) bool: whether the point is seen in both frames."""
    turn: Tensor
    """(3, 3): takes vectors of the frame before's camera to this one's."""


def correspondence(
    before: PosedCamera,
    depth_before: npt.NDArray[np.float32],
    after: PosedCamera,
    depth_after: npt.NDArray[np.float32],
) -> Correspondence:
    """The true one of two rendered frames of a scene in which nothing but the camera moves.

    Args:
        before: camera of the first frame.
        depth_before: (H, W), along the viewing axis, zero where there is nothing.
        after: camera of the second frame.
        depth_after: (H, W).

    Raises:
        ImageShapeError: if the depths are not of one size.
    """
    if depth_before.shape != depth_after.shape:
        raise ImageShapeError(f"depths of one size are needed, got {depth_before.shape}, {depth_after.shape}")
    height, width = depth_after.shape
    points = after.centre + after.directions() * depth_after[..., None]
    pixels, depth = before.project(points.reshape(-1, 3))
    source = np.nan_to_num(pixels, nan=-1.0).reshape(height, width, 2)
    column, row = (np.floor(source[..., axis]).astype(int) for axis in (0, 1))
    inside = (column >= 1) & (row >= 1) & (column < width - 1) & (row < height - 1)
    column, row = np.where(inside, column, 0), np.where(inside, row, 0)
    found = depth_before[row, column]
    near = np.abs(found - depth.reshape(height, width)) <= SAME_DEPTH * found
    valid = inside & (depth_after > 0) & (found > 0) & near
    turn = after.rotation.T @ before.rotation
    return Correspondence(
        torch.from_numpy(source.astype(np.float32)), torch.from_numpy(valid), torch.from_numpy(turn)
    )


def change_deg(before: Tensor, after: Tensor, same: Correspondence) -> Tensor:
    """Angle between a surface's normals in two frames, the camera's turning undone.

    Args:
        before: (3, H, W).
        after: (3, H, W).
        same: which pixels show the same point.

    Returns:
        (H, W) in degrees; 90 where a normal is missing.
    """
    height, width = same.valid.shape
    scale = torch.tensor([2 / width, 2 / height])
    sampled = functional.grid_sample(
        before.float()[None], (same.source * scale - 1)[None], mode="bilinear", align_corners=False
    )
    turned = torch.einsum("ij,bjhw->bihw", same.turn.float(), unit_length(sampled))
    return angular_error_deg(turned, after.float()[None])[0]


def flicker_deg(predicted: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor], same: Correspondence) -> float:
    """Mean change of predicted normals between two frames, beyond the true change, in degrees.

    Args:
        predicted: normals (3, H, W) of the frame before and this one.
        true: the true ones.
        same: which pixels show the same point.

    Returns:
        The mean over points that both frames show of max(0, predicted change - true change); NaN if there
        is none.
    """
    seen = same.valid & valid_mask(true[1])
    excess = change_deg(*predicted, same) - change_deg(*true, same)
    return float(excess.clamp(min=0)[seen].mean())
