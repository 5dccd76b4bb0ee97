"""The path tracer against the rasteriser, and light against what light must do."""

import builtins
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from stablenormal.cli.synth import synth
from stablenormal.data.sample import Sample
from stablenormal.data.shards import iterate_samples, list_shards
from stablenormal.data.synthetic import path_tracer as tracing
from stablenormal.data.synthetic import writing
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.cameras import Camera, looking, place_camera
from stablenormal.data.synthetic.corpus import CorpusRenderer, Mix, dress
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.lighting import COUNT, Lighting
from stablenormal.data.synthetic.materials import FIELDS
from stablenormal.data.synthetic.meshes import Mesh, box, sphere
from stablenormal.data.synthetic.mitsuba_lights import Emitter, sampling_weights
from stablenormal.data.synthetic.mitsuba_materials import STEEPEST, height_map, painted_colour
from stablenormal.data.synthetic.path_tracer import PathTracer
from stablenormal.data.synthetic.rasteriser import Rasteriser
from stablenormal.data.synthetic.renderers import RendererSettings, check_renderer, open_renderer
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.scenes import BUILDERS
from stablenormal.errors import DataError, SettingError
from stablenormal.geometry.camera import rays

SIZE, LITTLE = 32, 0.01
CAMERA = Camera(
    np.array([0.3, -4.0, 1.0]), looking(np.array([-0.3, 4.0, -1.0]), 0.2), 40.0, 0.1, 50.0, "test"
)


@pytest.fixture(scope="module")
def tracer(bank: Bank) -> PathTracer:
    made = PathTracer(64, samples_per_pixel=4)
    made.load_bank(bank)
    return made


def scene_of(*meshes: Mesh, emission: float = 0.0) -> Scene:
    build = SceneBuilder("object")
    for number, mesh in enumerate(meshes):
        build.add(mesh, build.slot("object", 0.0 if number else emission), build.instance("object"))
    return build.bake(np.full(3, -1.0), np.full(3, 1.0))


def grey(count: int, value: float, **fields: float) -> np.ndarray:
    """Matt grey, whatever the texture; other fields by name."""
    material = np.zeros((count, FIELDS), np.float32)
    material[:, 1], material[:, 3] = 1, 1
    material[:, 4:7] = material[:, 8:11] = value
    material[:, 11] = 1
    for name, number in fields.items():
        material[:, {"bump": 2, "roughness": 3, "metalness": 7, "clearness": 15}[name]] = number
    return material


def lit(sun: float, ambient: float, environment: int = 0, flash: float = 0.0) -> Lighting:
    """A sun from above, an environment, a flash."""
    lamps, colours = np.zeros((COUNT, 4)), np.zeros((COUNT, 3))
    lamps[0, 2], colours[0], colours[3] = 1, sun, flash
    clips = np.stack([np.diag([0.2, 0.2, -0.05, 1.0])] * 2)
    return Lighting(lamps, colours, environment, ambient, 0.001, clips, flash > 0, 1.0, 0.0)


@pytest.mark.parametrize("kind", BUILDERS)
def test_geometry_is_that_of_the_rasteriser(
    tracer: PathTracer, rasteriser: Rasteriser, bank: Bank, kind: str
) -> None:
    scene = BUILDERS[kind](generator(2, 7), bank)
    tracer.load_scene(scene)
    rasteriser.load_scene(scene)
    for seed in range(3):
        camera = place_camera(generator(seed, 5), scene)
        one, two = rasteriser.gbuffer(camera), tracer.gbuffer(camera)
        assert (one.instances == two.instances).mean() > 0.985
        assert (one.labels == two.labels).mean() > 0.985
        alike = (one.instances == two.instances) & (one.instances > 0)
        cosine = (one.normals.astype(float) * two.normals).sum(-1)[alike]
        assert (np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 0.1).mean() > 0.99
        assert (np.abs(two.depth[alike] / one.depth[alike] - 1) < 1e-3).mean() > 0.99
        empty = two.instances == 0
        assert not two.normals[empty].any() and not two.depth[empty].any() and not two.labels[empty].any()
        np.testing.assert_allclose(np.linalg.norm(two.normals[~empty], axis=-1), 1, atol=1e-5)


