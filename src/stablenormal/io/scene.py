"""Scenes of posed photographs: COLMAP models, and `transforms.json` of nerfstudio and Blender.

    kind         recognised by                                    poses in the file
    COLMAP       cameras.bin or .txt in DIR, DIR/sparse[/0]       world to OpenCV camera
    transforms   DIR/transforms.json, _train.json, or a .json     OpenGL camera to world

World axes stay the file's own.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.errors import SceneError
from stablenormal.geometry.posed import Distortion, PosedCamera
from stablenormal.io.image import Photograph, read_image

Indices = npt.NDArray[np.int64]

ASPECT_TOLERANCE = 0.01
"""Relative difference of proportions between a photograph and its camera that is still rounding."""


@dataclass(frozen=True, eq=False)
class SceneView:
    """One photograph and its camera."""

    name: str
    """Name of results: the path of the image below the image folder, without ending."""
    image: Path
    """The photograph."""
    camera: PosedCamera
    """Without distortion, at the size that the scene's file says."""
    distortion: Distortion = Distortion()
    """What has to be undone to the photograph."""
    mask: Path | None = None
    """The mask that the scene's file names."""
    depth: Path | None = None
    """The depth map that the scene's file names."""
    points: Indices | None = None
    """(K,) rows of the scene's points that were matched in this photograph; None: unknown."""


@dataclass(frozen=True, eq=False)
class PosedScene:
    """A set of photographs of one thing."""

    path: Path
    """What was read."""
    kind: Literal["colmap", "transforms"]
    views: tuple[SceneView, ...]
    """Sorted by name; their images exist."""
    points: npt.NDArray[np.float64] | None = None
    """(N, 3) sparse points of the surface in the world."""
    missing: tuple[str, ...] = ()
    """One line for each view whose photograph is missing."""


@dataclass(frozen=True, eq=False)
class ViewPicture:
    """A photograph of a scene without distortion, and the camera that took it at that size."""

    photograph: Photograph
    camera: PosedCamera
    seen: npt.NDArray[np.bool_]
    """(H, W) what the lens saw, whatever masks say."""


def read_view(view: SceneView, mask: Path | str | None = None) -> ViewPicture:
    """Read a photograph, undo its distortion, and fit its camera to its size.

    Args:
        view: of a scene.
        mask: a mask file; None: the one that the scene names, if any.

    Raises:
        ImageReadError: if the photograph or the mask cannot be read.
        SceneError: if the photograph has other proportions than the camera.
    """
    photograph = read_image(view.image, view.mask if mask is None else mask)
    height, width = photograph.valid.shape
    expected = view.camera.intrinsics
    if abs(width * expected.height / (height * expected.width) - 1) > ASPECT_TOLERANCE:
        raise SceneError(
            f"{view.image}: is {width} x {height} px, its camera {expected.width} x {expected.height}; "
            "use the photographs that the scene was made from"
        )
    camera = view.camera.resized(width, height)
    if view.distortion:
        return _undistorted(photograph, camera, view.distortion)
    return ViewPicture(photograph, camera, np.ones_like(photograph.valid))


def _undistorted(photograph: Photograph, camera: PosedCamera, distortion: Distortion) -> ViewPicture:
    """The photograph as a lens without distortion shows it; what it never saw is invalid."""
    height, width = photograph.valid.shape
    matrix = camera.intrinsics.matrix(pixel_centre=0.0)  # OpenCV's
    along_u, along_v = cv2.initUndistortRectifyMap(
        matrix, np.array(distortion.coefficients), np.eye(3), matrix, (width, height), cv2.CV_32FC1
    )
    rgb = cv2.remap(photograph.rgb, along_u, along_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    valid, seen = (
        cv2.remap(flags.astype(np.float32), along_u, along_v, cv2.INTER_LINEAR) >= 0.5
        for flags in (photograph.valid, np.ones_like(photograph.valid))
    )
    straight = replace(photograph, rgb=np.ascontiguousarray(rgb), valid=valid)
    return ViewPicture(straight, camera, seen)
