import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from stablenormal.errors import ImageShapeError, ModelError, OfflineError, SettingError
from stablenormal.geometry.normals import angular_error_deg, flip_horizontal
from stablenormal.models import denoiser
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.spec import Quality
from stablenormal.pipelines import StableNormal, processing, stable_normal
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.pipelines.quick import predict
from stablenormal.pipelines.two_stage import RefinementPlan, TwoStageSampler

MODES = ("full", "turbo")


class TestPromises:
    @pytest.mark.parametrize("mode", MODES)
    def test_unit_length_at_the_inputs_size(self, pipeline, images, mode):
        output = pipeline(images, mode=mode)
        for image, normals in zip(images, output.normals, strict=True):
            assert normals.shape == image.shape
            assert normals.dtype == torch.float32
            torch.testing.assert_close(normals.norm(dim=0), torch.ones(image.shape[1:]))

    @pytest.mark.parametrize("mode", MODES)
    def test_same_seed_same_bits_and_another_seed_others(self, pipeline, images, mode):
        first, again, other = (pipeline(images, mode=mode, seed=seed).normals for seed in (3, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))

    @pytest.mark.parametrize("mode", MODES)
    def test_batch_of_many_is_many_of_one_exactly(self, pipeline, images, mode):
        together = pipeline(images, mode=mode, seed=3, ensemble=2, uncertainty=True)
        for index, image in enumerate(images):
            alone = pipeline(image, mode=mode, seed=3, ensemble=2, uncertainty=True)
            assert torch.equal(together.normals[index], alone.normals[0])
            assert torch.equal(together.uncertainty_deg[index], alone.uncertainty_deg[0])

    @pytest.mark.parametrize("mode", MODES)
    def test_a_real_batch_is_the_same_to_rounding(self, pipeline, images, mode):
        one = pipeline(images, mode=mode, batch_size=1).normals
        many = pipeline(images, mode=mode, batch_size=3).normals
        for a, b in zip(one, many, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)

    def test_the_global_random_state_stays(self, pipeline, images):
        before = torch.get_rng_state()
        pipeline(images)
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_tensor_is_a_batch_or_one_image(self, pipeline, images):
        stacked = torch.stack([images[0], images[2]])
        assert torch.equal(pipeline(stacked).normals[1], pipeline(images[2]).normals[0])

    def test_an_empty_list_is_refused(self, pipeline):
        with pytest.raises(SettingError, match="the list is empty"):
            pipeline([])

    @pytest.mark.parametrize("size", [(1, 1), (1, 500), (300, 2)])
    def test_any_size(self, pipeline, size):
        normals = pipeline(torch.rand(3, *size)).normals[0]
        torch.testing.assert_close(normals.norm(dim=0), torch.ones(size))


class TestNothingRunsTwice:
    """The image is encoded once, the semantic branch runs once, f once for each timestep, one resize."""

    @pytest.fixture
    def calls(self, components, monkeypatch):
        counter = Counter()

        def count(name):
            return lambda *args: counter.update([name])

        components.semantic_encoder.register_forward_hook(count("semantic encoder"))
        components.refiner.injector.register_forward_hook(count("injector"))
        components.autoencoder.encoder.register_forward_hook(count("encoder"))
        components.autoencoder.decoder.conv_out.register_forward_hook(count("decoder"))
        for name in ("yoso", "refiner"):
            pair = getattr(components, name)
            pair.condition_encoder.register_forward_hook(
                lambda module, args, output, name=name: counter.update([f"{name} f at {args[1]}"])
            )
            pair.unet.conv_in.register_forward_hook(count(f"{name} network"))
        resize = processing.resize_to_input
        for module in (processing, stable_normal):
            monkeypatch.setattr(
                module, "resize_to_input", lambda *a: (counter.update(["resize"]), resize(*a))[1]
            )
        return counter

    def test_full(self, pipeline, images, calls):
        pipeline(images[0])
        assert calls == {
            "encoder": 1,
            "decoder": 1,
            "semantic encoder": 1,
            "injector": 1,
            "yoso f at 401": 1,
            "yoso network": 1,
            **{f"refiner f at {t}": 1 for t in (401, 301, 201, 101, 1)},
            "refiner network": 10,
            "resize": 1,
        }

    def test_turbo(self, pipeline, images, calls):
        pipeline(images[0], mode="turbo")
        assert calls == {
            "encoder": 1,
            "decoder": 1,
            "yoso f at 0": 1,
            "yoso network": 1,
            "resize": 1,
        }

    def test_ensemble_shares_what_depends_on_the_image_alone(self, pipeline, images, calls):
        pipeline(images[0], ensemble=3)
        assert (calls["encoder"], calls["semantic encoder"], calls["injector"]) == (1, 1, 1)
        assert calls["refiner f at 401"] == calls["yoso f at 401"] == calls["resize"] == 1
        assert (calls["refiner network"], calls["decoder"]) == (30, 3)


