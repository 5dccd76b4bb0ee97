"""Reads models that others made: OBJ with its MTL and pictures, and GLB, as parts of one material each."""

import io
import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import trimesh
from trimesh.resolvers import Resolver

from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.meshes import Faces
from stablenormal.errors import DataError

MOST_FACES = 400_000
"""A model with more is not read at all: it costs minutes, and no scene could hold it."""
KINDS = (".obj", ".glb")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelPart:
    """The triangles of one material of a model."""

    points: Array
    """(V, 3), shared between faces that touch; the axes of the file, mostly y up and z to the front."""
    faces: Faces
    """(F, 3) rows of `points`."""
    uv: Array | None
    """(F, 3, 2) texture coordinates of the corners, v up from the bottom of the picture."""
    material: str
    """Its name, in lower case."""
    colour: tuple[float, float, float]
    """Display-coded RGB in [0, 1]."""
    opacity: float
    gloss: float
    """0: matt, 1: polished."""
    picture: npt.NDArray[np.uint8] | None
    """(H, W, 4) RGB and opacity."""


class Beside(Resolver):  # type: ignore[misc]
    """Lets trimesh read the files that lie beside a model, and remembers those that are missing."""

    def __init__(self, folder: str, read: Callable[[str], bytes]) -> None:
        """Read names relative to `folder` with a function that raises KeyError or OSError when it cannot."""
        self.folder, self.read = folder, read
        self.missing: list[str] = []

    def get(self, name: str) -> bytes:
        """The bytes of a file; its name may have backslashes, as exporters on Windows write."""
        path = posixpath.normpath(posixpath.join(self.folder, name.strip().replace("\\", "/")))
        try:
            return self.read(path)
        except (KeyError, OSError):
            self.missing.append(name.strip())
            raise FileNotFoundError(name) from None

    def keys(self) -> list[str]:
        """Nothing is listed."""
        return []

    def write(self, name: str, data: Any) -> None:
        """Nothing is written."""
        raise NotImplementedError("models are only read")

    def namespaced(self, namespace: str) -> "Beside":
        """The same files seen from a folder below."""
        return Beside(posixpath.join(self.folder, namespace), self.read)


def read_model(name: str, data: bytes, beside: Beside) -> list[ModelPart]:
    """The parts of a model.

    Args:
        name: of the file, for messages; its ending tells the format.
        data: what the file holds.
        beside: finds the MTL and the pictures; what is missing is in `beside.missing` afterwards.

    Raises:
        DataError: if the file cannot be read, or holds no or too many triangles; the message is one line.
    """
    kind = posixpath.splitext(name)[1].lower()
    if kind == ".obj":
        _refuse_too_many(name, data.count(b"\nf"))
    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind[1:], resolver=beside, process=False)
        parts = [
            _part(scene.geometry[geometry], np.asarray(matrix, float))
            for matrix, geometry in (scene.graph[node] for node in scene.graph.nodes_geometry)
            if isinstance(scene.geometry[geometry], trimesh.Trimesh) and len(scene.geometry[geometry].faces)
        ]
    except Exception as error:  # the parsers of OBJ, GLB and pictures raise anything on broken files
        _log.debug("%s", name, exc_info=True)
        raise DataError(f"{name}: cannot be read as a model ({type(error).__name__}: {error})") from None
    parts = [part for part in parts if part.opacity > 0.02 and len(part.faces)]
    if not parts:
        raise DataError(f"{name}: holds no triangles; export it as a triangle mesh")
    _refuse_too_many(name, sum(len(part.faces) for part in parts))
    return parts


def _refuse_too_many(name: str, faces: int) -> None:
    if faces > MOST_FACES:
        raise DataError(f"{name}: has {faces} faces, more than {MOST_FACES}; simplify it first")


def _part(mesh: Any, matrix: Array) -> ModelPart:
    points = np.asarray(mesh.vertices, float) @ matrix[:3, :3].T + matrix[:3, 3]
    faces = np.asarray(mesh.faces, np.int64)
    finite = np.asarray(np.isfinite(points).all(1))
    whole = finite[faces].all(1)
    faces, points = faces[whole], np.nan_to_num(points)
    uv = getattr(mesh.visual, "uv", None)
    corners = None if uv is None or len(uv) != len(points) else np.asarray(uv, float)[faces][..., :2]
    material = getattr(mesh.visual, "material", None)
    colour, opacity, gloss, image = _material(material)
    if corners is None or not np.isfinite(corners).all():
        corners = image = None
    joined, inverse = _joined(points)
    return ModelPart(
        points=joined,
        faces=inverse[faces],
        uv=corners if image is not None else None,
        material=str(getattr(material, "name", None) or "").lower(),
        colour=colour,
        opacity=opacity,
        gloss=gloss,
        picture=image,
    )


def _joined(points: Array) -> tuple[Array, Faces]:
    """Equal points once (files repeat them along seams of the texture), and where each one went."""
    size = max(float(np.ptp(points, 0).max()), 1e-9)
    keys = np.round((points - points.min(0)) / size * 2e5).astype(np.int64)
    flat = keys @ np.array([1, 1 << 20, 1 << 40])
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    return points[first], inverse.ravel()


def _material(
    material: Any,
) -> tuple[tuple[float, float, float], float, float, npt.NDArray[np.uint8] | None]:
    """Colour, opacity, gloss and picture of a material of an OBJ (SimpleMaterial) or a GLB (PBRMaterial)."""
    if material is None:
        return (0.7, 0.7, 0.7), 1.0, 0.3, None
    if hasattr(material, "baseColorFactor"):
        factor = material.baseColorFactor
        base = np.array([255, 255, 255, 255] if factor is None else factor, float) / 255
        see_through = material.alphaMode == "BLEND"
        rough = material.roughnessFactor
        image = material.baseColorTexture
        opacity, gloss = (float(base[3]) if see_through else 1.0), 1 - float(1 if rough is None else rough)
        rgb = base[:3] ** (1 / 2.2)  # GLB has linear factors
    else:
        said = {key: value for key, value in material.kwargs.items() if key in ("d", "tr", "ns", "ks")}
        rgb = np.array(material.diffuse[:3], float) / 255
        opacity = _number(said.get("d"), 1 - _number(said.get("tr"), 0.0))
        shine = np.clip(_number(said.get("ns"), 20.0), 1, 1000)
        gloss = float(np.clip(np.log(shine) / np.log(1000), 0, 1)) * min(1.0, _mean(said.get("ks"), 0.3) * 2)
        image = material.image
    picture = None if image is None else np.asarray(image.convert("RGBA"), np.uint8)
    if picture is not None and (picture == picture[0, 0]).all():  # also what trimesh makes up without an MTL
        rgb, picture = picture[0, 0, :3] / 255, None
    red, green, blue = np.clip(rgb, 0, 1).tolist()
    return (red, green, blue), float(np.clip(opacity, 0, 1)), gloss, picture


def _number(said: Any, otherwise: float) -> float:
    try:
        return float(said[-1] if isinstance(said, (list, tuple)) else said)
    except (TypeError, ValueError, IndexError):
        return otherwise


def _mean(said: Any, otherwise: float) -> float:
    try:
        return float(np.mean([float(value) for value in said]))
    except (TypeError, ValueError):
        return otherwise
