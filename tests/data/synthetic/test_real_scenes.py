"""Scenes with models that others made."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic.assets import load_bank, prepared_bank
from stablenormal.data.synthetic.bank import Bank, build_bank
from stablenormal.data.synthetic.cameras import Camera, looking, place_camera
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.lighting import COUNT, Lighting, shadow_clip
from stablenormal.data.synthetic.materials import FIELDS, ROLES, Paint, draw_materials, draw_painted
from stablenormal.data.synthetic.meshes import translation
from stablenormal.data.synthetic.placing import put_asset
from stablenormal.data.synthetic.rasteriser import Rasteriser
from stablenormal.data.synthetic.real_scenes import REAL_BUILDERS, TRIANGLE_BUDGET
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.scenes import BUILDERS

OWN = ("room", "tabletop", "object", "closeup", "lattice", "statue", "street")
"""Kinds that show models."""


@pytest.fixture(scope="module")
def scenes(real_bank: Bank) -> dict[str, list[Scene]]:
    return {
        kind: [REAL_BUILDERS[kind](generator(k, 8), real_bank) for k in range(8)] for kind in REAL_BUILDERS
    }


@pytest.mark.parametrize("kind", REAL_BUILDERS)
def test_scene_is_whole(scenes: dict[str, list[Scene]], real_bank: Bank, kind: str) -> None:
    for scene in scenes[kind]:
        assert scene.kind == kind
        assert np.isfinite(scene.vertices).all() and scene.faces.max() < len(scene.vertices)
        assert scene.vertices[:, 8].max() < len(scene.roles) and set(scene.roles) <= set(ROLES)
        assert scene.vertices[:, 9].max() < len(scene.instance_classes)
        assert (scene.high > scene.low).all()
        assert all(slot < len(scene.roles) for slot in scene.paints)
        assert all(paint.picture < len(real_bank.textures) for paint in scene.paints.values())


@pytest.mark.parametrize("kind", OWN)
def test_models_are_used_and_the_seed_decides(
    scenes: dict[str, list[Scene]], real_bank: Bank, kind: str
) -> None:
    assert any(scene.paints for scene in scenes[kind])
    again = REAL_BUILDERS[kind](generator(2, 8), real_bank)
    np.testing.assert_array_equal(again.vertices, scenes[kind][2].vertices)
    assert again.paints == scenes[kind][2].paints


def test_rooms_hold_cabinets_chairs_and_tables_of_models(scenes: dict[str, list[Scene]]) -> None:
    seen: set[str] = set()
    for scene in scenes["room"]:
        painted = np.isin(scene.vertices[:, 8], list(scene.paints))
        instances = np.unique(scene.vertices[painted, 9]).astype(int)
        seen |= {CLASSES[scene.instance_classes[k]] for k in instances}
        tall = scene.vertices[:, 2].max()
        assert tall < 3.6  # metres, not centimetres
    assert {"cabinet", "table", "chair", "object"} <= seen
    assert any(scene.fronts for scene in scenes["room"]) and any(scene.tops for scene in scenes["room"])


@pytest.mark.parametrize("kind", REAL_BUILDERS)
def test_cameras_find_their_place(scenes: dict[str, list[Scene]], kind: str) -> None:
    for scene in scenes[kind][:4]:
        for seed in range(10):
            camera = place_camera(generator(seed, 1), scene)
            assert np.isfinite(camera.eye).all() and 0 < camera.near < camera.far


def test_every_kind_is_built_from_one_little_model(handmade: ModuleType, tmp_path: Path) -> None:
    """A folder of one cup: no chair, no cabinet, nothing to hang."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "cup.glb").write_bytes(handmade.cube_glb(0.1))
    bank = build_bank(generator(3), fraction=0.02, assets=load_bank(prepared_bank([folder], tmp_path)[0]))
    for kind, builder in REAL_BUILDERS.items():
        for seed in range(6):
            assert builder(generator(seed), bank).kind == kind


