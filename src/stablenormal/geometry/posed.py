"""Cameras with poses, lens distortion, and the projection of world points into pictures."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from stablenormal.errors import FrameError, SettingError
from stablenormal.geometry.camera import Intrinsics, check_rotation, pixel_rays

Array = npt.NDArray[np.float64]

BEHIND = 1e-9
"""Points nearer to the image plane than this have no picture."""


@dataclass(frozen=True, eq=False)
class PosedCamera:
    """A pinhole camera at a place in the world.

    Raises:
        FrameError: if the pose is not a rotation and a translation.
    """

    intrinsics: Intrinsics
    """Focal lengths, principal point and size."""
    camera_to_world: Array
    """(4, 4), of the OpenGL camera: x right, y up, z toward the viewer."""

    def __post_init__(self) -> None:
        pose = self.camera_to_world
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise FrameError(f"expected a finite camera-to-world matrix (4, 4), got shape {pose.shape}")
        if not np.allclose(pose[3], [0, 0, 0, 1]):
            raise FrameError(f"the last row of a camera-to-world matrix is 0 0 0 1, got {pose[3].tolist()}")
        check_rotation(torch.from_numpy(self.rotation.copy()))

    @property
    def rotation(self) -> Array:
        """Camera to world (3, 3)."""
        return self.camera_to_world[:3, :3]

    @property
    def centre(self) -> Array:
        """Where the camera stands (3,)."""
        return self.camera_to_world[:3, 3]

    def resized(self, width: int, height: int) -> "PosedCamera":
        """The same camera with a picture of another size."""
        return PosedCamera(self.intrinsics.resize(width, height), self.camera_to_world)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixels (N, 2) and depths (N,) of world points (N, 3); pixels of points behind it are NaN."""
        x, y, z = ((points - self.centre) @ self.rotation).T
        depth = -z
        divisor = np.where(depth > BEHIND, depth, np.nan)
        camera = self.intrinsics
        u = camera.fx * x / divisor + camera.cx
        v = -camera.fy * y / divisor + camera.cy
        return np.stack([u, v], axis=1), depth

    def directions(self) -> Array:
        """World vectors (H, W, 3) from the camera through each pixel centre, of depth one."""
        turned: Array = pixel_rays(self.intrinsics) @ self.rotation.T
        return turned


@dataclass(frozen=True)
class Distortion:
    """Brown's lens distortion, as OpenCV and COLMAP define it.

    Raises:
        SettingError: if a coefficient is not finite.
    """

    k1: float = 0.0
    """Radial, second order."""
    k2: float = 0.0
    """Radial, fourth order."""
    p1: float = 0.0
    """Tangential."""
    p2: float = 0.0
    """Tangential."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in self.coefficients):
            raise SettingError(f"distortion must be finite numbers, got {self.coefficients}")

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """In OpenCV's order: k1, k2, p1, p2."""
        return self.k1, self.k2, self.p1, self.p2

    def __bool__(self) -> bool:
        return any(self.coefficients)


def pose_from_colmap(quaternion: Array, translation: Array) -> Array:
    """Camera-to-world (4, 4) of the OpenGL camera from COLMAP's world-to-camera of the OpenCV camera.

    Args:
        quaternion: (4,), w first; any length but zero.
        translation: (3,).

    Raises:
        FrameError: if the quaternion is zero.
    """
    length = float(np.linalg.norm(quaternion))
    if not length > 0:
        raise FrameError("the quaternion of a pose is zero; export the model again")
    w, x, y, z = quaternion / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3] = rotation.T @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = -rotation.T @ translation
    return pose
