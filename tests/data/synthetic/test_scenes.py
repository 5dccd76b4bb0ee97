"""Scenes, cameras and lights."""

import numpy as np
import pytest

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.cameras import Camera, looking, perspective, place_camera
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.lighting import draw_lighting
from stablenormal.data.synthetic.materials import ROLES
from stablenormal.data.synthetic.meshes import box
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.scenes import BUILDERS


@pytest.fixture(scope="module")
def scenes(bank: Bank) -> dict[str, list[Scene]]:
    return {kind: [BUILDERS[kind](generator(seed, 7), bank) for seed in range(4)] for kind in BUILDERS}


@pytest.mark.parametrize("kind", BUILDERS)
def test_scene_is_whole(scenes: dict[str, list[Scene]], kind: str) -> None:
    for scene in scenes[kind]:
        assert scene.kind == kind
        assert np.isfinite(scene.vertices).all() and scene.faces.max() < len(scene.vertices)
        assert scene.vertices[:, 8].max() < len(scene.roles)
        assert scene.vertices[:, 9].min() >= 1 and scene.vertices[:, 9].max() < len(scene.instance_classes)
        assert scene.instance_classes[0] == 0 and scene.instance_classes[1:].min() > 0
        assert scene.part_ranges[:, 1].sum() == len(scene.faces)
        assert set(scene.roles) <= set(ROLES)
        assert (scene.high > scene.low).all() and len(scene.faces) < 300_000


@pytest.mark.parametrize("kind", BUILDERS)
def test_scene_repeats_from_its_seed(bank: Bank, kind: str) -> None:
    first, again, other = (BUILDERS[kind](generator(seed), bank) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert first.vertices.shape != other.vertices.shape or not np.array_equal(first.vertices, other.vertices)


def test_rooms_hold_what_the_first_model_got_wrong(scenes: dict[str, list[Scene]]) -> None:
    seen = {CLASSES[k] for scene in scenes["room"] for k in scene.instance_classes}
    assert {"wall", "floor", "ceiling", "cabinet", "chair", "table"} <= seen
    assert any(scene.fronts for scene in scenes["room"]) and any(scene.tops for scene in scenes["room"])


def test_parts_lie_inside_their_balls(scenes: dict[str, list[Scene]]) -> None:
    scene = scenes["tabletop"][0]
    for (first, count), centre, radius in zip(
        scene.part_ranges, scene.part_centres, scene.part_radii, strict=True
    ):
        points = scene.vertices[scene.faces[first : first + count].ravel(), :3]
        assert np.linalg.norm(points - centre, axis=1).max() <= radius + 1e-3


def test_furniture_fronts_face_into_the_room(scenes: dict[str, list[Scene]]) -> None:
    for scene in scenes["room"]:
        for middle, facing, size in scene.fronts:
            assert abs(facing[2]) < 1e-6 and size > 0
            assert np.linalg.norm(facing) == pytest.approx(1, abs=0.15)
            assert np.linalg.norm(middle[:2]) < 6


def test_builder_bakes_slots_and_instances() -> None:
    build = SceneBuilder("object")
    glow = build.slot("any", emission=2.0)
    build.add(box((1, 1, 1)), glow, build.instance("lamp"))
    build.add_box((1, 2, 3), (4, 0, 0), build.slot("wall"), build.instance("wall"))
    scene = build.bake(np.zeros(3), np.ones(3))
    assert scene.emissions == {0: 2.0} and scene.roles == ("any", "wall")
    assert [CLASSES[k] for k in scene.instance_classes] == ["background", "lamp", "wall"]
    assert scene.radius == pytest.approx(3**0.5 / 2)


@pytest.mark.parametrize("kind", BUILDERS)
def test_cameras_are_cameras(scenes: dict[str, list[Scene]], kind: str) -> None:
    fovs, rolls, pitches = [], [], []
    for scene in scenes[kind]:
        for seed in range(40):
            camera = place_camera(generator(seed, 1), scene)
            turn = camera.world_to_camera
            np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(turn) == pytest.approx(1)
            assert 0 < camera.near < camera.far
            fovs.append(camera.fov_deg)
            pitches.append(np.degrees(np.arcsin(-turn[2, 2])))
            rolls.append(np.degrees(np.arctan2(turn[0, 2], turn[1, 2])))
            if kind == "room":
                assert (camera.eye > scene.low).all() and (camera.eye < scene.high).all()
            if scene.backdrop and kind not in ("tabletop",):
                assert camera.eye[1] <= scene.high[1]  # on this side of the wall behind
            if scene.has_ground and kind not in ("foliage", "object"):
                assert camera.eye[2] > 0
    low, high = (15, 80) if kind == "object" else (30, 100)
    assert low <= min(fovs) and max(fovs) <= high and np.ptp(fovs) > 0.6 * (min(high, 78) - low)
    assert np.std(pitches) > 3 and np.std(rolls) > 1


def test_intrinsics_and_clip_matrix_agree() -> None:
    camera = Camera(np.array([1.0, 2, 3]), looking(np.array([-1.0, -0.5, 0.2]), 0.3), 50.0, 0.1, 30.0, "test")
    point = camera.eye + np.array([-3.0, -1.2, 0.9])
    local = camera.world_to_camera @ (point - camera.eye)
    k = camera.intrinsics(100)
    pixel = np.array([k.cx + k.fx * local[0] / -local[2], k.cy - k.fy * local[1] / -local[2]])
    clip = camera.clip() @ np.append(point, 1)
    screen = clip[:2] / clip[3]
    np.testing.assert_allclose([(screen[0] + 1) * 50, (1 - screen[1]) * 50], pixel)
    np.testing.assert_allclose(camera.view() @ np.append(point, 1), np.append(local, 1))


def test_perspective_maps_near_and_far_to_the_ends() -> None:
    matrix = perspective(60.0, 0.5, 20.0)
    for depth, end in ((0.5, -1), (20.0, 1)):
        clip = matrix @ [0, 0, -depth, 1]
        assert clip[2] / clip[3] == pytest.approx(end)


def test_lights_range_from_one_hard_light_to_soft_sky(scenes: dict[str, list[Scene]]) -> None:
    scene = scenes["object"][0]
    drawn = [draw_lighting(generator(seed), scene, 30) for seed in range(200)]
    counts = [int(light.colours.any(1).sum()) for light in drawn]
    ambient = np.array([light.ambient for light in drawn])
    assert min(counts) == 1 and max(counts) >= 3
    assert np.mean(ambient < 0.12) > 0.2 and np.mean(ambient > 0.5) > 0.15
    assert 0.03 < np.mean([light.flash for light in drawn]) < 0.2
    assert all(0 <= light.environment < 30 and np.isfinite(light.shadow_clips).all() for light in drawn)


def test_streets_stand_under_a_sky(scenes: dict[str, list[Scene]]) -> None:
    assert all(scene.outdoors for scene in scenes["street"])
    assert {
        draw_lighting(generator(seed), scenes["street"][0], 30).environment >= 18 for seed in range(20)
    } == {True}


def test_shadow_maps_see_the_scene(scenes: dict[str, list[Scene]]) -> None:
    scene = scenes["object"][1]
    for seed in range(20):
        light = draw_lighting(generator(seed), scene, 30)
        clip = light.shadow_clips[0] @ np.append(scene.centre, 1)
        assert (np.abs(clip[:3] / clip[3]) < 1).all()
