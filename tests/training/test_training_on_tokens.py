"""Denoisers trained on tokens that were computed once, at toy size."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stablenormal.data.packed import open_corpus, pack_corpus
from stablenormal.data.sample import Sample
from stablenormal.data.shards import read_shard, shard_path, write_shard
from stablenormal.data.token_corpus import TokenCorpus
from stablenormal.errors import DataError, ModelError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.models.architecture import TOY, TOY_SPEC, TOY_WITH_TOKENS
from stablenormal.models.autoencoder import encode
from stablenormal.models.building import build_components
from stablenormal.models.loading import load_components, save_components, save_dinov2
from stablenormal.training.augmentation import load_batch
from stablenormal.training.base import load_base
from stablenormal.training.loop import fit
from stablenormal.training.parallel import Processes
from stablenormal.training.parts.angular import AngularSettings
from stablenormal.training.parts.autoencoder import AutoencoderSettings
from stablenormal.training.parts.refiner import RefinerSettings
from stablenormal.training.run import begin, train
from stablenormal.training.settings import Stage
from stablenormal.training.token_cache import write_tokens

SIZE = 112


def a_sample(number: int) -> Sample:
    rng = np.random.default_rng(number)
    normals = np.zeros((SIZE, SIZE, 3), np.float32)
    normals[..., number % 3] = 1
    flat = np.zeros((SIZE, SIZE))
    return Sample(
        image=rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8),
        normals=normals,
        depth=flat.astype(np.float32),
        labels=flat.astype(np.uint8),
        instances=flat.astype(np.uint16),
        intrinsics=Intrinsics.centred(SIZE, SIZE, SIZE),
        meta={"key": f"{number:04d}", "kind": "object"},
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, tokens of four images, and a packed corpus of the same images."""
    root = tmp_path_factory.mktemp("tokens")
    spec = replace(TOY_SPEC, start="image_latent", predicts_change=True)
    components = build_components(TOY_WITH_TOKENS, spec, torch.Generator().manual_seed(0))
    save_components(components, root / "model", torch.float32)
    shard = shard_path(root / "shards", 0)
    shard.parent.mkdir()
    write_shard(shard, [a_sample(number) for number in range(4)], "png")
    write_tokens(shard.parent, root / "tokens", components, size=SIZE, bf16=False)
    pack_corpus(read_shard(shard), root / "packed", 4)
    return root


def settings_of(kind, places, **changes):
    given = {
        "base": str(places / "model"),
        "data": "",
        "heldout": str(places / "packed"),
        "tokens": (str(places / "tokens"),),
        "stages": (Stage(SIZE, 4, 2, window=56),),
        "warmup_steps": 1,
        "validate_every": 2,
        "checkpoint_every": 2,
        "validation_images": 2,
        "bf16": False,
    }
    return kind(**(given | changes))


def angular(places, **changes):
    whole = {"train_decoder": True, "train_image_encoder": True, "latent_weight": 0.0, "decode_cells": 0}
    return settings_of(AngularSettings, places, **(whole | changes))


class TestAngular:
    def test_encoder_decoder_and_guides_learn_and_the_transformer_stays(self, places, tmp_path):
        before = load_components(places / "model")
        after = load_components(train(angular(places), tmp_path / "run"))
        for name, moves in (
            ("image_encoder", True), ("yoso", True), ("semantic_encoder", False), ("refiner", False),
        ):  # fmt: skip
            old, new = (part.parts()[name].state_dict() for part in (before, after))
            changed = any(not torch.equal(old[key], new[key]) for key in old)
            assert changed is moves, name
        for guide in after.image_encoder.guides:
            assert guide.weight.abs().sum() > 0

    def test_stopped_and_resumed_is_never_stopped(self, places, tmp_path):
        whole = train(angular(places), tmp_path / "whole")
        assert train(angular(places), tmp_path / "parts", stop_after=3) is None
        resumed = train(angular(places), tmp_path / "parts")
        old, new = (load_components(one).yoso.state_dict() for one in (whole, resumed))
        assert all(torch.equal(old[key], new[key]) for key in old)

    def test_small_windows_of_the_latent_are_decoded_with_their_guides(self, places, tmp_path):
        train(angular(places, decode_cells=2, stages=(Stage(SIZE, 1, 2, window=56),)), tmp_path / "run")


