"""The losses that a reconstruction minimises."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stablenormal.applications.mesh_reconstruction.node_grid import bends
from stablenormal.applications.mesh_reconstruction.rendering import Field, Rendered
from stablenormal.applications.mesh_reconstruction.settings import ReconstructionSettings
from stablenormal.applications.mesh_reconstruction.views import OPAQUE, RayTable
from stablenormal.applications.multi_view_prior import normal_prior_loss

STEEPEST = 6.0
"""A patch whose depth changes by more than this times its width spans a jump, or is seen too flat."""


@dataclass(frozen=True, eq=False)
class Losses:
    """Scalars, not yet weighted but for the prior's lambda."""

    colour: Tensor
    mask: Tensor
    eikonal: Tensor
    smooth: Tensor
    normal: Tensor

    def total(self, settings: ReconstructionSettings) -> Tensor:
        """The weighted sum."""
        return (
            settings.colour_weight * self.colour
            + settings.mask_weight * self.mask
            + settings.eikonal_weight * self.eikonal
            + settings.smooth_weight * self.smooth
            + self.normal
        )


def losses(
    field: Field, rendered: Rendered, rays: RayTable, pixels: Tensor, settings: ReconstructionSettings
) -> Losses:
    """All terms for patches of pixels (A, 4) whose rays were rendered in that order."""
    flat = pixels.reshape(-1)
    mask = rays.mask[flat]
    opaque = (mask > OPAQUE).to(mask.dtype)
    difference = (rendered.rgb - rays.rgb[flat]).abs().mean(dim=1)
    seen = opaque * rendered.opacity.detach()
    opacity = rendered.opacity.clamp(1e-4, 1 - 1e-4)
    lengths = (field.slopes.square().sum(dim=1) + 1e-12).sqrt()
    zero = difference.new_zeros(())
    return Losses(
        colour=(seen * difference).sum() / opaque.sum().clamp(min=1),
        mask=F.binary_cross_entropy(opacity, mask),
        eikonal=(lengths - 1).square().mean(),
        smooth=bends(field.grid, field.distances[:, 0], field.around).square().mean(),
        normal=_normal_loss(rendered, rays, pixels, settings) if settings.normal_weight else zero,
    )


def depth_normals(points: Tensor) -> Tensor:
    """Normals of patches, toward the camera: the cross product of the diagonals.

    Args:
        points: (A, 4, 3): upper left, upper right, lower left, lower right pixel's point in space.

    Returns:
        (A, 3), not unit length.
    """
    across: Tensor = torch.linalg.cross(points[:, 3] - points[:, 0], points[:, 1] - points[:, 2])
    return across


def _normal_loss(
    rendered: Rendered, rays: RayTable, pixels: Tensor, settings: ReconstructionSettings
) -> Tensor:
    """The prior loss: first term over pixels, second over patches, each with its own mean."""
    flat = pixels.reshape(-1)
    prior = rays.normals[flat]
    weights = rays.confidence[flat] * (rays.mask[flat] > OPAQUE) * (rendered.opacity.detach() > 0.5)
    first = normal_prior_loss(
        _as_map(prior), _as_map(rendered.normals), None, weights[None, :, None], settings.normal_weight
    )
    origins = rays.origins[rays.view[flat]]
    points = (origins + rendered.distance[:, None] * rays.directions[flat]).view(-1, 4, 3)
    patch_prior = prior.view(-1, 4, 3).sum(dim=1)
    smooth = _without_jump(points, rays.directions[pixels]) & (weights.view(-1, 4) > 0).all(dim=1)
    patch_weights = weights.view(-1, 4).mean(dim=1) * smooth
    second = normal_prior_loss(
        _as_map(patch_prior),
        _as_map(depth_normals(points)),
        None,
        patch_weights[None, :, None],
        settings.normal_weight,
    )
    both: Tensor = first + second
    return both


def _without_jump(points: Tensor, directions: Tensor) -> Tensor:
    """Whether the four points of each patch lie on one surface, (A,)."""
    with torch.no_grad():
        axis = F.normalize(directions.mean(dim=1, keepdim=True), dim=2)  # (A, 1, 3)
        offsets = points - points.mean(dim=1, keepdim=True)
        along = (offsets * axis).sum(dim=2, keepdim=True)
        width = (offsets - along * axis).norm(dim=2).amax(dim=1)
        fits: Tensor = along[..., 0].abs().amax(dim=1) < STEEPEST * width
        return fits


def _as_map(vectors: Tensor) -> Tensor:
    """(N, 3) as a map (1, 3, N, 1)."""
    return vectors.T[None, :, :, None]
