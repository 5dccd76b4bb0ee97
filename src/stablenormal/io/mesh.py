"""Meshes as files: PLY, OBJ with its material and texture beside it, GLB with the texture inside."""

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import trimesh
from PIL import Image

from stablenormal.errors import OutputError
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.io import png
from stablenormal.io.atomic import write_bytes

MESH_SUFFIXES = (".ply", ".obj", ".glb")

Picture = npt.NDArray[np.float32]


def mesh_files(path: Path, textured: bool) -> list[Path]:
    """Every file that `write_mesh` writes; the one asked for is the last.

    The parts of an OBJ have no blanks in their names: strict readers end a name at the first. A material of
    the OBJ's own name is written too then, where readers look that do not find the one it names.
    """
    if path.suffix.lower() != ".obj" or not textured:
        return [path]
    plain = path.with_name(re.sub(r"[\s#]+", "_", path.stem))
    materials = dict.fromkeys(path.with_name(f"{stem}.mtl") for stem in (plain.name, path.stem))
    return [plain.with_name(f"{plain.name}_texture.png"), *materials, path]


def write_mesh(
    path: Path | str,
    mesh: TriangleMesh,
    photograph: Picture | None = None,
    vertex_colours: Picture | None = None,
) -> list[Path]:
    """Write a mesh with normals, each file completely or not at all.

    Args:
        path: the file; its ending chooses the kind. OBJ also writes what `mesh_files` names.
        mesh: what to write.
        photograph: (H, W, 3) in [0, 1], sRGB coded, that `mesh.uv` points into: the texture of OBJ and GLB,
            colours of the vertices in PLY.
        vertex_colours: (V, 3) in [0, 1], sRGB coded, in place of a photograph.

    Returns:
        The files written; the one asked for is the last.

    Raises:
        OutputError: if the ending is another, or a file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise OutputError(f"{path}: meshes are written as {', '.join(MESH_SUFFIXES)}; change the ending")
    codes = None if photograph is None else _coded(photograph)
    kind = path.suffix.lower()
    if kind == ".obj":
        return _write_obj(path, mesh, codes, vertex_colours)
    solid = _trimesh(mesh)
    if vertex_colours is not None:
        solid.visual = trimesh.visual.ColorVisuals(solid, vertex_colors=_coded(vertex_colours))
    elif codes is not None and kind == ".ply":
        solid.visual = trimesh.visual.ColorVisuals(solid, vertex_colors=_vertex_colours(mesh, codes))
    elif codes is not None:
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=Image.fromarray(codes), metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
        )
        solid.visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    write_bytes(path, _exported(solid, kind))
    return [path]


def _coded(colours: Picture) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def _trimesh(mesh: TriangleMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(
        vertices=mesh.positions, faces=mesh.faces, vertex_normals=mesh.normals, process=False, validate=False
    )


def _exported(solid: trimesh.Trimesh, kind: str) -> bytes:
    if kind == ".ply":
        return bytes(trimesh.exchange.ply.export_ply(solid, vertex_normal=True))
    return bytes(trimesh.exchange.gltf.export_glb(solid, include_normals=True))


def _vertex_colours(mesh: TriangleMesh, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = codes.shape[:2]
    columns = np.clip((mesh.uv[:, 0] * width).astype(np.int64), 0, width - 1)
    rows = np.clip(((1 - mesh.uv[:, 1]) * height).astype(np.int64), 0, height - 1)
    return np.ascontiguousarray(codes[rows, columns])


def _write_obj(
    path: Path, mesh: TriangleMesh, codes: npt.NDArray[np.uint8] | None, vertex_colours: Picture | None
) -> list[Path]:
    """The parts first: an OBJ whose texture is missing is worse than a texture without its OBJ."""
    lines: list[str] = []
    files = mesh_files(path, codes is not None)
    if codes is not None:
        texture, *materials, _ = files
        write_bytes(texture, png.encode(codes, {}))
        for material in materials:
            write_bytes(material, os.fsencode(f"newmtl photograph\nKd 1 1 1\nmap_Kd {texture.name}\n"))
        lines = [f"mtllib {materials[0].name}", "usemtl photograph"]
    one = mesh.faces + 1
    plain = vertex_colours is not None  # its uv point nowhere
    corner = "f {0}//{0} {1}//{1} {2}//{2}" if plain else "f {0}/{0}/{0} {1}/{1}/{1} {2}/{2}/{2}"
    vertices = mesh.positions if vertex_colours is None else np.hstack([mesh.positions, vertex_colours])
    body = [
        *lines,
        *("v " + " ".join(f"{number:.7g}" for number in row) for row in vertices.tolist()),
        *(() if plain else ("vt {:.7g} {:.7g}".format(*row) for row in mesh.uv.tolist())),
        *("vn {:.5g} {:.5g} {:.5g}".format(*row) for row in mesh.normals.tolist()),
        *(corner.format(*row) for row in one.tolist()),
    ]
    write_bytes(path, os.fsencode("\n".join(body) + "\n"))
    return files
