"""Triangle meshes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stablenormal.errors import ImageShapeError


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Vertices and triangles, in the OpenGL camera's frame (x right, y up, z to the viewer) or the world's.

    Raises:
        ImageShapeError: if the arrays do not fit together.
    """

    positions: npt.NDArray[np.float32]
    """(V, 3)."""
    normals: npt.NDArray[np.float32]
    """(V, 3), unit length."""
    uv: npt.NDArray[np.float32]
    """(V, 2) in the photograph, in [0, 1]: u right, v up from the lower left corner; 0 without one."""
    faces: npt.NDArray[np.int32]
    """(F, 3), counter-clockwise seen from outside."""

    def __post_init__(self) -> None:
        count = len(self.positions)
        if (
            self.positions.shape != (count, 3)
            or self.normals.shape != (count, 3)
            or self.uv.shape != (count, 2)
        ):
            raise ImageShapeError(
                f"positions {self.positions.shape}, normals {self.normals.shape} and uv {self.uv.shape} "
                "must be (V, 3), (V, 3) and (V, 2)"
            )
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise ImageShapeError(f"expected faces (F, 3), got {self.faces.shape}")
