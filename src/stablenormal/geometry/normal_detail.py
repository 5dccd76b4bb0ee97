"""The fine detail of a normal prior on the broad shape of a surface.

Estimators see creases and bumps well, but are tens of degrees off over whole sides of an object, mostly too
flat, and differently in each view. The broad shape of the surface that photographs and masks have formed so
far is right. So both maps are blurred, and each normal of the prior is turned by the rotation that takes the
blurred prior to the blurred surface.
"""

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.geometry.coarse_normals import blur_normals
from stablenormal.geometry.normals import valid_mask

_OPPOSITE = -0.5
"""Cosine between the two blurred maps below which the prior is left out."""


def detail_on(prior: Tensor, surface: Tensor, sigma_px: float) -> Tensor:
    """The detail of the prior on the broad shape of the surface.

    Args:
        prior: normals (3, H, W), unit length or zero where unknown.
        surface: normals (3, H, W) of the surface so far, in the same frame; zero where there is none.
        sigma_px: width of the Gaussian that separates detail from shape, in pixels; above 0.

    Returns:
        (3, H, W), unit length; zero where either map is zero, or where the blurred maps point apart.

    Raises:
        ImageShapeError: if the maps have different sizes.
        SettingError: if `sigma_px` is not positive.
    """
    if prior.shape != surface.shape:
        raise ImageShapeError(
            f"surface: expected {tuple(prior.shape)} as the prior, got {tuple(surface.shape)}; resize first"
        )
    both = valid_mask(prior) & valid_mask(surface)
    start, end = (blur_normals(torch.where(both, one, 0.0), sigma_px) for one in (prior, surface))
    cosine = (start * end).sum(dim=0)
    axis = torch.linalg.cross(start, end, dim=0)  # its length is the sine
    # Rodrigues' formula for the smallest turn from start to end.
    across = torch.linalg.cross(axis, prior, dim=0)
    along = (axis * prior).sum(dim=0) / (1 + cosine).clamp(min=1e-6)
    turned = prior * cosine + across + axis * along
    return torch.where(both & (cosine > _OPPOSITE), turned, 0.0)