def test_bumps_do_not_touch_the_geometry(tracer: PathTracer) -> None:
    tracer.load_scene(scene_of(sphere(1.0, 4)))
    before = tracer.gbuffer(CAMERA)
    pictures = []
    for bump in (0.0, 0.3):
        tracer.set_materials(grey(1, 0.5, bump=bump))
        tracer.set_lighting(lit(3.0, 0.2))
        pictures.append(tracer.colour(CAMERA, 0.2)[0])
    np.testing.assert_array_equal(before.normals, tracer.gbuffer(CAMERA).normals)
    assert all(np.isfinite(picture).all() for picture in pictures)
    assert np.abs(pictures[0] - pictures[1]).max() > 0.05


def test_sunlit_plane_follows_lambert_and_the_shadow_is_dark(tracer: PathTracer) -> None:
    tracer.load_scene(scene_of(box((8, 8, 0.2), (0, 0, -0.1)), box((1, 1, 0.2), (0, 0, 1.5))))
    tracer.set_materials(grey(2, 0.5))
    tracer.set_lighting(lit(3.0, 0.0))
    camera = Camera(np.array([0, -4.0, 1.0]), looking(np.array([0, 4.0, -1.0])), 50.0, 0.1, 30.0, "test")
    geometry = tracer.gbuffer(camera)
    colour, coverage = tracer.colour(camera, 0.5)
    directions = rays(camera.intrinsics(tracer.size))[0].permute(1, 2, 0).numpy()
    points = camera.eye + (directions * geometry.depth[..., None]) @ camera.world_to_camera
    floor = (np.abs(points[..., 2]) < 1e-3) & (geometry.depth > 0)
    reach = np.abs(points[..., :2]).max(-1)
    lit_floor, dark = floor & (reach < 2.5) & (reach > 0.9), floor & (reach < 0.2)
    assert lit_floor.sum() > 50 and dark.sum() > 3
    np.testing.assert_allclose(np.median(colour[lit_floor]), 3 * 0.5 / np.pi, rtol=0.15)
    assert colour[dark].max() < 0.4 * 3 * 0.5 / np.pi  # only what the plate throws back
    assert coverage[floor].min() > 0.2


def test_both_renderers_agree_under_the_same_environment(
    tracer: PathTracer, rasteriser: Rasteriser, bank: Bank
) -> None:
    """A mirror ball shows a mirrored, turned or wrongly scaled environment at once."""
    scene = scene_of(sphere(1.0, 4))
    pictures = []
    for renderer in (rasteriser, tracer):
        renderer.load_scene(scene)
        renderer.set_materials(grey(1, 0.8, metalness=1, roughness=0.15))
        renderer.set_lighting(lit(0.0, 1.0, environment=0))
        renderer.gbuffer(CAMERA)
        colour, coverage = renderer.colour(CAMERA, 0.2)
        pictures.append(np.minimum(colour, 1.5).mean(-1))
    inside = rasteriser.colour(CAMERA, 0.2)[1] > 0.999
    one, two = (picture[inside] for picture in pictures)
    assert np.corrcoef(one, two)[0, 1] > 0.9
    assert two.mean() == pytest.approx(one.mean(), rel=0.1)


def test_background_is_not_part_of_an_object(tracer: PathTracer, bank: Bank) -> None:
    tracer.load_scene(scene_of(sphere(0.5, 4)))
    tracer.set_materials(grey(1, 0.0))
    tracer.set_lighting(lit(0.0, 1.0))
    colour, coverage = tracer.colour(CAMERA, 0.2)
    assert not colour[coverage == 0].any() and 0.05 < coverage.mean() < 0.5
    rim = (coverage > 0) & (coverage < 1)
    assert rim.sum() > 20
    assert colour[rim].mean() < 0.15 * bank.environments[0].mean()


def test_glowing_things_glow_and_flash_lights_what_faces_it(tracer: PathTracer) -> None:
    tracer.load_scene(scene_of(sphere(0.3, 3), box((6, 6, 0.2), (0, 0, -0.6)), emission=4.0))
    tracer.set_materials(grey(2, 0.5))
    tracer.set_lighting(lit(0.0, 0.0))
    geometry = tracer.gbuffer(CAMERA)
    colour, coverage = tracer.colour(CAMERA, 0.2)
    ball = (geometry.instances == 1) & (coverage > 0.999)
    assert np.median(colour[ball]) == pytest.approx(2.0, rel=0.05)
    assert colour[geometry.instances == 2].mean() > 0.01

    tracer.load_scene(scene_of(sphere(1.0, 4)))
    tracer.set_materials(grey(1, 0.5))
    tracer.set_lighting(lit(0.0, 0.0, flash=20.0))
    geometry, (colour, _) = tracer.gbuffer(CAMERA), tracer.colour(CAMERA, 0.2)
    facing, grazing = geometry.normals[..., 2] > 0.95, (geometry.normals[..., 2] < 0.4) & (geometry.depth > 0)
    assert colour[facing].mean() > 2 * colour[grazing].mean() > 0


