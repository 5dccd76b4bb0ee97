"""One object without texture from many sides, with exact poses, normals, depth and mesh.

The light stands still in the world, so that a point of the matt surface has one colour in all views.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.cameras import Camera, looking
from stablenormal.data.synthetic.draws import Array, Rng, direction, generator, surface_colour
from stablenormal.data.synthetic.lighting import COUNT, Lighting, shadow_clip
from stablenormal.data.synthetic.materials import FIELDS
from stablenormal.data.synthetic.meshes import Mesh, scaling, transformed, translation
from stablenormal.data.synthetic.rasteriser import Map, Rasteriser
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.shapes import figurine
from stablenormal.data.synthetic.textures import SIZE, environment
from stablenormal.errors import SettingError
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.geometry.posed import PosedCamera
from stablenormal.io import png
from stablenormal.io.atomic import write_bytes
from stablenormal.io.depth_map import write_depth_map
from stablenormal.io.mesh import write_mesh
from stablenormal.io.normal_map import write_normal_map
from stablenormal.io.transforms_json import write_transforms

MESH_NAME = "mesh.ply"
NORMALS_FOLDER = "normals"

FOV_DEG = 40.0
DISTANCE = 3.1
"""Of the cameras from the middle of the object, whose radius is 1."""

LATTICE = 96
"""Fineness of the object's triangles."""

_SCENE, _LIGHT = 0, 1
"""Last part of the key of each random stream."""


def write_posed_scene(folder: Path | str, seed: int, views: int = 24, size: int = 128) -> None:
    """Render an object all around; the last file written is `transforms.json`.

    Writes images/000.png with the object's coverage as alpha, normals/000_normal.png (16 bit, OpenGL camera),
    depth/000_depth.npy, mesh.ply (the exact surface, radius 1 about the origin), and transforms.json, which
    `stablenormal.io.scene_formats.read_scene` reads.

    Args:
        folder: made if missing.
        seed: of the shape, its colour and the light.
        views: photographs, on a spiral around the object.
        size: side of the photographs in pixels.

    Raises:
        SettingError: if there are fewer than two views or the size is under 16, or OpenGL is missing.
        OutputError: if a file cannot be written.
    """
    if views < 2 or size < 16:
        raise SettingError(f"{views} views of {size} px show no surface; choose at least 2 views of 16 px")
    folder = Path(folder)
    mesh = statue(generator(seed, _SCENE))
    rng = generator(seed, _LIGHT)
    scene = _alone(mesh)
    rasteriser = Rasteriser(size)
    try:
        rasteriser.load_bank(_plain_bank(rng))
        rasteriser.load_scene(scene)
        rasteriser.set_materials(_matt(surface_colour(rng)))
        rasteriser.set_lighting(_still_light(rng, scene))
        _write_views(folder, rasteriser, spiral(views), size)
    finally:
        rasteriser.close()
    write_mesh(folder / MESH_NAME, _as_triangles(mesh))


def statue(rng: Rng) -> Mesh:
    """The largest part of a figurine, of fine triangles, of radius 1 about the origin."""
    mesh = _largest_part(figurine(rng, LATTICE))
    low, high = mesh.bounds()
    mesh = transformed(mesh, translation(-(low + high) / 2))
    radius = float(np.linalg.norm(mesh.positions, axis=1).max())
    return transformed(mesh, scaling(1 / radius))


def _largest_part(mesh: Mesh) -> Mesh:
    ends = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    # Vertices at one place are one: a mesh holds them once for each normal and texture coordinate.
    _, place = np.unique(mesh.positions, axis=0, return_inverse=True)
    count = int(place.max()) + 1
    links = coo_matrix((np.ones(len(ends)), place[ends].T), shape=(count, count))
    _, part = connected_components(links, directed=False)
    of_face = part[place[mesh.faces[:, 0]]]
    used, faces = np.unique(mesh.faces[of_face == np.bincount(of_face).argmax()], return_inverse=True)
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3).astype(np.int32))