class TestOptions:
    def test_spec_gives_the_defaults(self, components, images):
        components.spec = replace(components.spec, steps=4, t_plus=301, processing_resolution=16, tau=0.5)
        pipeline = StableNormal(components)
        output = pipeline(images[0])
        given = pipeline(images[0], steps=4, t_plus=301, processing_resolution=16, tau=0.5)
        assert torch.equal(output.normals[0], given.normals[0])
        assert (output.steps, output.t_plus, output.processing_resolution) == (4, 301, 16)
        assert (output.mode, output.seed, output.ensemble, output.uncertainty_deg) == ("full", 0, 1, None)
        turbo = pipeline(images[0], mode="turbo")
        assert (turbo.mode, turbo.steps, turbo.t_plus) == ("turbo", 0, 0)

    @pytest.mark.parametrize(
        "option",
        [
            {"mode": "turbo"},
            {"seed": 1},
            {"steps": 4},
            {"t_plus": 301},
            {"tau": 0.5},
            {"refinement": "ddim"},
            {"refinement": "fixed_level"},
            {"ensemble": 2},
            {"processing_resolution": 16},
            {"processing_resolution": 0},
            {"start": [torch.tensor([0.0, 0, 1]).view(3, 1, 1).expand(3, 8, 8)]},
        ],
    )
    def test_every_option_changes_the_result(self, pipeline, images, option):
        usual = pipeline(images[0]).normals[0]
        assert not torch.equal(pipeline(images[0], **option).normals[0], usual)

    @pytest.mark.parametrize(
        "change",
        [
            {"start": "image_latent"},
            {"refinement": "fixed_level"},
            {"native_frame": "dsine"},
            {"turbo_t": 50},
        ],
    )
    def test_every_field_of_the_spec_changes_the_result(self, components, images, change):
        mode = "turbo" if "turbo_t" in change else "full"
        usual = StableNormal(components)(images[0], mode=mode).normals[0]
        components.spec = replace(components.spec, **change)
        assert not torch.equal(StableNormal(components)(images[0], mode=mode).normals[0], usual)

    def test_semantics_reach_the_result(self, pipeline, images):
        usual = pipeline(images[0]).normals[0]
        torch.nn.init.zeros_(pipeline.components.refiner.injector.projection.weight)
        assert not torch.equal(pipeline(images[0]).normals[0], usual)

    def test_valid_masks_zero_the_rest(self, pipeline, images):
        mask = torch.rand(20, 33, generator=torch.Generator().manual_seed(0)) > 0.5
        output = pipeline(images[:2], valid=[mask, None], ensemble=2, uncertainty=True)
        unmasked = pipeline(images[:2], ensemble=2)
        assert torch.equal(output.normals[0] != 0, mask.expand(3, -1, -1) & (unmasked.normals[0] != 0))
        assert torch.equal(output.normals[0][:, mask], unmasked.normals[0][:, mask])
        assert not output.uncertainty_deg[0][~mask].any()
        assert torch.equal(output.normals[1], unmasked.normals[1])

    def test_bfloat16(self, components, images):
        components.to(torch.device("cpu"), torch.bfloat16)
        pipeline = StableNormal(components)
        assert pipeline.dtype == torch.bfloat16
        normals = pipeline(images[0]).normals[0]
        assert normals.dtype == torch.float32
        torch.testing.assert_close(normals.norm(dim=0), torch.ones(20, 33))

    def test_bfloat16_samples_in_float32(self, components):
        """What the network gives is bfloat16; what sampling does with it is not rounded again."""
        components.to(torch.device("cpu"), torch.bfloat16)
        latent = torch.randn(1, 4, 2, 2).bfloat16()
        plan = RefinementPlan("hold_then_descend", 4, 401, 0.0)
        encoded = EncodedImage(latent, latent)
        sampler = TwoStageSampler(components, encoded, torch.randn(1, 12, 2, 2).bfloat16(), plan)
        refiner, seen = sampler.refiner, []
        sampler.refiner = lambda x, t: seen.append(x) or refiner(x, t)
        with torch.no_grad():
            sampler(seeded_noise(0, latent))
        assert {x.dtype for x in seen} == {torch.float32}
        assert not torch.equal(seen[1], seen[1].bfloat16().float())


