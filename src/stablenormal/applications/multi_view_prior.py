"""The loss that holds a rendered surface to the normals of a normal estimator.

Source: StableNormal (arXiv 2406.16864), application to 2D Gaussian splatting: lambda * mean of
(1 - cos(prior, rendered normal)) + (1 - cos(prior, normal of the rendered depth)), inside the mask.
"""

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.normals import unit_length

PAPER_WEIGHT = 0.05
"""Lambda."""


def normal_prior_loss(
    prior: Tensor,
    rendered: Tensor,
    depth_normals: Tensor | None = None,
    weights: Tensor | None = None,
    weight: float = PAPER_WEIGHT,
) -> Tensor:
    """Both terms of the prior loss.

    Args:
        prior: normals (B, 3, H, W), any length; zero vectors are unknown and count nothing.
        rendered: the surface's normals by volume rendering or splatting, (B, 3, H, W), any length, in the
            same frame as the prior. A zero vector where the prior is known costs 1.
        depth_normals: normals of the rendered depth, as `rendered`; None leaves the second term out.
        weights: (B, H, W), not negative: a mask, or a confidence; None is 1 everywhere.
        weight: lambda, not negative.

    Returns:
        Scalar in [0, 4 weight]: a weighted mean over pixels whose prior is known; 0 if there are none. It
        does not change if all maps are turned by one rotation or `weights` is scaled.

    Raises:
        ImageShapeError: if shapes do not fit together.
        SettingError: if `weight` is negative.
    """
    _check(prior, rendered, depth_normals, weights)
    if weight < 0:
        raise SettingError(f"weight = {weight} would push normals away from the prior; choose 0 or more")
    target = unit_length(prior)
    known = (torch.linalg.vector_norm(prior, dim=1) > 0).to(prior.dtype)  # (B, H, W)
    shares = known if weights is None else known * weights.to(prior.dtype)
    cost = 1 - (target * unit_length(rendered)).sum(dim=1)
    if depth_normals is not None:
        cost = cost + 1 - (target * unit_length(depth_normals)).sum(dim=1)
    total = shares.sum()
    mean: Tensor = (shares * cost).sum() / torch.where(total > 0, total, torch.ones_like(total))
    return weight * mean


def _check(prior: Tensor, rendered: Tensor, depth_normals: Tensor | None, weights: Tensor | None) -> None:
    maps = {"rendered": rendered, "depth_normals": depth_normals}
    for name, value in maps.items():
        if value is not None and value.shape != prior.shape:
            raise ImageShapeError(
                f"{name}: expected {tuple(prior.shape)} as the prior, got {tuple(value.shape)}; resize first"
            )
    expected = (prior.shape[0], *prior.shape[2:])
    if weights is not None and weights.shape != expected:
        raise ImageShapeError(f"weights: expected {tuple(expected)}, got {tuple(weights.shape)}")
