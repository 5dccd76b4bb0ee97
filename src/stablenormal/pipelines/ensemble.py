"""Averages of normal maps on the sphere."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stablenormal.geometry.normals import angular_error_deg, unit_length


def average_normals(members: Sequence[Tensor]) -> Tensor:
    """The mean direction of unit normals, each member (B, 3, H, W); opposite members give the zero vector."""
    return unit_length(torch.stack([unit_length(member) for member in members]).mean(dim=0))


def closest_to_mean(members: Sequence[Tensor]) -> Tensor:
    """At each pixel the member nearest to the mean direction, (B, 3, H, W).

    Marigold's choice for normals (arXiv 2505.09358): unlike the mean itself it does not blur edges on which
    the members disagree.
    """
    stacked = torch.stack([unit_length(member) for member in members])  # (K, B, 3, H, W)
    agreement = (stacked * average_normals(members)).sum(dim=2, keepdim=True)  # (K, B, 1, H, W)
    best = agreement.argmax(dim=0, keepdim=True).expand(-1, -1, 3, -1, -1)
    return stacked.gather(0, best)[0]


def spread_deg(members: Sequence[Tensor], mean: Tensor) -> Tensor:
    """Mean angle (B, H, W) in degrees between the members and their mean direction."""
    return torch.stack([angular_error_deg(member, mean) for member in members]).mean(dim=0)