class TestEnsemble:
    def test_members_are_the_next_seeds_averaged_on_the_sphere(self, pipeline, images):
        options = {"mode": "turbo", "processing_resolution": 0}
        image = images[0]
        members = [pipeline(image, seed=seed, **options).normals[0] for seed in (5, 6, 7)]
        output = pipeline(image, seed=5, ensemble=3, uncertainty=True, **options)
        mean = torch.stack(members).mean(dim=0)
        mean /= mean.norm(dim=0)
        torch.testing.assert_close(output.normals[0], mean, atol=1e-5, rtol=0)
        spread = torch.stack([angular_error_deg(m[None], mean[None])[0] for m in members]).mean(dim=0)
        torch.testing.assert_close(output.uncertainty_deg[0], spread, atol=0.05, rtol=0)
        assert output.uncertainty_deg[0].shape == (20, 33)

    @pytest.mark.parametrize(("mode", "with_start"), [("turbo", False), ("full", False), ("full", True)])
    def test_every_second_member_may_see_the_mirrored_image(self, components, images, mode, with_start):
        plain = StableNormal(components)
        mirroring = StableNormal(replace(components, spec=replace(components.spec, mirror_ensemble=True)))
        image, options = images[0], {"mode": mode, "processing_resolution": 0}  # (3, 20, 33): padded
        coarse = torch.nn.functional.normalize(image * 2 - 1, dim=0)
        starts = ({"start": [coarse]}, {"start": [flip_horizontal(coarse[None])[0]]})
        upright, turned = starts if with_start else ({}, {})
        members = [
            plain(image, seed=5, **options, **upright).normals[0],
            flip_horizontal(plain(image.flip(-1), seed=6, **options, **turned).normals[0][None])[0],
            plain(image, seed=7, **options, **upright).normals[0],
        ]
        mean = torch.nn.functional.normalize(torch.stack(members).mean(dim=0), dim=0)
        output = mirroring(image, seed=5, ensemble=3, **options, **upright).normals[0]
        assert angular_error_deg(output[None], mean[None]).max() < 0.1
        alone = mirroring(image, seed=5, **options, **upright).normals[0]
        assert torch.equal(alone, members[0])

    def test_mirrored_members_tell_where_a_deterministic_model_is_unsure(self, components, images):
        spec = replace(components.spec, start="image_latent", mirror_ensemble=True)
        model = StableNormal(replace(components, spec=spec))
        output = model(images[0], mode="turbo", ensemble=2, uncertainty=True)
        assert output.uncertainty_deg[0].mean() > 1

    def test_equal_members_are_computed_once(self, components, images):
        spec = replace(components.spec, start="image_latent", mirror_ensemble=True)
        model = StableNormal(replace(components, spec=spec))
        pair = model(images[0], mode="turbo", ensemble=2).normals[0]
        calls = []
        components.yoso.unet.conv_out.register_forward_hook(lambda *_: calls.append(1))
        four = model(images[0], mode="turbo", ensemble=4).normals[0]
        assert len(calls) == 2
        torch.testing.assert_close(four, pair, atol=1e-6, rtol=0)

    def test_a_deterministic_model_has_no_spread(self, components, images):
        components.spec = replace(components.spec, start="image_latent")
        output = StableNormal(components)(images[0], mode="turbo", ensemble=2, uncertainty=True)
        assert output.uncertainty_deg[0].max() < 0.1