def test_clear_things_let_light_through(tracer: PathTracer) -> None:
    build = SceneBuilder("object")
    build.add(sphere(0.6, 4), build.slot("vessel"), build.instance("object"))
    build.add(box((8, 0.2, 8), (0, 3, 0)), build.slot("wall"), build.instance("wall"))
    scene = build.bake(np.full(3, -1.0), np.full(3, 1.0))
    tracer.load_scene(scene)
    ball = tracer.gbuffer(CAMERA).instances == 1
    means = []
    for clearness in (0.0, 0.9):
        materials = grey(2, 0.9)
        materials[0, 4:7] = materials[0, 8:11] = (0.02, 0.02, 0.02)
        materials[0, 15] = clearness
        tracer.set_materials(materials)
        tracer.set_lighting(lit(0.0, 1.0))
        means.append(tracer.colour(CAMERA, 0.2)[0][ball].mean())
    assert means[1] > 1.3 * means[0]


def test_translucent_things_glow_against_the_light(tracer: PathTracer) -> None:
    tracer.load_scene(scene_of(box((2, 0.02, 2), (0, 0, 0))))
    sheet = tracer.gbuffer(CAMERA).instances == 1
    behind = replace(lit(3.0, 0.0), lamps=np.array([[0, 1.0, 0, 0]] + [[0, 0, 0, 1.0]] * 3))
    means = []
    for translucency in (0.0, 0.7):
        materials = grey(1, 0.8)
        materials[0, 16] = translucency
        tracer.set_materials(materials)
        tracer.set_lighting(behind)
        means.append(tracer.colour(CAMERA, 0.2)[0][sheet].mean())
    assert means[0] < 0.01 and means[1] > 0.05


def test_a_lamp_inside_furniture_is_moved_out(tracer: PathTracer, bank: Bank) -> None:
    build = SceneBuilder("room")
    build.add_box((0.3, 0.3, 0.3), (0, 0, 0.5), build.slot("furniture"), build.instance("cabinet"))
    tracer.load_scene(build.bake(np.array([-2.0, -2, 0]), np.array([2.0, 2, 2.5])))
    np.testing.assert_allclose(tracer._freed(np.array([0, 0, 0.5])), [0, 0, 2.125])
    np.testing.assert_array_equal(tracer._freed(np.array([1.0, 0, 1.5])), [1.0, 0, 1.5])


def test_paint_is_mixed_as_in_the_shader() -> None:
    texture = np.full((4, 4, 4), 128, np.uint8)
    material = grey(1, 0.2)[0].astype(float)
    material[4:7], material[8:11] = (0.9, 0.5, 0.1), (0.1, 0.1, 0.1)
    painted = (128 / 255) ** 2
    material[11] = 0
    np.testing.assert_allclose(painted_colour(texture, material)[0, 0], painted * material[4:7], rtol=1e-5)
    material[11] = 1
    light = painted * 1.6
    expected = material[8:11] * (1 - light) + material[4:7] * light
    np.testing.assert_allclose(painted_colour(texture, material)[0, 0], expected, rtol=1e-5)


def test_bumps_are_never_too_steep_nor_exactly_level() -> None:
    rough = np.random.default_rng(0).integers(0, 256, (64, 64, 4)).astype(np.uint8)
    material = grey(1, 0.5, bump=0.1)[0].astype(float)
    for texture in (rough, np.full_like(rough, 7)):
        height = height_map(texture, material).astype(float)
        slopes = np.hypot(*[(np.roll(height, -1, axis) - height) * 64 for axis in (0, 1)])
        assert np.percentile(slopes, 99) < 1.01 * STEEPEST
        assert (np.abs(np.roll(height, -1, 0) - height) > 0).mean() > 0.95


def test_every_light_is_sampled_and_strong_ones_more_often() -> None:
    weights = sampling_weights({"sun": Emitter({}, 9.0), "lamp": Emitter({}, 1.0), "off": Emitter({}, 0.0)})
    assert weights["sun"] > weights["lamp"] > weights["off"] > 0.1
    assert np.mean(list(weights.values())) == pytest.approx(1)


