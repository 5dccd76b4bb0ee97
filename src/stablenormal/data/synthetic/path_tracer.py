"""A path tracer for the scenes of the rasteriser: Mitsuba 3, with true shadows, reflections and bounces."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic import mitsuba_lights as lights
from stablenormal.data.synthetic import mitsuba_materials as materials
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.cameras import Camera
from stablenormal.data.synthetic.denoising import combined, denoised
from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.lighting import Lighting
from stablenormal.data.synthetic.rasteriser import GBuffer, Map
from stablenormal.data.synthetic.scene import Scene
from stablenormal.errors import SettingError
from stablenormal.geometry.camera import pixel_rays

DEFAULT_VARIANT = "scalar_rgb"
"""Runs everywhere and repeats bit for bit."""
VARIANTS = (DEFAULT_VARIANT, "llvm_ad_rgb", "cuda_ad_rgb")
DEPTH, CLEAR_DEPTH, ROULETTE_DEPTH = 6, 10, 4
"""Edges of a path, camera to light: a seventh adds less than a hundredth of the light to a room."""
FREE_SPACE = 0.25
"""Metres that a lamp of a room must see around it in most directions; else it stands inside furniture."""
_AHEAD = 1e-4
"""Metres between the two sides of an open surface that glows on both."""
_GEOMETRY: dict[str, Any] = {"type": "aov", "aovs": "n:sh_normal,g:geo_normal,p:position,i:prim_index"}
_PAINT: dict[str, Any] = {"type": "aov", "aovs": "a:albedo"}
_FIRST: dict[str, Any] = {"type": "depth"}
_FEW: dict[str, Any] = {"type": "ldsampler", "sample_count": 4}
_CENTRES: dict[str, Any] = {"type": "stratified", "sample_count": 1, "jitter": False}
"""The sampler that looks through the pixel centres."""
_PROBE = """
import mitsuba
mitsuba.set_variant({variant!r})
film = {{"type": "hdrfilm", "width": 8, "height": 8}}
scene = {{"type": "scene", "ball": {{"type": "sphere"}}, "light": {{"type": "constant"}},
         "path": {{"type": "path"}}, "sensor": {{"type": "perspective", "film": film}}}}
