"""Pinhole cameras: intrinsics and what crops and resizes do to them; rays; focal lengths from EXIF.

Pixel coordinates start at the outer corner of the top left pixel, so its centre is (0.5, 0.5), a picture of
width w spans [0, w], and resizing scales every number by the same factor. u runs right, v runs down.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stablenormal.errors import FrameError, ImageShapeError, SettingError
from stablenormal.geometry.layout import channels_first

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""The diagonal that 35 mm equivalent focal lengths refer to (CIPA DCG-001)."""

PLAUSIBLE_FOV_DEG = (0.2, 165.0)
"""Fields of view that a lens without distortion can have."""

PLAUSIBLE_SHIFT = 1.0
"""How far from the middle, in sides of the picture, a principal point may be, as in crops."""

OTHER_SIZE = 0.15
"""A principal point off the middle by this share in both directions is in the middle of another size."""

_RESOLUTION_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""EXIF FocalPlaneResolutionUnit: inch, centimetre, and the usual extensions millimetre and micrometre."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion, in pixels; the top left pixel's centre is (0.5, 0.5).

    Raises:
        SettingError: if a focal length or a size is not positive, or a number is not finite.
    """

    fx: float
    """Focal length along u."""
    fy: float
    """Focal length along v."""
    cx: float
    """u of the principal point."""
    cy: float
    """v of the principal point."""
    width: int
    """Columns."""
    height: int
    """Rows."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.fx, self.fy, self.cx, self.cy)):
            raise SettingError(f"intrinsics must be finite numbers, got {self}; check where they come from")
        if min(self.fx, self.fy) <= 0 or min(self.width, self.height) < 1:
            raise SettingError(f"focal lengths and sizes must be positive, got {self}; give them in pixels")

    @classmethod
    def centred(cls, focal_px: float, width: int, height: int) -> "Intrinsics":
        """Square pixels and the principal point in the middle."""
        return cls(focal_px, focal_px, width / 2, height / 2, width, height)

    @classmethod
    def from_fov(cls, fov_deg: float, width: int, height: int) -> "Intrinsics":
        """Square pixels, centred, from the horizontal field of view in degrees, in (0, 180).

        Raises:
            SettingError: if the angle is out of range.
        """
        if not 0 < fov_deg < 180:
            raise SettingError(
                f"a field of view of {fov_deg} degrees is no pinhole camera; choose one in (0, 180)"
            )
        return cls.centred(width / 2 / math.tan(math.radians(fov_deg) / 2), width, height)

    @classmethod
    def from_matrix(
        cls, matrix: npt.ArrayLike, width: int, height: int, pixel_centre: float = 0.5
    ) -> "Intrinsics":
        """From a 3 x 3 camera matrix.

        Args:
            matrix: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]].
            width: columns of the picture.
            height: rows of the picture.
            pixel_centre: coordinate that the matrix gives to the centre of the top left pixel: 0.5 here and
                in COLMAP, 0.0 in OpenCV and in the `X_intrins.npy` of DSINE's benchmark.

        Raises:
            SettingError: if the matrix has another shape, skew, or no last row (0, 0, 1).
        """
        k = np.asarray(matrix, dtype=np.float64)
        if k.shape != (3, 3):
            raise SettingError(f"expected a 3 x 3 camera matrix, got shape {k.shape}")
        if not np.allclose(k[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]], [0, 0, 0, 0, 1]):
            raise SettingError(
                f"expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {k.tolist()}; skew is not supported"
            )
        shift = 0.5 - pixel_centre
        return cls(
            float(k[0, 0]), float(k[1, 1]), float(k[0, 2]) + shift, float(k[1, 2]) + shift, width, height
        )

    def plausible(self) -> "Intrinsics":
        """Itself, if a camera that took a photograph can have these numbers; asked where they are read.

        Raises:
            SettingError: if the field of view or the principal point is that of no such camera.
        """
        for name, angle in zip(("horizontal", "vertical"), self._central_fov_deg(), strict=True):
            if not PLAUSIBLE_FOV_DEG[0] <= angle <= PLAUSIBLE_FOV_DEG[1]:
                raise SettingError(
                    f"a {name} field of view of {angle:.3g} degrees ({self.fx:g}, {self.fy:g} px for "
                    f"{self.width} x {self.height}) is not plausible; focal lengths are in pixels of this "
                    "size"
                )
        away = max(abs(self.cx / self.width - 0.5), abs(self.cy / self.height - 0.5))
        if away > PLAUSIBLE_SHIFT:
            raise SettingError(
                f"a principal point at ({self.cx:g}, {self.cy:g}) is not plausible for {self.width} x "
                f"{self.height} px; give the camera of this size"
            )
        return self

    def _central_fov_deg(self) -> tuple[float, float]:
        horizontal = 2 * math.degrees(math.atan(self.width / 2 / self.fx))
        return horizontal, 2 * math.degrees(math.atan(self.height / 2 / self.fy))

    def other_size(self) -> tuple[int, int] | None:
        """The size that these numbers belong to, if the principal point says that it is not their own.

        In the middle of a picture of another size: off centre by one factor in both directions.
        """
        across, down = 2 * self.cx / self.width, 2 * self.cy / self.height
        if min(across, down) <= 0 or abs(across / down - 1) > 0.05 or abs(across - 1) < OTHER_SIZE:
            return None
        return round(2 * self.cx), round(2 * self.cy)

    def matrix(self, pixel_centre: float = 0.5) -> npt.NDArray[np.float64]:
        """The 3 x 3 camera matrix; `pixel_centre` as in `from_matrix`."""
        shift = pixel_centre - 0.5
        return np.array([[self.fx, 0, self.cx + shift], [0, self.fy, self.cy + shift], [0, 0, 1]], np.float64)

    @property
    def fov_deg(self) -> tuple[float, float]:
        """Horizontal and vertical field of view in degrees, edge to edge, also when the centre is shifted."""

        def angle(low: float, high: float, focal: float) -> float:
            return math.degrees(math.atan2(high, focal) + math.atan2(low, focal))

        horizontal = angle(self.cx, self.width - self.cx, self.fx)
        return horizontal, angle(self.cy, self.height - self.cy, self.fy)

    def crop(self, left: int, top: int, width: int, height: int) -> "Intrinsics":
        """Of a rectangle cut out of the picture: the principal point moves.

        Raises:
            ImageShapeError: if the rectangle is empty or reaches outside the picture.
        """
        check_box(left, top, width, height, self.width, self.height)
        return Intrinsics(self.fx, self.fy, self.cx - left, self.cy - top, width, height)

    def resize(self, width: int, height: int) -> "Intrinsics":
        """Of the picture resized to `width` x `height`."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy, width, height)


def pixel_rays(
    intrinsics: Intrinsics, rows: npt.ArrayLike | None = None, columns: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """Where pixel centres look, scaled to depth one, as an array: the one formula of a pinhole camera.

    Args:
        intrinsics: the camera.
        rows: of the pixels, any shape (...); by default those of the whole picture, (H, 1).
        columns: of the pixels, of a shape that fits; by default those of the whole picture, (1, W).

    Returns:
        (..., 3), OpenGL camera, so z is -1 everywhere; (H, W, 3) by default.
    """
    v = np.arange(intrinsics.height)[:, None] if rows is None else np.asarray(rows)
    u = np.arange(intrinsics.width)[None, :] if columns is None else np.asarray(columns)
    x, y = np.broadcast_arrays(
        (u + 0.5 - intrinsics.cx) / intrinsics.fx, -(v + 0.5 - intrinsics.cy) / intrinsics.fy
    )
    return np.stack([x, y, np.full(x.shape, -1.0)], axis=-1)


def rays(
    intrinsics: Intrinsics, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """`pixel_rays` of a whole picture as a tensor: a point is its ray times its depth.

    Args:
        intrinsics: the camera.
        device: of the result.
        dtype: of the result.

    Returns:
        (1, 3, H, W), OpenGL camera, so z is -1 everywhere.
    """
    directions = pixel_rays(intrinsics)  # (H, W, 3)
    return channels_first(directions)[None].to(device, dtype).contiguous()


def roll_rotation(angle_deg: float) -> Tensor:
    """Rotation (3, 3), float64, that turns the picture counter-clockwise by `angle_deg` about its axis."""
    angle = math.radians(angle_deg)
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)


def focal_px_from_exif(tags: Mapping[str, Any], width: int, height: int) -> float | None:
    """Focal length in pixels from EXIF tags, or None if they do not say.

    `FocalLength` with the focal plane's resolution is exact and comes first; else `FocalLengthIn35mmFilm`,
    taken along the diagonal. The resolution belongs to the picture as shot (`ExifImageWidth` x
    `ExifImageHeight`), so it is scaled by the longer sides' ratio if the file was resized since.

    Args:
        tags: EXIF tags by name; numbers, or what `float` takes.
        width: columns of the picture as it is now.
        height: rows of the picture as it is now.
    """
    focal_mm = _positive(tags, "FocalLength")
    per_unit = _positive(tags, "FocalPlaneXResolution")
    unit_mm = _RESOLUTION_UNIT_MM.get(int(_positive(tags, "FocalPlaneResolutionUnit") or 2))
    if focal_mm and per_unit and unit_mm:
        shot_px = max(_positive(tags, "ExifImageWidth") or 0, _positive(tags, "ExifImageHeight") or 0)
        scale = max(width, height) / shot_px if shot_px else 1.0
        exact = focal_mm * per_unit / unit_mm * scale
        if _is_plausible_focal(exact, width, height):
            return exact
    equivalent_mm = _positive(tags, "FocalLengthIn35mmFilm")
    if equivalent_mm:
        equivalent = equivalent_mm * math.hypot(width, height) / FULL_FRAME_DIAGONAL_MM
        if _is_plausible_focal(equivalent, width, height):
            return equivalent
    return None


def _is_plausible_focal(focal_px: float, width: int, height: int) -> bool:
    """Cameras also write numbers that no lens has, for unknown."""
    try:
        Intrinsics.centred(focal_px, width, height).plausible()
    except SettingError:
        return False
    return True


def check_rotation(rotation: Tensor) -> None:
    """Refuse what is not a rotation (3, 3) or a batch of them (B, 3, 3).

    Raises:
        FrameError: if the shape differs, a row is not of unit length or at right angles, or it mirrors.
    """
    if rotation.ndim not in (2, 3) or rotation.shape[-2:] != (3, 3):
        raise FrameError(f"expected a rotation (3, 3) or (B, 3, 3), got shape {tuple(rotation.shape)}")
    matrix = rotation.detach().to("cpu", torch.float64)
    orthogonal = torch.allclose(matrix @ matrix.transpose(-1, -2), torch.eye(3).double(), atol=1e-3)
    if not orthogonal or bool((torch.linalg.det(matrix) < 0).any()):
        raise FrameError(
            "the matrix is not a rotation (orthogonal, determinant 1); drop its scale or mirroring"
        )


def check_box(left: int, top: int, width: int, height: int, full_width: int, full_height: int) -> None:
    """Refuse a crop that is empty or reaches outside a picture of `full_width` x `full_height`.

    Raises:
        ImageShapeError: naming both.
    """
    if not (0 <= left < left + width <= full_width and 0 <= top < top + height <= full_height):
        raise ImageShapeError(
            f"a crop of {width} x {height} px at ({left}, {top}) does not fit into "
            f"{full_width} x {full_height} px; choose one inside"
        )


def _positive(tags: Mapping[str, Any], name: str) -> float | None:
    """A tag as a positive finite number; cameras also write 0, 0/0 and text for unknown."""
    try:
        number = float(tags[name])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
