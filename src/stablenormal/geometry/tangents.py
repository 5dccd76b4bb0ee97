"""Means of directions beside a reference direction, in the plane that touches the sphere there.

A sum of unit vectors has no direction where they point apart, and little of one where they nearly do. The
arcs from a common reference to each of them can always be added: two normals that point apart then meet
between them on the side of the reference.
"""

import torch
from torch import Tensor

_SMALLEST = 1e-12
"""Below it a vector has no direction."""


def arcs_to(reference: Tensor, normals: Tensor) -> Tensor:
    """The shortest arcs from one normal map to another.

    Args:
        reference: unit normals (3, H, W).
        normals: unit normals (3, H, W) in the same frame.

    Returns:
        Vectors (3, H, W) at right angles to the reference, as long as the arc in radians; zero where either
        is zero, or where the two are opposite, as no direction is then the shortest.
    """
    cosine = (reference * normals).sum(dim=0)
    across = normals - cosine * reference
    sine = across.square().sum(dim=0).clamp_(min=_SMALLEST**2).sqrt_()
    arc = across * (torch.atan2(sine, cosine) / sine)
    return torch.where(sine > 1e-6, arc, across)


def along_arcs(reference: Tensor, arcs: Tensor) -> Tensor:
    """Where arcs from a reference lead: the inverse of `arcs_to` for arcs shorter than half a circle.

    Args:
        reference: unit normals (3, H, W).
        arcs: vectors (3, H, W) at right angles to them, in radians.

    Returns:
        Unit normals (3, H, W).
    """
    angle = arcs.square().sum(dim=0).sqrt_()
    ends: Tensor = reference * torch.cos(angle) + arcs * torch.special.sinc(angle / torch.pi)
    return ends
