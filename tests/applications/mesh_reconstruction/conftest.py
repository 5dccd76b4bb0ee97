"""A ball seen from all around: photographs, masks and normals in closed form."""

from collections.abc import Callable

import numpy as np
import pytest

from stablenormal.applications.mesh_reconstruction.views import ReconstructionView
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import PosedCamera

BallViews = Callable[..., list[ReconstructionView]]
FINER = 4


def _pose(eye: np.ndarray) -> np.ndarray:
    back = eye / np.linalg.norm(eye)
    right = np.cross([0.1, 0.2, 1.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    return pose


def _hit(camera: PosedCamera, centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether each pixel's ray hits the ball, and the world normal there."""
    directions = camera.directions()
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    offset = camera.centre - centre
    b = directions @ offset
    discriminant = b * b - (offset @ offset - radius**2)
    hit = discriminant > 0
    distance = -b - np.sqrt(np.maximum(discriminant, 0))
    return hit, (offset + directions * distance[..., None]) / radius


def ball_views(
    count: int = 8, side: int = 32, centre: tuple[float, float, float] = (0.3, -0.2, 0.1), radius: float = 0.8
) -> list[ReconstructionView]:
    """Views of a matt ball under a light that stands still."""
    middle, views = np.array(centre), []
    for place in range(count):
        rise = np.arcsin(-0.8 + 1.6 * (place + 0.5) / count)
        turn = 2.4 * place
        eye = 3.0 * np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        pose = _pose(eye)
        pose[:3, 3] = eye + middle
        camera = PosedCamera(Intrinsics.from_fov(42, side, side), pose)
        covered, _ = _hit(camera.resized(side * FINER, side * FINER), middle, radius)
        mask = covered.reshape(side, FINER, side, FINER).mean((1, 3)).astype(np.float32)
        hit, normals = _hit(camera, middle, radius)
        light = np.clip(normals @ [0.5, 0.3, 0.8], 0, 1)[..., None] * [0.5, 0.4, 0.3] + 0.3
        rgb = np.where(hit[..., None], light, 1).astype(np.float32)
        own = np.where(hit[..., None], normals @ camera.rotation, 0).astype(np.float32)
        views.append(ReconstructionView(f"{place:02d}", camera, rgb, mask, own))
    return views


@pytest.fixture
def ball() -> BallViews:
    return ball_views
