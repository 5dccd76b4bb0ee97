"""Small 8-bit pictures for the page."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from stablenormal.app.gallery import Legend
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import convert_frame, encode_8bit

PREVIEW_SIDE = 1024
"""Longer side of a preview in pixels, at most."""

UNCERTAINTY_TOP_DEG = 30.0
"""Angle that gets the brightest colour."""

INVALID_COLOUR = 96
"""Grey level of pixels without a normal."""

# Black through violet and orange to cream: brightness rises evenly, so it also reads without colour.
_HEAT = np.array(
    [[8, 8, 24], [74, 28, 110], [176, 48, 100], [240, 120, 60], [252, 240, 200]], dtype=np.float32
)

_AXES = {
    "opengl": "x right, y up, z toward the viewer",
    "opencv": "x right, y down, z away from the viewer",
    "directx": "x right, y down, z toward the viewer",
    "dsine": "x left, y up, z toward the viewer",
}


def problem_of(make: Callable[[], None], what: str) -> str | None:
    """Make a page or a preview; if that fails, say so in one line: the results are complete without.

    Args:
        make: does it.
        what: names it.
    """
    try:
        make()
    except Exception as error:  # whatever it is, the numbers are written
        return f"{what} could not be made: {' '.join(str(error).split()) or type(error).__name__}"
    return None


def photo_preview(rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A photograph (H, W, 3) in [0, 1] as a picture of at most `PREVIEW_SIDE` pixels."""
    return np.rint(np.clip(_shrunk(rgb), 0, 1) * 255).astype(np.uint8)


def normals_preview(normals: NDArray[np.float32], frame: str) -> NDArray[np.uint8]:
    """OpenGL normals (H, W, 3) in the colours that they have in another frame; grey where they are zero."""
    small, valid = small_normals(normals)
    return _coloured(small, frame, valid)


def small_normals(normals: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Normals (H, W, 3) at preview size: unit vectors (h, w, 3) or zero, and where they are (h, w, 1)."""
    small = _shrunk(normals)
    length = np.linalg.norm(small, axis=-1, keepdims=True)
    valid = length > 0.5
    return np.where(valid, small / np.maximum(length, 1e-6), 0).astype(np.float32), valid


def uncertainty_preview(uncertainty_deg: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Angles (H, W) as colours from 0 to `UNCERTAINTY_TOP_DEG`; grey where invalid."""
    return angle_preview(uncertainty_deg, valid, UNCERTAINTY_TOP_DEG)


def angle_preview(
    angles_deg: NDArray[np.float32], valid: NDArray[np.bool_], top_deg: float
) -> NDArray[np.uint8]:
    """Angles (H, W) as colours from 0 to `top_deg`; grey where invalid."""
    weight = _shrunk(valid.astype(np.float32))
    # What invalid pixels hold does not bleed into their neighbours.
    angles = _shrunk(np.where(valid, angles_deg, 0).astype(np.float32)) / np.maximum(weight, 1e-6)
    level = np.clip(angles / top_deg, 0, 1) * (len(_HEAT) - 1)
    channels = [np.interp(level, np.arange(len(_HEAT)), _HEAT[:, channel]) for channel in range(3)]
    colours = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)  # (h, w, 3)
    return np.where(weight[..., None] > 0.5, colours, np.uint8(INVALID_COLOUR))


def angle_bar(width: int = 256, height: int = 12) -> bytes:
    """The colours of `angle_preview` from 0 to its top, as a PNG file."""
    ramp = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))
    colours = angle_preview(ramp, np.ones((height, width), dtype=np.bool_), 1.0)
    return cv2.imencode(".png", cv2.cvtColor(colours, cv2.COLOR_RGB2BGR))[1].tobytes()


def frame_legend(frame: str, side: int = 168) -> Legend:
    """A sphere that faces the viewer, in the colours of a frame."""
    ramp = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(ramp, -ramp)
    inside = x**2 + y**2 < 1
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    colours = _coloured(np.stack([x, y, z], axis=-1).astype(np.float32), frame, inside[..., None])
    coverage = np.clip((1 - np.hypot(x, y)) * side / 2, 0, 1)  # a smooth rim one pixel wide
    rgba = np.dstack([colours, np.rint(coverage * 255).astype(np.uint8)])
    png = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    return Legend(frame=frame, axes=_AXES[frame], sphere_png=png)


def _coloured(normals: NDArray[np.float32], frame: str, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Unit OpenGL normals (H, W, 3) as the 8-bit colours of a frame."""
    maps = channels_first(normals.astype(np.float32))[None]  # (1, 3, H, W)
    colours = channels_last(encode_8bit(convert_frame(maps, "opengl", frame))[0])
    return np.where(valid, colours, np.uint8(INVALID_COLOUR)).astype(np.uint8)


def _shrunk(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most `PREVIEW_SIDE` pixels a side, averaged over areas."""
    height, width = image.shape[:2]
    scale = PREVIEW_SIDE / max(height, width)
    if scale >= 1:
        return image.astype(np.float32)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA).astype(np.float32)