class TestOtherParts:
    def test_a_refiner_meets_the_starts_own_prediction(self, places, tmp_path):
        settings = settings_of(
            RefinerSettings, places, own_start_fraction=0.5, coarse_fraction=0.25, angular_weight=1.0,
            edge_weight=1.0, decode_cells=0,
        )  # fmt: skip
        before, after = load_components(places / "model"), load_components(train(settings, tmp_path / "run"))
        old, new = (one.refiner.state_dict() for one in (before, after))
        assert any(not torch.equal(old[key], new[key]) for key in old if key.startswith("injector"))

    def test_an_autoencoder_reads_the_images(self, places, tmp_path):
        settings = settings_of(AutoencoderSettings, places, stages=(Stage(32, 1, 2),))
        assert train(settings, tmp_path / "run") is not None

    def test_an_encoder_alone_is_fitted_and_its_latents_scaled(self, places, tmp_path):
        settings = settings_of(
            AutoencoderSettings, places, stages=(Stage(32, 3, 2),), freeze_decoder=True, normals_fraction=1.0
        )
        before, after = load_components(places / "model"), load_components(train(settings, tmp_path / "run"))
        old, new = (one.autoencoder.state_dict() for one in (before, after))
        changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
        assert changed == {"encoder", "quant_conv"}
        factor = after.autoencoder.config.scaling_factor / before.autoencoder.config.scaling_factor
        corpus = TokenCorpus([places / "tokens"])
        batch = load_batch(corpus, np.arange(len(corpus)), 128, None)
        assert float(encode(after.autoencoder, batch.normals).detach().std()) == pytest.approx(1, abs=0.05)
        old, new = (one.image_encoder.latent.weight for one in (before, after))
        torch.testing.assert_close(new, factor * old)

    def test_latents_come_near_the_start_where_asked(self, places, tmp_path):
        def distance(weight):
            settings = settings_of(
                AutoencoderSettings, places, stages=(Stage(32, 40, 4),), freeze_decoder=True,
                normals_fraction=1.0, start_weight=weight, learning_rate=3e-3, validate_every=40,
            )  # fmt: skip
            folder = tmp_path / f"run{weight}"
            train(settings, folder)
            lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
            return next(line["start"] for line in reversed(lines) if "start" in line)

        assert distance(100.0) < 0.8 * distance(0.001)

    def test_photographs_guide_the_decoder_of_their_normals(self, places, tmp_path):
        folder = tmp_path / "model"
        components = load_components(places / "model")
        for guide in components.image_encoder.guides:
            torch.nn.init.normal_(guide.weight)
        save_components(components, folder, torch.float32)
        unguided, guided = (
            json.loads((train(
                settings_of(
                    AutoencoderSettings, places, base=str(base), stages=(Stage(32, 1, 2),), validate_every=1
                ), tmp_path / name,
            ).parent / "log.jsonl").read_text().splitlines()[-1])
            for name, base in (("plain", places / "model"), ("guided", folder))
        )  # fmt: skip
        assert unguided["reconstruction_deg"] != guided["reconstruction_deg"]


class TestBadInput:
    def test_another_stage_size_is_refused(self, places, tmp_path):
        with pytest.raises(SettingError, match="the tokens' images have 112 px"):
            train(angular(places, stages=(Stage(56, 1, 2),)), tmp_path / "run")

    def test_a_window_without_tokens_is_refused(self, places):
        with pytest.raises(SettingError, match="so give tokens too"):
            angular(places, tokens=(), data=str(places / "packed"))

    def test_a_latent_cache_is_refused(self, places, tmp_path):
        settings = angular(
            places, tokens=(), data=str(places / "packed"), stages=(Stage(56, 1, 2),),
            train_image_encoder=False,
        )  # fmt: skip
        with pytest.raises(SettingError, match="give tokens, or variants: 0"):
            train(settings, tmp_path / "run")

    def test_an_autoencoder_with_nothing_to_train_is_refused(self, places):
        with pytest.raises(SettingError, match="nothing is left to train"):
            settings_of(AutoencoderSettings, places, freeze_encoder=True, freeze_decoder=True)

    def test_a_dinov2_of_another_size_is_named(self, places, tmp_path):
        save_dinov2(load_components(places / "model").semantic_encoder, tmp_path / "dinov2")
        with pytest.raises(ModelError, match=r"width 12, 2 layers .* takes width 384, 12 layers .*ViT-S/14"):
            load_base(f"dinov2:{tmp_path / 'dinov2'}", seed=0)


def test_without_a_cache_the_transformer_runs_in_every_step(places, tmp_path):
    settings = angular(places, tokens=(), data=str(places / "packed"), stages=(Stage(56, 2, 2, variants=0),))
    assert train(settings, tmp_path / "run") is not None