class TestViews:
    def test_sizes_and_mirrored_views_are_averaged_on_the_sphere(self, components, images):
        model = StableNormal(replace(components, spec=replace(components.spec, start="image_latent")))
        image = torch.nn.functional.interpolate(images[0][None], size=(32, 32))[0]
        options = {"mode": "turbo"}
        members = []
        for size in (32, 16):
            upright = model(image, processing_resolution=size, **options).normals[0]
            turned = model(image.flip(-1), processing_resolution=size, **options).normals[0]
            members += [upright, flip_horizontal(turned[None])[0]]
        mean = torch.nn.functional.normalize(torch.stack(members).mean(dim=0), dim=0)
        output = model(image, processing_resolution=(16, 32), mirrored=True, uncertainty=True, **options)
        assert angular_error_deg(output.normals[0][None], mean[None]).max() < 0.1
        assert (output.sizes, output.mirrored, output.processing_resolution) == ((32, 16), True, 32)
        spread = torch.stack([angular_error_deg(m[None], mean[None])[0] for m in members]).mean(dim=0)
        torch.testing.assert_close(output.uncertainty_deg[0], spread, atol=0.1, rtol=0)

    def test_mirrored_twice_is_not_needed(self, components, images):
        spec = replace(components.spec, start="image_latent", mirror_ensemble=True)
        model = StableNormal(replace(components, spec=spec))
        pair = model(images[0], mode="turbo", ensemble=2).normals[0]
        torch.testing.assert_close(model(images[0], mode="turbo", mirrored=True).normals[0], pair)

    def test_images_of_other_shapes_share_a_call(self, components, images):
        model = StableNormal(components)
        options = {"mode": "turbo", "processing_resolution": (16, 32), "mirrored": True}
        together = model(list(images), batch_size=4, **options).normals
        for one, image in zip(together, images, strict=True):
            assert angular_error_deg(one[None], model(image, **options).normals[0][None]).max() < 0.1

    def test_a_coarse_start_is_seen_at_each_size(self, components, images):
        model = StableNormal(components)
        coarse = torch.nn.functional.normalize(images[0] * 2 - 1, dim=0)
        output = model(images[0], start=[coarse], processing_resolution=(16, 24), mirrored=True)
        torch.testing.assert_close(output.normals[0].norm(dim=0), torch.ones(images[0].shape[1:]))

    @pytest.mark.parametrize("name", ["fast", "normal", "best"])
    def test_a_quality_is_what_the_spec_says(self, components, images, name):
        said = {
            "fast": Quality("turbo", (16,)),
            "normal": Quality("turbo", (24,), mirrored=True),
            "best": Quality("full", (16, 24), mirrored=True),
        }
        model = StableNormal(replace(components, spec=replace(components.spec, qualities=said)))
        one = said[name]
        given = model(images[0], mode=one.mode, processing_resolution=one.sizes, mirrored=one.mirrored)
        found = model(images[0], quality=name)
        assert torch.equal(found.normals[0], given.normals[0])
        assert (found.mode, found.mirrored) == (one.mode, one.mirrored)
        if name == "normal":
            assert torch.equal(model(images[0]).normals[0], found.normals[0])

    def test_other_arguments_go_before_a_quality(self, components, images):
        model = StableNormal(components)
        found = model(images[0], quality="best", mode="turbo", processing_resolution=16, mirrored=False)
        assert torch.equal(
            found.normals[0], model(images[0], mode="turbo", processing_resolution=16).normals[0]
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"mode": "fast"}, "mode: 'fast'"),
            ({"steps": 0}, "steps: expected"),
            ({"steps": 5000}, "steps: expected"),
            ({"t_plus": 0}, "t_plus: expected"),
            ({"t_plus": 1000}, "t_plus: expected"),
            ({"tau": -1.0}, "tau: expected"),
            ({"refinement": "euler"}, "refinement: 'euler'"),
            ({"mode": "turbo", "steps": 5}, "steps: turbo"),
            ({"mode": "turbo", "t_plus": 5}, "t_plus: turbo"),
            ({"mode": "turbo", "tau": 0.0}, "tau: turbo"),
            ({"mode": "turbo", "refinement": "ddim"}, "refinement: turbo"),
            ({"mode": "turbo", "start": [torch.zeros(3, 4, 4)]}, "start: turbo"),
            ({"ensemble": 0}, "ensemble: expected"),
            ({"uncertainty": True}, "uncertainty: needs"),
            ({"batch_size": 0}, "batch_size: expected"),
            ({"seed": -1}, "seed: expected"),
            ({"processing_resolution": -1}, "processing_resolution: expected"),
            ({"processing_resolution": ()}, "processing_resolution: the list is empty"),
            ({"quality": "great"}, "quality: 'great' does not exist; choose one of fast, normal, best"),
            ({"quality": "fast", "steps": 5}, "steps: turbo"),
            ({"valid": []}, "valid: expected one for each of 1 images, got 0"),
            ({"start": []}, "start: expected one for each of 1 images, got 0"),
        ],
    )
    def test_options(self, pipeline, images, option, message):
        with pytest.raises(SettingError, match=message) as caught:
            pipeline(images[0], **option)
        assert "\n" not in str(caught.value)

    def test_images_masks_and_starts(self, pipeline, images):
        with pytest.raises(SettingError, match="image 1: has NaN"):
            pipeline([images[0], torch.full((3, 4, 4), float("nan"))])
        with pytest.raises(ImageShapeError, match="image 0"):
            pipeline([torch.zeros(4, 4)])
        for mask in (torch.ones(4, 4, dtype=torch.bool), torch.ones(20, 33)):
            with pytest.raises(ImageShapeError, match="valid 0"):
                pipeline(images[0], valid=[mask])
        with pytest.raises(ImageShapeError, match="start 0"):
            pipeline(images[0], start=[torch.zeros(4, 4)])


