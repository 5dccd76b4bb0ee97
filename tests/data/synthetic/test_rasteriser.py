"""The G-buffer against closed-form ray intersections, and colour against what light must do."""

import moderngl
import numpy as np
import pytest

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic.cameras import Camera, looking
from stablenormal.data.synthetic.lighting import COUNT, Lighting
from stablenormal.data.synthetic.materials import CLEARNESS, FIELDS
from stablenormal.data.synthetic.meshes import Mesh, box, rotation, sphere, transformed, translation
from stablenormal.data.synthetic.rasteriser import GBuffer, Rasteriser, open_context
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.errors import SettingError

CAMERAS = [
    ((0.0, -4.0, 0.0), (0.0, 1.0, 0.0), 0.0, 40.0),
    ((2.5, -2.0, 1.5), (-2.4, 2.1, -1.4), 0.4, 35.0),
    ((-1.5, -3.0, -1.0), (1.4, 3.0, 1.2), -1.2, 55.0),
]


def camera_of(case: tuple[tuple[float, ...], tuple[float, ...], float, float]) -> Camera:
    eye, heading, roll, fov_deg = case
    return Camera(np.array(eye), looking(np.array(heading), roll), fov_deg, 0.1, 50.0, "test")


def scene_of(*meshes: Mesh) -> Scene:
    build = SceneBuilder("object")
    for mesh in meshes:
        build.add(mesh, build.slot("object"), build.instance("object"))
    return build.bake(np.full(3, -1.0), np.full(3, 1.0))


def rays_of(camera: Camera, size: int) -> np.ndarray:
    """World directions (size, size, 3) through the pixel centres, of unit depth along the axis."""
    intrinsics = camera.intrinsics(size)
    u, v = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    local = np.stack(
        [(u - intrinsics.cx) / intrinsics.fx, -(v - intrinsics.cy) / intrinsics.fy, -np.ones_like(u)], -1
    )
    return local @ camera.world_to_camera


def render(rasteriser: Rasteriser, scene: Scene, camera: Camera) -> GBuffer:
    rasteriser.load_scene(scene)
    return rasteriser.gbuffer(camera)


