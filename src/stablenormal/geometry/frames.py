"""Coordinate frames of normals, by name."""

from stablenormal.errors import FrameError

FRAMES: dict[str, tuple[int, int, int] | None] = {
    "opengl": (1, 1, 1),
    "opencv": (1, -1, -1),
    "directx": (1, -1, 1),
    "dsine": (-1, 1, 1),
    "world": None,
}
"""Every frame by name: the signs that take (x, y, z) of the OpenGL camera to the frame and back.

    frame    x      y     z              who uses it
    opengl   right  up    toward viewer  this package, Blender and Unity normal maps
    opencv   right  down  away           OpenCV, COLMAP, most depth data
    directx  right  down  toward viewer  DirectX and Unreal normal maps ("green flipped")
    dsine    left   up    toward viewer  DSINE's benchmark and the released StableNormal weights
    world    of the scene                multi-view data; needs the camera-to-world rotation
"""

AXIS_SIGNS: tuple[tuple[int, int, int], ...] = tuple(
    (x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)
)
"""Every choice of signs of the three axes, the unchanged one first."""


def check_frame(frame: str) -> None:
    """Refuse a frame that does not exist.

    Raises:
        FrameError: naming the frames that do exist.
    """
    if frame not in FRAMES:
        raise FrameError(f"unknown frame '{frame}'; choose one of {', '.join(FRAMES)}")


def axes_name(signs: tuple[int, int, int]) -> str:
    """The frame with these signs against the OpenGL camera, by name, or by its axes if it has none."""
    for frame, known in FRAMES.items():
        if known == signs:
            return frame
    x, y, z = signs
    return (
        f"x {'right' if x > 0 else 'left'}, y {'up' if y > 0 else 'down'}, "
        f"z {'toward the viewer' if z > 0 else 'away'}"
    )