class TestPretrained:
    def test_round_trip(self, pipeline, images, tmp_path):
        folder = pipeline.save_pretrained(tmp_path / "model", torch.float32)
        loaded = StableNormal.from_pretrained(folder, device="cpu", dtype="float32", offline=True)
        assert loaded.spec == pipeline.spec
        assert (loaded.device.type, loaded.dtype) == ("cpu", torch.float32)
        for a, b in zip(pipeline(images).normals, loaded(images).normals, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)  # the loaded autoencoder is channels-last
        again = StableNormal.from_pretrained(folder, device="cpu", dtype="float32")
        assert torch.equal(again(images[0]).normals[0], loaded(images[0]).normals[0])

    def test_weight_hash(self, pipeline, tmp_path):
        assert pipeline.weight_hash == "unsaved"
        folder = pipeline.save_pretrained(tmp_path / "model")
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*.safetensors")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
        loaded = StableNormal.from_pretrained(folder, device="cpu", dtype="float32")
        assert loaded.weight_hash == digest.hexdigest()

    def test_dtype(self, pipeline, tmp_path):
        folder = pipeline.save_pretrained(tmp_path / "model")
        assert StableNormal.from_pretrained(folder, device="cpu", dtype="bfloat16").dtype == torch.bfloat16

    def test_small_comes_from_the_package(self, pipeline, tmp_path, monkeypatch):
        pipeline.save_pretrained(tmp_path / "weights" / "small")
        monkeypatch.setattr(stable_normal.resources, "files", lambda package: tmp_path)
        assert StableNormal.from_pretrained(device="cpu").spec == pipeline.spec

    def test_refusals(self, tmp_path):
        with pytest.raises(ModelError, match=r"model_index\.json"):
            StableNormal.from_pretrained(tmp_path)
        with pytest.raises(SettingError, match="device"):
            StableNormal.from_pretrained(tmp_path, device="tpu")
        with pytest.raises(SettingError, match="dtype"):
            StableNormal.from_pretrained(tmp_path, device="cpu", dtype="int4")
        with pytest.raises(OfflineError, match="nobody/nothing"):
            StableNormal.from_pretrained("nobody/nothing", offline=True)


