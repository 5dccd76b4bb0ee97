"""A ball in front of a pinhole camera, whose depth and normals are known in closed form."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stablenormal.geometry.camera import Intrinsics, rays

Sphere = Callable[..., tuple[Tensor, Tensor]]


def _sphere(
    intrinsics: Intrinsics, centre: tuple[float, float, float] = (0.3, 0.2, -3.0), radius: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Depth (1, 1, H, W) and unit normals (1, 3, H, W), OpenGL camera, float64; both zero beside the ball."""
    directions = rays(intrinsics, dtype=torch.float64)
    middle = torch.tensor(centre, dtype=torch.float64)[None, :, None, None]
    a = (directions**2).sum(1, keepdim=True)
    b = (directions * middle).sum(1, keepdim=True)
    discriminant = b * b - a * ((middle**2).sum() - radius**2)
    hit = discriminant > 0
    depth = torch.where(hit, (b - discriminant.clamp(min=0).sqrt()) / a, 0.0)
    normals = torch.where(hit, (directions * depth - middle) / radius, 0.0)
    return depth, normals


@pytest.fixture
def sphere() -> Sphere:
    return _sphere