assert mitsuba.render(mitsuba.load_dict(scene), spp=1).shape[0] == 8
"""


class PathTracer:
    """Renders scenes that use one bank, at one size. Load a scene, dress it, then render views of it.

    The methods are those of the Rasteriser. The maps of `gbuffer` are the same geometry; `colour` follows
    light through the scene. The same view gives the same bytes in the variant scalar_rgb.
    """

    def __init__(self, size: int, samples_per_pixel: int = 32, variant: str = DEFAULT_VARIANT) -> None:
        """Load Mitsuba for images of `size` by `size` pixels.

        Raises:
            SettingError: if Mitsuba is missing, or the variant cannot run here.
        """
        self.size, self.samples_per_pixel = size, samples_per_pixel
        self._mitsuba = load_mitsuba(variant)
        self._bank: Bank | None = None
        self._dressed: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._scene: Scene | None = None

    def load_bank(self, bank: Bank) -> None:
        """Take the textures and environments that scenes refer to."""
        self._bank = bank

    def load_scene(self, scene: Scene) -> None:
        """Take a scene's triangles; before asking for colour, set its materials and lighting."""
        self._scene, self._dressed = scene, None
        shape = self._mesh(scene.vertices, scene.faces, {})
        self._geometry_scene = self._load({"shape": shape})

    def set_materials(self, materials: Map) -> None:
        """Give every slot of the loaded scene its material, (slots, FIELDS)."""
        self._materials = np.asarray(materials, float)
        self._dressed = None

    def set_lighting(self, lighting: Lighting) -> None:
        """Light the loaded scene; a lamp that stands inside furniture is moved out of it."""
        scene = self._loaded()
        lamps = lighting.lamps.copy()
        for lamp, colour in zip(lamps, lighting.colours, strict=True):
            if scene.kind == "room" and lamp[3] > 0.5 and colour.any():
                lamp[:3] = self._freed(lamp[:3])
        self._lighting = replace(lighting, lamps=lamps)
        self._dressed = None

    def gbuffer(self, camera: Camera) -> GBuffer:
        """Exact geometry at the pixel centres."""
        scene = self._loaded()
        maps = self._render(self._geometry_scene, camera, _GEOMETRY, _CENTRES)
        shading, face, points = (maps[..., k : k + 3].astype(float) for k in (0, 3, 6))
        hit = (face != 0).any(-1)
        triangles = np.rint(maps[..., 9]).astype(np.int64)
        tags = np.rint(scene.vertices[scene.faces[triangles, 0], 9]).astype(np.uint16)
        instances = np.where(hit, tags, 0).astype(np.uint16)
        normals = _facing(shading, face, camera.eye - points)
        depth = (camera.eye - points) @ camera.world_to_camera[2]
        return GBuffer(
            normals=np.where(hit[..., None], normals @ camera.world_to_camera.T, 0).astype(np.float32),
            depth=np.where(hit, depth, 0).astype(np.float32),
            instances=instances,
            labels=scene.instance_classes[instances],
        )

    def colour(self, camera: Camera, reach: float) -> tuple[Map, Map]:
        """Colour of a view, path traced and denoised.

        Args:
            camera: the view; its pose is also the seed of the samples.
            reach: of no effect here; the rasteriser needs it to limit what it makes up for bounced light.

        Returns:
            Linear RGB (H, W, 3) already weighted by coverage, and coverage (H, W) in [0, 1].
        """
        del reach
        lit, integrator = self._lit_scene(camera), self._paths()
        sampler = _batch(self.samples_per_pixel)
        seed = crc32(np.concatenate([camera.eye, camera.world_to_camera.ravel(), [camera.fov_deg]]).tobytes())
        behind = self._behind(camera)
        batches, coverages = [], []
        for number in range(self.samples_per_pixel // sampler["sample_count"]):
            # Both images are of the same rays: these samplers' places in a pixel follow from the seed.
            radiance = self._render(lit, camera, integrator, sampler, (seed + number) % 2**32)
            first = self._render(self._geometry_scene, camera, _FIRST, sampler, (seed + number) % 2**32)
            covered = first[..., 3:]
            surfaces = radiance[..., :3] - (1 - covered) * behind * self._lighting.ambient
            batches.append(np.where(covered > 0, np.maximum(surfaces, 0), 0))
            coverages.append(covered)
        albedo = self._render(self._load(self._dressed_shapes()[1]), camera, _PAINT, _FEW, seed)
        directions = pixel_rays(camera.intrinsics(self.size)).astype(np.float32)
        clean = denoised(combined(np.stack(batches)), albedo, self.gbuffer(camera), directions)
        seen = np.mean(coverages, 0)
        if self._loaded().outdoors:
            clean, seen = clean + behind * (1 - seen), np.ones_like(seen)
        return clean.astype(np.float32), seen[..., 0].astype(np.float32)

    def _paths(self) -> dict[str, Any]:
        """The integrator, with longer paths where light must pass the walls of glasses."""
        clear = bool((self._materials[:, 15] > 0).any())
        return {"type": "path", "max_depth": CLEAR_DEPTH if clear else DEPTH, "rr_depth": ROULETTE_DEPTH}

    def _behind(self, camera: Camera) -> Map:
        """The environment as the camera would see it without the scene, (H, W, 3); zero around a room."""
        if not lights.has_environment(self._loaded()):
            return np.zeros((self.size, self.size, 3), np.float32)
        sky = self._environments()[self._lighting.environment]
        empty = self._load({"sky": lights.environment(self._mitsuba, sky, 1.0)})
        return self._render(empty, camera, {"type": "path", "max_depth": 1}, _CENTRES)[..., :3]

    def _lit_scene(self, camera: Camera) -> Any:
        """The loaded scene under its materials and lights."""
        lamps = self._lamps(camera.eye)
        weights = lights.sampling_weights(lamps | self._glows())
        plugins = {name: light.plugin | {"sampling_weight": weights[name]} for name, light in lamps.items()}
        return self._load(self._dressed_shapes()[0] | plugins)

    def _lamps(self, eye: Array) -> dict[str, lights.Emitter]:
        return lights.emitters(self._mitsuba, self._loaded(), self._lighting, self._environments(), eye)

    def _glows(self) -> dict[str, lights.Emitter]:
        """The emitters of the glowing slots, by the names of their shapes."""
        scene, slots = self._loaded(), self._slot_of_face()
        found = {}
        for slot in scene.emissions:
            corners = scene.vertices[scene.faces[slots == slot], :3].astype(float)
            sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            area = float(np.linalg.norm(sides, axis=1).sum() / 2)
            tint = self._materials[slot, 4:7]
            radiance = lights.glow(scene, slot, self._lighting, tint, self._environments())
            found[f"slot_{slot}"] = lights.glowing(scene, radiance, area)
        return found

    def _dressed_shapes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A Mitsuba mesh for each slot, once with its surface and its light, once with its paint alone."""
        if self._dressed is None:
            glows = self._glows()
            weights = lights.sampling_weights(self._lamps(self._loaded().centre) | glows)
            lit, matt, slots = {}, {}, self._slot_of_face()
            for slot in np.unique(slots).tolist():
                name = f"slot_{slot}"
                glow = glows[name].plugin | {"sampling_weight": weights[name]} if name in glows else None
                lit[name], matt[name] = self._dressed_slot(slot, slots == slot, glow)
            self._dressed = lit, matt
        return self._dressed

    def _dressed_slot(
        self, slot: int, mine: npt.NDArray[np.bool_], glow: dict[str, Any] | None
    ) -> tuple[Any, Any]:
        scene, mitsuba, material = self._loaded(), self._mitsuba, self._materials[slot]
        texture = self._loaded_bank().textures[int(material[0])]
        paint = materials.paint(mitsuba, texture, material)
        used, faces = np.unique(scene.faces[mine], return_inverse=True)
        vertices, faces = scene.vertices[used].copy(), faces.reshape(-1, 3)
        vertices[:, 6:8] = materials.texture_coordinates(vertices[:, 6:8], material)
        matt = self._mesh(vertices, faces, {"bsdf": materials.matt(mitsuba, paint)})
        props = {"bsdf": materials.surface(mitsuba, paint, texture, material)}
        if glow is not None:
            props["emitter"] = mitsuba.load_dict(glow)
            if scene.roles[slot] == "shade":
                vertices, faces = _both_sides(vertices, faces)
        return self._mesh(vertices, _outward(vertices, faces), props), matt

    def _load(self, parts: dict[str, Any]) -> Any:
        return self._mitsuba.load_dict({"type": "scene", **parts})

    def _mesh(self, vertices: Map, faces: npt.NDArray[Any], props: dict[str, Any]) -> Any:
        """A Mitsuba mesh of vertices (V, 8 or more) and faces (F, 3)."""
        mitsuba = self._mitsuba
        properties = mitsuba.Properties()
        for key, value in props.items():
            properties[key] = value
        mesh = mitsuba.Mesh(
            "mesh",
            len(vertices),
            len(faces),
            has_vertex_normals=True,
            has_vertex_texcoords=True,
            props=properties,
        )
        buffers = mitsuba.traverse(mesh)
        columns = {"vertex_positions": (0, 3), "vertex_normals": (3, 6), "vertex_texcoords": (6, 8)}
        for key, (first, last) in columns.items():
            buffers[key] = np.ascontiguousarray(vertices[:, first:last], np.float32).ravel()
        buffers["faces"] = np.ascontiguousarray(faces, np.uint32).ravel()
        buffers.update()
        return mesh

    def _render(
        self, scene: Any, camera: Camera, integrator: dict[str, Any], sampler: dict[str, Any], seed: int = 0
    ) -> Map:
        """All channels (H, W, C) of a view; a box filter, so that threads cannot change a sum's order."""
        mitsuba = self._mitsuba
        # Mitsuba's camera looks along +z with x to the left.
        pose = np.eye(4)
        pose[:3, :3] = (camera.world_to_camera * [[-1], [1], [-1]]).T
        pose[:3, 3] = camera.eye
        film = {
            "type": "hdrfilm", "width": self.size, "height": self.size, "rfilter": {"type": "box"},
            "pixel_format": "rgba", "component_format": "float32",
        }  # fmt: skip
        sensor = mitsuba.load_dict(
            {
                "type": "perspective", "fov": float(camera.fov_deg), "near_clip": float(camera.near),
                "far_clip": float(camera.far), "to_world": mitsuba.ScalarTransform4f(pose), "film": film,
                "sampler": sampler,
            }
        )  # fmt: skip
        image = mitsuba.render(
            scene,
            sensor=sensor,
            integrator=mitsuba.load_dict(integrator),
            spp=sampler["sample_count"],
            seed=seed,
        )
        return np.array(image, np.float32)

    def _freed(self, place: Array) -> Array:
        """The place (3,), or one under the ceiling where something is all around it."""
        mitsuba = self._mitsuba
        near = 0
        around = lights.sphere_points(16)
        for toward in around:
            ray = mitsuba.Ray3f(mitsuba.Point3f(*place.tolist()), mitsuba.Vector3f(*toward.tolist()))
            hit = self._geometry_scene.ray_intersect_preliminary(ray)
            near += float(np.ravel(hit.t)[0]) < FREE_SPACE
        if near <= len(around) // 2:
            return place
        ceiling = float(self._loaded().high[2])
        return np.array([0.6 * place[0], 0.6 * place[1], ceiling - 1.5 * FREE_SPACE])

    def _slot_of_face(self) -> npt.NDArray[np.int64]:
        scene = self._loaded()
        slots: npt.NDArray[np.int64] = np.rint(scene.vertices[scene.faces[:, 0], 8]).astype(np.int64)
        return slots

    def _environments(self) -> npt.NDArray[np.float32]:
        return self._loaded_bank().environments

    def _loaded(self) -> Scene:
        assert self._scene is not None, "load_scene comes first"
        return self._scene

    def _loaded_bank(self) -> Bank:
        assert self._bank is not None, "load_bank comes first"
        return self._bank

    def close(self) -> None:
        """Nothing is held open; here because the Rasteriser has it."""


def load_mitsuba(variant: str = DEFAULT_VARIANT) -> Any:
    """The mitsuba module with its variant set, using as many threads as OMP_NUM_THREADS allows.

    Compiled variants are tried in a process of their own first: where their LLVM does not suit, they end the
    process, which cannot be caught.

    Raises:
        SettingError: if Mitsuba is missing, or the variant cannot run here.
    """
    try:
        import drjit  # of the extra "pathtrace"
        import mitsuba
    except ImportError:
        raise SettingError(
            "path tracing needs mitsuba; install it: pip install 'stablenormal[pathtrace]'"
        ) from None
    if variant != DEFAULT_VARIANT:
        _try_variant(variant)
    mitsuba.set_variant(variant)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    drjit.set_thread_count(int(threads) if threads.isdigit() and int(threads) > 0 else os.cpu_count() or 1)
    return mitsuba


def _try_variant(variant: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROBE.format(variant=variant)], capture_output=True, text=True
    )
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        reason = next((line for line in lines if "ERROR" in line), lines[-1])
        raise SettingError(
            f"Mitsuba's {variant} does not run here ({reason}); use {DEFAULT_VARIANT}, "
            "or name another LLVM in DRJIT_LIBLLVM_PATH"
        )