def test_sampling_uses_what_training_uses(components):
    """Residuals computed once give what `predict` gives at once."""
    from stablenormal.pipelines.conditioning import ConditionedDenoiser

    x, latent = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    features = torch.randn(1, 12, 2, 2)
    conditioned = ConditionedDenoiser(components.refiner, latent, features)
    for timestep in (401, 1, 401):
        expected = components.refiner.predict(x, timestep, latent, semantic=features)
        assert torch.equal(conditioned(x, timestep), expected)
    assert denoiser.GuidedDenoiser is type(components.refiner)


class TestAsPeopleWriteIt:
    def test_files_pictures_and_arrays_give_what_tensors_give(self, pipeline, tmp_path):
        codes = np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8)
        path = tmp_path / "photo.png"
        Image.fromarray(codes).save(path)
        tensor = torch.from_numpy(codes).permute(2, 0, 1) / 255
        expected = pipeline(tensor).normals[0]
        for image in (path, Image.fromarray(codes), codes):
            assert torch.equal(pipeline(image).normals[0], expected)

    def test_what_is_transparent_is_zero(self, pipeline):
        picture = Image.new("RGBA", (30, 20), (200, 100, 50, 255))
        picture.paste((0, 0, 0, 0), (0, 0, 10, 20))
        normals = pipeline(picture).normals[0]
        assert (normals[:, :, :10] == 0).all()
        assert (normals[:, :, 10:] != 0).any(dim=0).all()

    def test_predict_keeps_the_model(self, toy_model):
        image = np.zeros((16, 16, 3), np.uint8)
        first = predict(image, model=toy_model, mode="turbo")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StableNormal, "from_pretrained", None)
            again = predict(image, model=toy_model, mode="turbo")
        assert torch.equal(first.normals[0], again.normals[0])

    def test_moving_and_its_name(self, pipeline):
        assert pipeline.to("cpu", "bfloat16").dtype == torch.bfloat16
        told = repr(pipeline)
        for part in ("'toy'", "'cpu'", "bfloat16", "processing_resolution=32", "M,"):
            assert part in told
        with pytest.raises(SettingError, match="does not exist"):
            pipeline.to("abacus")


class TestStepsUntilSettled:
    def test_everything_settles_at_once_under_a_large_change(self, components, images):
        components.spec = replace(components.spec, start="image_latent", settled_change=10.0)
        pipeline = StableNormal(components)
        auto, one = pipeline(images, steps="auto"), pipeline(images[0], steps="auto")
        assert auto.steps == 1 and auto.steps_of_each == (1, 1, 1)
        assert torch.equal(auto.normals[0], one.normals[0])

    def test_nothing_settles_under_none(self, components, images):
        components.spec = replace(components.spec, settled_change=0.0)
        pipeline = StableNormal(components)
        auto, fixed = pipeline(images[0], steps="auto"), pipeline(images[0], steps=10)
        assert auto.steps == fixed.steps == 10 and auto.steps_of_each == (10,)
        assert torch.equal(auto.normals[0], fixed.normals[0])

    def test_a_batch_is_its_images_alone(self, components, images):
        components.spec = replace(components.spec, settled_change=0.3)
        pipeline = StableNormal(components)
        alike = [images[0], images[2]]
        batch = pipeline(alike, steps="auto", batch_size=2)
        for index, image in enumerate(alike):
            alone = pipeline(image, steps="auto")
            assert alone.steps_of_each == (batch.steps_of_each[index],)
            torch.testing.assert_close(alone.normals[0], batch.normals[index], rtol=0, atol=1e-4)

    def test_refuses_other_words(self, pipeline, images):
        with pytest.raises(SettingError, match="'many' is no number"):
            pipeline(images[0], steps="many")