def hit_box(camera: Camera, rays: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth (inf: missed) and world normals of a cube about the origin."""
    with np.errstate(divide="ignore"):
        low, high = (-half - camera.eye) / rays, (half - camera.eye) / rays
    near, far = np.minimum(low, high), np.maximum(low, high)
    entry, leave = near.max(-1), far.min(-1)
    hit = (entry < leave) & (entry > 0)
    normals = np.zeros_like(rays)
    axis = near.argmax(-1)
    np.put_along_axis(normals, axis[..., None], -np.sign(np.take_along_axis(rays, axis[..., None], -1)), -1)
    return np.where(hit, entry, np.inf), normals


def test_an_orthographic_sphere_is_exact(rasteriser: Rasteriser) -> None:
    camera = Camera(
        np.array([4.0, -3.0, 1.0]),
        looking(np.array([-4.0, 3.0, -1.0])),
        1.0,
        0.1,
        20.0,
        "test",
        half_width=1.3,
    )
    found = render(rasteriser, scene_of(sphere(1.0, 6)), camera)
    u, v = np.meshgrid((np.arange(64) + 0.5) / 32 - 1, 1 - (np.arange(64) + 0.5) / 32)
    x, y = 1.3 * u, 1.3 * v
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    assert np.array_equal((found.depth > 0)[np.abs(z - 0.07) > 0.05], (z > 0)[np.abs(z - 0.07) > 0.05])
    inside = z > 0.2
    np.testing.assert_allclose(found.depth[inside], (np.sqrt(26) - z)[inside], atol=1e-3)
    cosine = (found.normals * np.stack([x, y, z], -1)).sum(-1)[inside]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.3


@pytest.mark.parametrize("case", CAMERAS)
def test_sphere_is_exact(rasteriser: Rasteriser, case) -> None:
    camera = camera_of(case)
    found = render(rasteriser, scene_of(sphere(1.0, 6)), camera)
    rays = rays_of(camera, 64)
    a, b, c = (rays**2).sum(-1), 2 * rays @ camera.eye, camera.eye @ camera.eye - 1
    root = b**2 - 4 * a * c
    clear = np.abs(root) > 0.02  # on the outline the triangles end a little earlier
    assert np.array_equal((found.depth > 0)[clear], (root > 0)[clear])
    inside = (root > 0) & clear
    assert inside.sum() > 300
    depth = (-b - np.sqrt(np.maximum(root, 0))) / (2 * a)
    np.testing.assert_allclose(found.depth[inside], depth[inside], atol=1e-3)
    expected = (camera.eye + depth[..., None] * rays) @ camera.world_to_camera.T
    cosine = (found.normals * expected).sum(-1)[inside]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.3


@pytest.mark.parametrize("case", CAMERAS)
def test_box_is_exact_and_never_averaged(rasteriser: Rasteriser, case) -> None:
    camera = camera_of(case)
    found = render(rasteriser, scene_of(box((2, 2, 2))), camera)
    depth, normals = hit_box(camera, rays_of(camera, 64), 1.0)
    hit = np.isfinite(depth)
    agree = (found.depth > 0) == hit
    assert agree.mean() > 0.998  # a ray may graze an edge
    both = hit & (found.depth > 0)
    expected = normals @ camera.world_to_camera.T
    same_face = np.abs(found.normals - expected).max(-1) < 1e-5
    assert same_face[both].mean() > 0.998
    np.testing.assert_allclose(found.depth[both & same_face], depth[both & same_face], atol=1e-4)
    distinct = np.unique(np.round(found.normals[found.depth > 0], 3), axis=0)
    assert len(distinct) <= 3


def test_plane_depth_and_normal(rasteriser: Rasteriser) -> None:
    camera = Camera(
        np.array([0.3, 0.2, 1.7]), looking(np.array([0.5, 1.0, -0.8]), 0.3), 70.0, 0.1, 300.0, "test"
    )
    found = render(rasteriser, scene_of(box((400, 400, 1), (0, 0, -0.5))), camera)
    rays = rays_of(camera, 64)
    near = (rays[..., 2] < -0.05) & (found.depth < 30)
    np.testing.assert_allclose(found.depth[near], (-1.7 / rays[..., 2])[near], rtol=1e-4)
    up = camera.world_to_camera @ [0, 0, 1]
    np.testing.assert_allclose(found.normals[near], np.broadcast_to(up, found.normals[near].shape), atol=1e-5)


def test_instances_labels_and_empty_pixels(rasteriser: Rasteriser) -> None:
    build = SceneBuilder("object")
    for x, label in ((-1.2, "chair"), (1.2, "lamp")):
        build.add(box((1, 1, 1), (x, 0, 0)), build.slot("object"), build.instance(label))
    found = render(rasteriser, build.bake(np.full(3, -2.0), np.full(3, 2.0)), camera_of(CAMERAS[0]))
    assert set(np.unique(found.instances[:, :32])) == {0, 1}
    assert set(np.unique(found.instances[:, 32:])) == {0, 2}
    assert set(np.unique(found.labels)) == {0, CLASSES.index("chair"), CLASSES.index("lamp")}
    empty = found.instances == 0
    assert not found.normals[empty].any() and not found.depth[empty].any() and not found.labels[empty].any()
    np.testing.assert_allclose(np.linalg.norm(found.normals[~empty], axis=-1), 1, atol=1e-6)


def test_normals_face_the_viewer_even_from_inside(rasteriser: Rasteriser) -> None:
    camera = Camera(np.array([0.1, 0.0, 0.2]), looking(np.array([1.0, 0.2, 0.1])), 80.0, 0.05, 10.0, "test")
    found = render(rasteriser, scene_of(sphere(1.0, 4)), camera)
    assert (found.depth > 0).all()
    assert ((found.normals @ camera.world_to_camera) * rays_of(camera, 64)).sum(-1).max() < 1e-6


def test_hidden_parts_are_culled_only_when_out_of_view(rasteriser: Rasteriser) -> None:
    small = box((0.5, 0.5, 0.5))
    alone = render(rasteriser, scene_of(small), camera_of(CAMERAS[1]))
    behind = render(
        rasteriser, scene_of(box((1, 1, 1), (9, -9, 9)), small, sphere(0.2)), camera_of(CAMERAS[1])
    )
    np.testing.assert_array_equal(alone.depth, behind.depth)


def plain_materials(count: int, grey: float) -> np.ndarray:
    """Matt grey, whatever the texture."""
    material = np.zeros((count, FIELDS), np.float32)
    material[:, 1], material[:, 3] = 1, 1
    material[:, 4:7] = material[:, 8:11] = grey
    material[:, 11] = 1
    return material


def sunlight(toward: tuple[float, float, float], strength: float = 3.0, ambient: float = 0.0) -> Lighting:
    lamps, colours = np.zeros((COUNT, 4)), np.zeros((COUNT, 3))
    lamps[0, :3], colours[0] = np.array(toward) / np.linalg.norm(toward), strength
    clip = np.diag([0.2, 0.2, -0.05, 1.0])
    view = np.eye(4)
    view[:3, :3] = looking(-lamps[0, :3])
    view[:3, 3] = view[:3, :3] @ (-lamps[0, :3] * 10)
    clip[2, 3] = -1
    return Lighting(lamps, colours, 0, ambient, 0.001, np.stack([clip @ view] * 2), False, 1.0, 0.0)


def test_sunlit_plane_follows_lambert_and_shadow_is_black(rasteriser: Rasteriser) -> None:
    scene = scene_of(box((8, 8, 0.2), (0, 0, -0.1)), box((1, 1, 0.2), (0, 0, 1.5)))
    rasteriser.load_scene(scene)
    rasteriser.set_materials(plain_materials(2, 0.5))
    rasteriser.set_lighting(sunlight((0, 0, 1)))
    camera = Camera(np.array([0, -4.0, 1.0]), looking(np.array([0, 4.0, -1.0])), 50.0, 0.1, 30.0, "test")
    geometry = rasteriser.gbuffer(camera)
    colour, coverage = rasteriser.colour(camera, 0.5)
    points = camera.eye + geometry.depth[..., None] * rays_of(camera, 64)
    floor = (np.abs(points[..., 2]) < 1e-3) & (geometry.depth > 0)
    lit = floor & (np.abs(points[..., :2]).max(-1) < 2.5) & (np.abs(points[..., :2]).max(-1) > 0.8)
    dark = floor & (np.abs(points[..., :2]).max(-1) < 0.3)
    assert lit.sum() > 50 and dark.sum() > 5
    np.testing.assert_allclose(colour[lit], 3 * 0.5 / np.pi, rtol=0.05)
    assert colour[dark].max() < 0.02
    assert coverage[floor].min() > 0.2


def pane_before_wall(rasteriser: Rasteriser, clearness: float, x: float = 0.0) -> tuple[GBuffer, np.ndarray]:
    """A pane that turns 20 degrees away, in front of a wall lit by the sun; the wall is red."""
    pane = transformed(box((2, 0.05, 2)), translation([x, -1, 0]) @ rotation([0, 0, 1], 0.35))
    rasteriser.load_scene(scene_of(box((8, 0.2, 8), (0, 2, 0)), pane))
    materials = plain_materials(2, 0.9)
    materials[0, 5:7] = materials[0, 9:11] = 0.02
    materials[1, 14], materials[1, CLEARNESS] = 0.04, clearness
    rasteriser.set_materials(materials)
    rasteriser.set_lighting(sunlight((0.3, -1, 0.5)))
    camera = Camera(np.array([0, -5.0, 0]), looking(np.array([0, 1.0, 0])), 50.0, 0.1, 30.0, "test")
    geometry = rasteriser.gbuffer(camera)
    return geometry, rasteriser.colour(camera, 0.3)[0]


def redness(colour: np.ndarray) -> float:
    return float(colour[..., 0].mean() / colour[..., 1:].mean())


def test_glass_shows_what_is_behind_and_keeps_its_own_normals(rasteriser: Rasteriser) -> None:
    geometry, opaque = pane_before_wall(rasteriser, 0.0)
    same, clear = pane_before_wall(rasteriser, 0.95)
    np.testing.assert_array_equal(geometry.normals, same.normals)
    np.testing.assert_array_equal(geometry.depth, same.depth)
    on_pane = geometry.instances == 2
    tilted = np.array([np.sin(0.35), 0, np.cos(0.35)])
    assert (np.abs(same.normals[on_pane] @ tilted) > 0.999).mean() > 0.9
    assert redness(opaque[on_pane]) < 1.3 and redness(clear[on_pane]) > 5


def test_glass_casts_no_shadow(rasteriser: Rasteriser) -> None:
    wall = pane_before_wall(rasteriser, 0.0)[0].instances == 1
    dark, light = (pane_before_wall(rasteriser, c)[1][wall][:, 0] for c in (0.0, 0.95))
    assert dark.min() < 0.02 and light.min() > 0.3


def test_glass_over_nothing_is_partly_covered(rasteriser: Rasteriser) -> None:
    rasteriser.load_scene(scene_of(sphere(1.0, 4)))
    materials = plain_materials(1, 0.9)
    materials[0, 14], materials[0, CLEARNESS] = 0.04, 0.9
    rasteriser.set_materials(materials)
    rasteriser.set_lighting(sunlight((0, -1, 1)))
    camera = camera_of(CAMERAS[0])
    middle = rasteriser.gbuffer(camera).normals[..., 2] > 0.9
    assert 0.05 < rasteriser.colour(camera, 0.2)[1][middle].mean() < 0.5


def test_light_creeps_round_what_is_translucent(rasteriser: Rasteriser) -> None:
    rasteriser.load_scene(scene_of(sphere(1.0, 4)))
    camera, found = camera_of(CAMERAS[0]), []
    for translucency in (0.0, 0.7):
        materials = plain_materials(1, 0.9)
        materials[0, 16] = translucency
        rasteriser.set_materials(materials)
        rasteriser.set_lighting(sunlight((0, 0, 1)))
        beyond = rasteriser.gbuffer(camera).normals
        beyond = (beyond[..., 1] < -0.1) & (beyond[..., 1] > -0.5)
        found.append(rasteriser.colour(camera, 0.2)[0][beyond].mean())
    assert found[0] < 0.01 and found[1] > 0.05


def test_ambient_light_and_materials_change_the_picture(rasteriser: Rasteriser) -> None:
    rasteriser.load_scene(scene_of(sphere(1.0, 3)))
    camera = camera_of(CAMERAS[0])
    rasteriser.gbuffer(camera)
    means = []
    for grey, ambient in ((0.2, 0.1), (0.2, 0.5), (0.8, 0.5)):
        rasteriser.set_materials(plain_materials(1, grey))
        rasteriser.set_lighting(sunlight((0, -1, 1), 1.0, ambient))
        means.append(rasteriser.colour(camera, 0.2)[0].mean())
    assert means[0] < means[1] < means[2]


def test_flash_lights_what_faces_the_camera(rasteriser: Rasteriser) -> None:
    rasteriser.load_scene(scene_of(sphere(1.0, 4)))
    rasteriser.set_materials(plain_materials(1, 0.5))
    base = sunlight((0, 0, 1), 0.0)
    base.colours[3] = 10
    lighting = Lighting(base.lamps, base.colours, 0, 0.0, 0.001, base.shadow_clips, True, 1.0, 0.0)
    rasteriser.set_lighting(lighting)
    camera = camera_of(CAMERAS[0])
    geometry = rasteriser.gbuffer(camera)
    colour, _ = rasteriser.colour(camera, 0.2)
    assert np.isfinite(colour).all()
    facing = geometry.normals[..., 2] > 0.95
    grazing = (geometry.normals[..., 2] < 0.4) & (geometry.depth > 0)
    assert colour[facing].mean() > 3 * colour[grazing].mean()


def test_missing_egl_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("libEGL.so not loaded")

    monkeypatch.setattr(moderngl, "create_context", fail)
    with pytest.raises(SettingError, match="apt-get install libegl1 libgl1-mesa-dri") as caught:
        open_context()
    assert "\n" not in str(caught.value)