def test_a_scene_keeps_to_its_budget(real_bank: Bank) -> None:
    heavy = tuple(replace(asset, triangles=TRIANGLE_BUDGET // 3) for asset in real_bank.assets)
    bank = replace(real_bank, assets=heavy)
    light = sum(len(REAL_BUILDERS["tabletop"](generator(k), real_bank).paints) for k in range(6))
    few = sum(len(REAL_BUILDERS["tabletop"](generator(k), bank).paints) for k in range(6))
    assert 0 < few < light and few <= 18


def test_without_models_nothing_is_painted(bank: Bank) -> None:
    assert bank.assets == ()
    assert not any(BUILDERS[kind](generator(1), bank).paints for kind in BUILDERS)


def test_paint_gives_colour_picture_glass_and_metal(bank: Bank) -> None:
    draw = lambda paint: np.array(  # noqa: E731
        [draw_painted(generator(k), paint, "plastic", bank.layers, 0.0) for k in range(200)]
    )
    red = draw(Paint((0.9, 0.1, 0.1)))
    assert red.shape == (200, FIELDS)
    assert np.mean(red[:, 4] > 2 * red[:, 5]) > 0.5 and not red[:, 15].any()
    pictured = draw(Paint((1, 1, 1), picture=7))
    assert (pictured[:, 0] == 7).all() and (pictured[:, 1] == 1).all()  # once per unit of the model's own
    assert not pictured[:, 13].any() and not pictured[:, 2].any()  # not turned, no bumps
    shift = pictured[:, 14] * 50  # what the shader moves textures by
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-6)
    glass = draw(Paint((0.9, 0.9, 0.9), opacity=0.2))
    assert (glass[:, 15] >= 0.3).all() and (glass[:, 3] <= 0.2).all()
    metal = draw(Paint((0.6, 0.6, 0.6), metal=True, gloss=0.9))
    assert (metal[:, 7] == 1).all() and np.median(metal[:, 3]) < 0.5


def test_materials_follow_the_paints_of_their_slots(bank: Bank) -> None:
    rows = draw_materials(generator(1), ["object", "wall"], bank.layers, {}, {0: Paint((1, 1, 1), picture=3)})
    plain = draw_materials(generator(1), ["object", "wall"], bank.layers, {})
    assert rows[0, 0] == 3 and rows.shape == plain.shape


def test_a_picture_is_seen_where_the_model_has_it(real_bank: Bank) -> None:
    """The front of a cube under a picture: red above blue, as in the file."""
    asset = next(asset for asset in real_bank.assets if asset.parts[0].own_texture)
    build = SceneBuilder("object")
    put_asset(build, generator(1), asset, translation([0, 0, 0]))
    scene = build.bake(asset.low, asset.high, has_ground=False)
    rasteriser = Rasteriser(64)
    try:
        rasteriser.load_bank(real_bank)
        rasteriser.load_scene(scene)
        row = draw_painted(generator(5), scene.paints[0], "object", real_bank.layers, 0.0)
        row[[3, 4, 5, 6, 7, 11, 15, 16]] = [1, 1, 1, 1, 0, 0, 0, 0]  # matt, in the picture's own colours
        rasteriser.set_materials(row[None].astype(np.float32))
        lamps, colours = np.zeros((COUNT, 4)), np.zeros((COUNT, 3))
        lamps[0], colours[0] = [0, -1, 0.01, 0], [3, 3, 3]
        clips = np.stack([shadow_clip(scene, lamps[k]) for k in range(2)])
        rasteriser.set_lighting(Lighting(lamps, colours, 0, 0.01, 0.001, clips, False, 1.0, 0.0))
        eye = scene.centre - [0, 3 * scene.radius, 0]
        camera = Camera(eye, looking(np.array([0.0, 1, 0])), 60.0, 0.05, 30.0, "test")
        geometry = rasteriser.gbuffer(camera)
        colour, _ = rasteriser.colour(camera, 0.1)
    finally:
        rasteriser.close()
    rows, columns = np.nonzero(geometry.depth)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    quarter = lambda v, h: colour[int(top + v * (bottom - top)), int(left + h * (right - left))]  # noqa: E731
    assert quarter(0.25, 0.25)[0] > 5 * quarter(0.25, 0.25)[2]
    assert quarter(0.75, 0.25)[2] > 5 * quarter(0.75, 0.25)[0]
    assert quarter(0.25, 0.75)[0] < 0.6 * quarter(0.25, 0.25)[0]  # the right half is darker
    np.testing.assert_allclose(
        geometry.normals[(top + bottom) // 2, (left + right) // 2], [0, 0, 1], atol=0.01
    )
