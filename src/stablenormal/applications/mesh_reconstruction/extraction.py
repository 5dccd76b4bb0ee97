"""From signed distances to triangles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from stablenormal.applications.mesh_reconstruction.fitting import SurfaceFit
from stablenormal.applications.mesh_reconstruction.node_grid import blend
from stablenormal.errors import SceneError, SettingError
from stablenormal.geometry.mesh import TriangleMesh

Array = npt.NDArray[Any]

SMALLEST_PART = 0.01
"""Of the faces; smaller loose parts are dropped."""


def require_marching_cubes() -> Callable[..., tuple[Array, Array, Array, Array]]:
    """scikit-image's marching cubes; ask before a long computation.

    Raises:
        SettingError: if scikit-image is missing.
    """
    try:
        from skimage.measure import marching_cubes  # of the extra "reconstruct"; has no types
    except ImportError:
        raise SettingError(
            "marching cubes need scikit-image; install it: pip install 'stablenormal[reconstruct]'"
        ) from None
    surface: Callable[..., tuple[Array, Array, Array, Array]] = marching_cubes
    return surface


@torch.no_grad()
def extract_mesh(fit: SurfaceFit) -> tuple[TriangleMesh, npt.NDArray[np.float32]]:
    """The surface by marching cubes, in the world, without small loose parts.

    Returns:
        The mesh, and the colours (V, 3) in [0, 1] of its vertices, without the view-dependent part.

    Raises:
        SettingError: if scikit-image is missing.
        SceneError: if there is no surface.
    """
    surface = require_marching_cubes()
    distances = fit.dense_distances()
    if not (distances.min() < 0 < distances.max()):
        raise SceneError("the reconstruction holds no surface; check masks and poses")
    closed = np.pad(distances, 1, constant_values=1.0)
    vertices, faces, _, _ = surface(closed, 0.0, gradient_direction="descent")
    places = (vertices.astype(np.float64) - 1) * fit.field.grid.spacing - 1
    places, faces = _without_small_parts(places, faces)
    normals, colours = _at_vertices(fit, torch.from_numpy(places.astype(np.float32)).to(fit.device))
    mesh = TriangleMesh(
        positions=fit.cube.to_world(places).astype(np.float32),
        normals=normals.cpu().numpy(),
        uv=np.zeros((len(places), 2), np.float32),
        faces=faces.astype(np.int32),
    )
    return mesh, colours.cpu().numpy()


def _at_vertices(fit: SurfaceFit, places: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals and colours (V, 3) of the field."""
    field = fit.field
    there = field.grid.cells[field.grid.cell_of(places)]
    rows, shares = field.grid.corners(places)
    rows = torch.where(there[:, None], rows, torch.zeros_like(rows))
    normals = F.normalize(blend(field.slopes, rows, shares), dim=1)
    fallback = F.normalize(places, dim=1)
    colours = torch.sigmoid(blend(field.colours[:, :3].contiguous(), rows, shares))
    flat = there[:, None] & (normals.norm(dim=1, keepdim=True) > 0.5)
    return torch.where(flat, normals, fallback), torch.where(
        there[:, None], colours, torch.full_like(colours, 0.5)
    )


def _without_small_parts(vertices: Array, faces: Array) -> tuple[Array, Array]:
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    links = coo_matrix((np.ones(len(ends)), ends.T), shape=(len(vertices),) * 2)
    _, part = connected_components(links, directed=False)
    sizes = np.bincount(part[faces[:, 0]])
    kept = faces[sizes[part[faces[:, 0]]] >= SMALLEST_PART * len(faces)]
    used, renumbered = np.unique(kept, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3).astype(np.int64)
