"""One call from normal maps to sharper ones, and to surfaces."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stablenormal.applications.enhancement import enhance as enhance_all
from stablenormal.applications.enhancement import t_plus_of_strength
from stablenormal.applications.normal_integration import IntegrationSettings, integrate_normals
from stablenormal.applications.surface_mesh import surface_mesh
from stablenormal.errors import SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.geometry.normal_map import NormalMap, opengl_vectors
from stablenormal.io.normal_map import read_normal_map
from stablenormal.pipelines.inputs import ImageLike, as_inputs
from stablenormal.pipelines.output import NormalsOutput
from stablenormal.pipelines.quick import loaded
from stablenormal.pipelines.stable_normal import BUNDLED

MapLike = NormalMap | npt.NDArray[np.floating] | str | os.PathLike[str]
"""A map as `read_normal_map` returns it, an array (H, W, 3) in the OpenGL camera, or the path of a map."""


def enhance(
    image: ImageLike,
    coarse: MapLike,
    *,
    model: str | Path = BUNDLED,
    strength: float | None = None,
    device: str | None = None,
    dtype: str | None = None,
    offline: bool = False,
    **options: Any,
) -> NormalsOutput:
    """Refine one coarse normal map with its photograph.

    Args:
        image: the photograph, as `predict` takes one.
        coarse: the map, of the photograph's size; zero vectors are invalid and stay so.
        model: `small` (comes with the package), a model folder, or a hub id.
        strength: from 0 (stay near the coarse map) to 1 (forget it); None is the model's own.
        device: as `StableNormal.from_pretrained`.
        dtype: as `StableNormal.from_pretrained`.
        offline: never open a socket.
        options: of `applications.enhancement.enhance`, such as seed=1.

    Raises:
        StableNormalError: if the photograph, the map or the model cannot be read, or they do not fit.
    """
    photographs = as_inputs(image)
    if len(photographs) != 1:
        raise SettingError(f"expected one photograph, got {len(photographs)}; call once for each")
    if strength is not None:
        options["t_plus"] = t_plus_of_strength(strength)
    normals = channels_first(np.asarray(_vectors(coarse), np.float32))
    pipeline = loaded(str(model), device, dtype, offline)
    return enhance_all(pipeline, [photographs[0].image], [normals], **options)


def mesh(
    normals: MapLike,
    intrinsics: Intrinsics | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
    settings: IntegrationSettings | None = None,
) -> TriangleMesh:
    """The surface that has these normals, as triangles; `io.mesh.write_mesh` writes it.

    Args:
        normals: unit length, zero where there is nothing.
        intrinsics: of the camera; None is an orthographic one.
        mask: (H, W), where to integrate; None is wherever there is a normal.
        settings: as `integrate_normals`.

    Raises:
        StableNormalError: as `integrate_normals`, or if the map cannot be read.
    """
    vectors = _vectors(normals)
    return surface_mesh(integrate_normals(vectors, intrinsics, mask, settings), vectors, intrinsics)


def _vectors(normals: MapLike) -> npt.NDArray[np.floating]:
    if isinstance(normals, str | os.PathLike):
        normals = read_normal_map(Path(normals))
    return opengl_vectors(normals)