class TestTunedTransformer:
    def online(self, places, **changes):
        whole = {"tokens": (), "data": str(places / "packed"), "stages": (Stage(56, 2, 2, variants=0),)}
        return angular(places, **(whole | changes))

    @pytest.mark.parametrize("blocks", [1, 2, 5])
    def test_the_last_blocks_change_and_the_others_stay(self, places, tmp_path, blocks):
        settings = self.online(places, transformer_blocks=blocks, transformer_learning_rate=1e-2)
        old, new = (
            load_components(folder).semantic_encoder.network.state_dict()
            for folder in (places / "model", train(settings, tmp_path / "run"))
        )
        changed = {name for name in old if not torch.equal(old[name], new[name])}
        assert any(name.startswith("encoder.layer.1.") for name in changed)
        assert any(name.startswith("encoder.layer.0.") for name in changed) is (blocks >= 2)
        assert any(name.startswith("embeddings.patch_embeddings.") for name in changed) is (blocks >= 2)
        assert not any(name.startswith("layernorm.") or "mask_token" in name for name in changed)

    def test_they_take_steps_of_their_own_length(self, places, tmp_path):
        def moved(rate):
            settings = self.online(
                places, transformer_blocks=1, transformer_learning_rate=rate, optimiser="muon"
            )
            old, new = (
                load_components(folder).semantic_encoder.network.state_dict()
                for folder in (places / "model", train(settings, tmp_path / f"run{rate}"))
            )
            return sum(float((new[name] - old[name]).abs().sum()) for name in old)

        assert 5 < moved(1e-3) / moved(1e-4) < 20

    def test_stopped_and_resumed_is_never_stopped(self, places, tmp_path):
        settings = self.online(places, transformer_blocks=1)
        whole = train(settings, tmp_path / "whole")
        assert train(settings, tmp_path / "parts", stop_after=1) is None
        resumed = train(settings, tmp_path / "parts")
        old, new = (load_components(one).semantic_encoder.state_dict() for one in (whole, resumed))
        assert all(torch.equal(old[key], new[key]) for key in old)

    def test_stored_tokens_are_refused(self, places):
        with pytest.raises(SettingError, match="transformer_blocks: .* in place of tokens"):
            angular(places, transformer_blocks=1)

    def test_a_model_without_a_transformer_is_refused(self, places, tmp_path):
        spec = replace(TOY_SPEC, start="image_latent")
        save_components(build_components(TOY, spec), tmp_path / "model", torch.float32)
        settings = self.online(places, base=str(tmp_path / "model"), transformer_blocks=1)
        with pytest.raises(SettingError, match="encodes photographs without a transformer"):
            train(settings, tmp_path / "run")


class TestLoaderThreads:
    def weights(self, places, folder, **changes):
        whole = {"tokens": (), "data": str(places / "packed"), "stages": (Stage(56, 4, 2, variants=0),)}
        model = load_components(train(angular(places, **(whole | changes)), folder))
        return model.yoso.state_dict() | model.image_encoder.state_dict()

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_threads_change_nothing(self, places, tmp_path, accumulate):
        alone = self.weights(places, tmp_path / "alone", accumulate=accumulate)
        threads = self.weights(places, tmp_path / "threads", accumulate=accumulate, loader_threads=2)
        assert all(torch.equal(alone[name], threads[name]) for name in alone)

    def test_a_run_goes_on_with_another_number(self, places, tmp_path):
        whole = {"tokens": (), "data": str(places / "packed"), "stages": (Stage(56, 4, 2, variants=0),)}
        assert train(angular(places, **whole, loader_threads=3), tmp_path / "run", stop_after=2) is None
        resumed = self.weights(places, tmp_path / "run", loader_threads=1)
        straight = self.weights(places, tmp_path / "straight")
        assert all(torch.equal(straight[name], resumed[name]) for name in straight)

    def test_what_a_thread_cannot_read_stops_the_training(self, places, tmp_path):
        class Broken:
            size = SIZE

            def __len__(self):
                return 4

            def view(self, sample, window):
                raise DataError("sample 3 is damaged")

        settings = angular(
            places, tokens=(), data=str(places / "packed"), stages=(Stage(56, 2, 2, variants=0),),
            loader_threads=1,
        )  # fmt: skip
        part = begin(settings, Broken(), open_corpus(places / "packed"), tmp_path / "run")
        with pytest.raises(DataError, match="sample 3 is damaged"):
            fit(part, settings, tmp_path / "run", Processes(False))
