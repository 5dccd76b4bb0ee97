"""Triangle meshes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

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


def vertex_parts(mesh: TriangleMesh) -> npt.NDArray[np.int32]:
    """(V,): the number, from 0, of the part of the mesh that each vertex hangs on by triangles."""
    count = len(mesh.positions)
    a, b, c = mesh.faces.T
    tails, heads = np.concatenate([a, b]), np.concatenate([b, c])
    links = coo_matrix((np.ones(len(tails), np.bool_), (tails, heads)), (count, count))
    parts: npt.NDArray[np.int32] = connected_components(links, directed=False)[1]
    return parts


def keep_vertices(mesh: TriangleMesh, kept: npt.NDArray[np.bool_]) -> TriangleMesh:
    """The mesh of the vertices that are `kept`, (V,), and the triangles between them."""
    number = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    whole = kept[mesh.faces].all(axis=1)
    return TriangleMesh(mesh.positions[kept], mesh.normals[kept], mesh.uv[kept], number[mesh.faces[whole]])