def _batch(samples_per_pixel: int) -> dict[str, Any]:
    """The sampler of one batch: 16 or 4 well-spread samples where that divides the number, or a lone one."""
    for count in (16, 4):
        if samples_per_pixel % count == 0:
            return {"type": "ldsampler", "sample_count": count}
    return {"type": "independent", "sample_count": 1}


def _facing(shading: Array, face: Array, to_eye: Array) -> Array:
    """Shading normals turned as the rasteriser does: to the visible side, and never away from the viewer."""
    face = face * np.where((face * to_eye).sum(-1, keepdims=True) < 0, -1, 1)
    shading = shading * np.where((shading * face).sum(-1, keepdims=True) < 0, -1, 1)
    sight = to_eye / np.maximum(np.linalg.norm(to_eye, axis=-1, keepdims=True), 1e-12)
    lean = np.minimum((shading * sight).sum(-1, keepdims=True), 0)
    bent = shading - lean * sight
    return np.asarray(bent / np.maximum(np.linalg.norm(bent, axis=-1, keepdims=True), 1e-12))


def _outward(vertices: Map, faces: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Faces (F, 3) wound so that they face to the side of their vertices' normals."""
    corners, normals = vertices[faces, :3], vertices[faces, 3:6].sum(1)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.where((across * normals).sum(-1, keepdims=True) < 0, faces[:, ::-1], faces)


def _both_sides(vertices: Map, faces: npt.NDArray[Any]) -> tuple[Map, npt.NDArray[Any]]:
    """A surface and, a hair behind it, its other side: Mitsuba's surfaces glow on one side only."""
    back = vertices.copy()
    back[:, :3] -= _AHEAD * back[:, 3:6]
    back[:, 3:6] *= -1
    return np.vstack([vertices, back]), np.vstack([faces, faces + len(vertices)])
