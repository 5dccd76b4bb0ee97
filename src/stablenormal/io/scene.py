"""Scenes of posed photographs: COLMAP models, and `transforms.json` of nerfstudio and Blender.

    kind         recognised by                                    poses in the file
    COLMAP       cameras.bin or .txt in DIR, DIR/sparse[/0]       world to OpenCV camera
    transforms   DIR/transforms.json, _train.json, or a .json     OpenGL camera to world

World axes stay the file's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.errors import SceneError, SettingError
from stablenormal.geometry.posed import Distortion, PosedCamera
from stablenormal.io.image import Photograph, read_image
from stablenormal.io.image_files import SUFFIXES
from stablenormal.io.search import portable

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

    def files(self) -> tuple[Path | None, ...]:
        """Everything that is read of it."""
        return self.image, self.mask, self.depth


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
    described_by: tuple[Path, ...] = ()
    """The scene's own files."""

    def files(self) -> list[Path | None]:
        """Everything that is read of it."""
        return [*self.described_by, *(file for view in self.views for file in view.files())]


@dataclass(frozen=True, eq=False)
class ViewPicture:
    """A photograph of a scene without distortion, and the camera that took it at that size."""

    photograph: Photograph
    camera: PosedCamera
    seen: npt.NDArray[np.bool_]
    """(H, W) what the lens saw, whatever masks say."""


def read_view(view: SceneView, mask: Path | str | None = None) -> ViewPicture:
    """Read a photograph as it is stored, undo its distortion, and fit its camera to its size.

    Args:
        view: of a scene.
        mask: a mask file; None: the one that the scene names, if any.

    Raises:
        ImageReadError: if the photograph or the mask cannot be read.
        SceneError: if the photograph has other proportions than the camera, or no lens is like it.
        SettingError: if the mask leaves no pixel.
    """
    photograph = read_image(view.image, view.mask if mask is None else mask, as_stored=True)
    height, width = photograph.valid.shape
    expected = view.camera.intrinsics
    if abs(width * expected.height / (height * expected.width) - 1) > ASPECT_TOLERANCE:
        raise SceneError(
            f"{view.image}: is {width} x {height} px, its camera {expected.width} x {expected.height}; "
            "use the photographs that the scene was made from"
        )
    try:
        expected.plausible()
    except SettingError as error:
        raise SceneError(f"{view.image}: its camera has {error}") from error
    camera = view.camera.resized(width, height)
    if view.distortion:
        return _undistorted(photograph, camera, view.distortion)
    return ViewPicture(photograph, camera, np.ones_like(photograph.valid))


def result_names(names: Sequence[str]) -> list[str]:
    """Names of results from the names that a scene gives its images: relative, without ending.

    Names never lead anywhere else: `..` and the drives of Windows are dropped, and of absolute names the
    folder that they share.
    """
    paths = [PurePosixPath(portable(name)) for name in names]
    absolute = [path for path in paths if _is_absolute(path)]
    top = PurePosixPath(commonpath([path.parent for path in absolute])) if absolute else PurePosixPath()
    return [
        "/".join(
            part
            for part in (path.relative_to(top) if path in absolute else path).parts
            if part not in (".", "..", "/") and not part.endswith(":")
        )
        for path in paths
    ]


def _is_absolute(path: PurePosixPath) -> bool:
    return path.is_absolute() or path.parts[:1] != () and path.parts[0].endswith(":")


def without_ending(name: str) -> str:
    """A name without the ending of a picture; other dots stay."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else name


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