def samples_of(mix: Mix, renderer: RendererSettings | None) -> list[Sample]:
    with closing(CorpusRenderer(5, SIZE, mix, LITTLE, renderer)) as corpus:
        return list(corpus.samples(0, 3))


def test_same_seed_same_bytes_and_the_same_views_as_the_rasteriser() -> None:
    path = RendererSettings("path", samples_per_pixel=4)
    mix = Mix(room=0, street=0)
    first, again, raster = (samples_of(mix, renderer) for renderer in (path, path, None))
    assert len(first) == 3
    for one, two, other in zip(first, again, raster, strict=True):
        assert np.array_equal(one.image, two.image) and np.array_equal(one.normals, two.normals)
        assert one.meta == two.meta == other.meta and one.intrinsics == other.intrinsics
        assert (one.instances == other.instances).mean() > 0.95
        assert not np.array_equal(one.image, other.image)


def test_samples_per_pixel_take_noise_out(bank: Bank) -> None:
    pictures = {}
    for samples in (1, 4, 48):
        tracer = PathTracer(24, samples)
        tracer.load_bank(bank)
        tracer.load_scene(scene_of(sphere(1.0, 3), box((6, 6, 0.2), (0, 0, -1.1))))
        tracer.set_materials(grey(2, 0.6))
        tracer.set_lighting(lit(1.0, 0.5))
        pictures[samples] = tracer.colour(CAMERA, 0.2)[0]
    far, near = (np.abs(pictures[samples] - pictures[48]).mean() for samples in (1, 4))
    assert 0 < near < far


def test_shards_are_resumed_and_other_settings_refused(tmp_path: Path, monkeypatch) -> None:
    whole = writing.write_corpus
    monkeypatch.setattr(
        writing, "write_corpus", lambda *args, **kwargs: whole(*args, **kwargs, bank_fraction=LITTLE)
    )
    app = typer.Typer()
    app.command()(synth)
    options = ["-o", str(tmp_path), "--count", "2", "--seed", "4", "--size", "24", "--workers", "1"]
    options += ["--shard-size", "1", "--renderer", "path", "--samples-per-pixel", "1"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    assert "2 samples in 2 shards, 2 of them written now" in result.output
    lost = list_shards(tmp_path)[1]
    bytes_before = lost.read_bytes()
    lost.unlink()
    assert "1 of them written now" in CliRunner().invoke(app, options).output
    assert lost.read_bytes() == bytes_before
    assert [sample.image.shape for sample in iterate_samples(tmp_path)] == [(24, 24, 3)] * 2
    for other in (["--samples-per-pixel", "2"], ["--renderer", "raster"]):
        error = CliRunner().invoke(app, [*options, *other]).exception
        assert isinstance(error, DataError) and "holds another corpus" in str(error)


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_kind_of_scene_has_light(tracer: PathTracer, bank: Bank, kind: str) -> None:
    scene = BUILDERS[kind](generator(1, 7), bank)
    tracer.load_scene(scene)
    dress(tracer, generator(1, 8), scene, bank)
    colour, coverage = tracer.colour(place_camera(generator(1, 9), scene), 0.3)
    assert np.isfinite(colour).all() and (colour[coverage > 0.5] > 0).mean() > 0.9
    assert coverage.min() == 1 if scene.outdoors else coverage.max() == 1


@pytest.mark.parametrize("wrong", [{"name": "cycles"}, {"samples_per_pixel": 0}, {"variant": "scalar_mono"}])
def test_impossible_settings_are_refused_in_one_line(wrong: dict) -> None:
    with pytest.raises(SettingError, match="choose from|must be 1 or more") as caught:
        RendererSettings(**wrong)
    assert "\n" not in str(caught.value)


def test_missing_mitsuba_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] in ("mitsuba", "drjit"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for attempt in (open_renderer, lambda settings, size: check_renderer(settings)):
        with pytest.raises(SettingError, match=r"pip install 'stablenormal\[pathtrace\]'") as caught:
            attempt(RendererSettings("path"), 32)
        assert "\n" not in str(caught.value)


def test_a_variant_that_ends_its_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tracing, "_PROBE", "import os, sys; print('LLVM ERROR: {variant}', file=sys.stderr); os.abort()"
    )
    with pytest.raises(
        SettingError, match="llvm_ad_rgb does not run here .LLVM ERROR: llvm_ad_rgb.; use scalar"
    ):
        tracing.load_mitsuba("llvm_ad_rgb")


def test_the_probe_passes_where_the_variant_runs() -> None:
    tracing._try_variant("scalar_rgb")