def spiral(views: int) -> list[Camera]:
    """Cameras that look at the origin, twice around it while they rise from below to above."""
    cameras = []
    for place in range(views):
        share = (place + 0.5) / views
        rise, turn = np.arcsin(-0.45 + 1.3 * share), 4 * np.pi * share * (1 + 1 / views)
        eye = DISTANCE * np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        cameras.append(Camera(eye, looking(-eye), FOV_DEG, 0.5, 10.0, "object"))
    return cameras


def _write_views(folder: Path, rasteriser: Rasteriser, cameras: list[Camera], size: int) -> None:
    posed, extra, pictures = {}, {}, []
    for place, camera in enumerate(cameras):
        name = f"{place:03d}"
        geometry = rasteriser.gbuffer(camera)
        pictures.append(rasteriser.colour(camera, reach=0.2))
        write_normal_map(folder / NORMALS_FOLDER / f"{name}_normal.png", geometry.normals)
        image = f"images/{name}.png"
        extra[image] = {"depth_file_path": f"depth/{name}_depth.npy"}
        write_depth_map(folder / extra[image]["depth_file_path"], geometry.depth)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.world_to_camera.T, camera.eye
        posed[image] = PosedCamera(camera.intrinsics(size), pose)
    for image, rgba in zip(posed, _developed(pictures), strict=True):
        write_bytes(folder / image, png.encode(rgba, {}))
    write_transforms(folder / "transforms.json", posed, extra)


def _developed(pictures: Sequence[tuple[Map, Map]]) -> Iterator[npt.NDArray[np.uint8]]:
    """RGBA (H, W, 4) of linear light and coverage, all with one exposure."""
    lights = [colour / np.maximum(coverage, 1e-6)[..., None] for colour, coverage in pictures]
    shown = np.concatenate(
        [light[coverage > 0] for light, (_, coverage) in zip(lights, pictures, strict=True)]
    )
    gain = 0.8 / float(np.percentile(shown, 98))
    for light, (_, coverage) in zip(lights, pictures, strict=True):
        coded = np.clip(light * gain, 0, 1) ** (1 / 2.2)
        rgba = np.concatenate([np.where(coverage[..., None] > 0, coded, 1), coverage[..., None]], axis=-1)
        yield np.rint(rgba * 255).astype(np.uint8)


def _alone(mesh: Mesh) -> Scene:
    build = SceneBuilder("object")
    build.add(mesh, build.slot("object"), build.instance("object"))
    low, high = mesh.bounds()
    return build.bake(low, high, has_ground=False)


def _plain_bank(rng: Rng) -> Bank:
    grey = np.full((1, SIZE, SIZE, 4), 128, np.uint8)
    return Bank(grey, {"plain": [0]}, environment(rng)[None], (), ())


def _matt(colour: Array) -> npt.NDArray[np.float32]:
    """One material (1, FIELDS) without texture, bumps or gloss."""
    tint = np.clip(colour**2.2, 0.1, 1)
    numbers = [0, 1, 0, 1, *tint, 0, *tint, 1, 0, 0, 0, 0, 0, 0]
    assert len(numbers) == FIELDS
    return np.array([numbers], np.float32)


def _still_light(rng: Rng, scene: Scene) -> Lighting:
    """Two far lamps with shadows and a soft surrounding; no flash, nothing that turns with the camera."""
    lamps, colours = np.zeros((COUNT, 4)), np.zeros((COUNT, 3))
    for index, strength in enumerate((1.6, 0.8)):
        lamps[index, :3] = direction(rng, up=0.2)
        colours[index] = strength
    return Lighting(
        lamps=lamps,
        colours=colours,
        environment=0,
        ambient=0.8,
        softness=0.004,
        shadow_clips=np.stack([shadow_clip(scene, lamps[index]) for index in range(2)]),
        flash=False,
        occlusion=0.0,
        bounce=0.0,
    )


def _as_triangles(mesh: Mesh) -> TriangleMesh:
    """For a file; faces wound so that they are counter-clockwise from outside."""
    corners = mesh.positions[mesh.faces]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = mesh.vertices[mesh.faces[:, 0], 3:6]
    backward = (facing * outward).sum(1) < 0
    faces = np.where(backward[:, None], mesh.faces[:, ::-1], mesh.faces)
    return TriangleMesh(mesh.positions, mesh.vertices[:, 3:6], mesh.vertices[:, 6:8], faces.astype(np.int32))
