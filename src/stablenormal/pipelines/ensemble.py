"""Averages of normal maps on the sphere."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stablenormal.geometry.normals import angular_error_deg, unit_length


def average_normals(members: Sequence[Tensor]) -> Tensor:
    """The mean direction of unit normals, each member (B, 3, H, W); opposite members give the zero vector."""
    return unit_length(torch.stack([unit_length(member) for member in members]).mean(dim=0))


def spread_deg(members: Sequence[Tensor], mean: Tensor) -> Tensor:
    """Mean angle (B, H, W) in degrees between the members and their mean direction."""
    return torch.stack([angular_error_deg(member, mean) for member in members]).mean(dim=0)
