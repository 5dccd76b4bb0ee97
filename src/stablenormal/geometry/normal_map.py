"""A normal map of one picture together with the frame of its vectors, as people keep one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stablenormal.errors import FrameError


@dataclass(frozen=True, eq=False)
class NormalMap:
    """A normal map that knows the frame of its vectors; numpy takes it for an array (H, W, 3)."""

    normals: npt.NDArray[np.float32]
    """(H, W, 3), unit length, zero where invalid."""
    valid: npt.NDArray[np.bool_]
    """(H, W)."""
    frame: str = "opengl"
    """The frame of `normals`, a name in `FRAMES`; what a file holds is converted to `opengl` when read."""
    stored_frame: str | None = None
    """The frame in which the file had them; None where there is no file."""
    format: str | None = None
    """Kind of the file, a name in `io.map_formats.MAP_FORMATS`."""
    camera_to_world: npt.NDArray[np.float64] | None = None
    """Rotation (3, 3) of the OpenGL camera, of a file in the frame `world`."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What else the file says, text by name."""

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The vectors alone, (H, W, 3)."""
        return np.array(self.normals, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        height, width = self.valid.shape
        stored = f", stored as {self.stored_frame}" if self.stored_frame else ""
        share = 100 * float(self.valid.mean())
        return f"NormalMap({width} x {height} px, frame {self.frame}{stored}, {share:.0f} % valid)"


def opengl_vectors(normals: "npt.NDArray[np.floating] | NormalMap") -> npt.NDArray[np.floating]:
    """The vectors (H, W, 3) of an array, or of a map whose frame is the OpenGL camera's.

    Raises:
        FrameError: if the map says that they are in another frame.
    """
    if not isinstance(normals, NormalMap):
        return normals
    if normals.frame != "opengl":
        raise FrameError(
            f"the map is in frame '{normals.frame}', expected 'opengl'; convert it with convert_frame"
        )
    return normals.normals
