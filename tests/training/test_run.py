import dataclasses
import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stablenormal.data.mixture import SourceConfig
from stablenormal.data.packed import open_corpus
from stablenormal.data.sample import Sample
from stablenormal.data.shards import shard_path, write_shard
from stablenormal.errors import DataError, ModelError, OutputError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io import png
from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.autoencoder import decode, encode, posterior
from stablenormal.models.building import build_components
from stablenormal.models.loading import load_components, save_components
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.augmentation import load_batch
from stablenormal.training.base import load_base
from stablenormal.training.fresh_weights import quieten, sine_positions
from stablenormal.training.loop import fit
from stablenormal.training.parallel import Processes
from stablenormal.training.parts.yoso import YosoSettings, YosoTraining
from stablenormal.training.run import begin, train
from stablenormal.training.samples import divide_step
from stablenormal.training.settings import Stage
from stablenormal.training.settings_file import read_settings, write_settings

SUBJECTS = {
    "autoencoder": "autoencoder",
    "semantic": "semantic_encoder",
    "yoso": "yoso",
    "upsampler": "feature_upsampler",
    "refiner": "refiner",
    "angular": "yoso",
}
NOT_FROM_YOSO = {"refiner": {"start_from_yoso": False}}


@pytest.fixture
def config(corpus_folder, toy_model):
    return YosoSettings(
        base=str(toy_model),
        data=str(corpus_folder),
        heldout=str(corpus_folder),
        stages=(Stage(32, 3, 4, 2), Stage(64, 3, 2)),
        warmup_steps=1,
        validate_every=3,
        checkpoint_every=2,
        validation_images=4,
    )


def _prepared(settings):
    return settings.prepare(load_base(settings.base, settings.seed))


def _weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("part", SUBJECTS)
def test_training_changes_its_part_and_no_other(config, part, toy_model, tmp_path, for_part):
    config = for_part(config, part, **NOT_FROM_YOSO.get(part, {}))
    trained = load_components(train(config, tmp_path / "run"))
    before = load_components(toy_model)
    for name, module in trained.parts().items():
        old = _weights(before.parts()[name]) if name in before.parts() else {}
        changed = any(
            not torch.equal(value, old.get(key, -value)) for key, value in module.state_dict().items()
        )
        assert changed == (name == SUBJECTS[part]), name
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any("loss" in record for record in records)
    assert (
        sum(any(key.endswith(("_deg", "accuracy", "_mse")) and "loss" not in r for key in r) for r in records)
        >= 2
    )


@pytest.mark.parametrize("part", SUBJECTS)
def test_preparing_changes_no_argument_and_lets_its_part_alone_take_gradients(config, part, for_part):
    settings = for_part(config, part)
    base = load_base(settings.base, settings.seed)
    values = {name: _weights(module) for name, module in base.parts().items()}
    spec = base.spec
    ready = settings.prepare(base)
    assert base.spec == spec and base.parts().keys() == values.keys()
    for name, module in base.parts().items():
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert all(torch.equal(value, values[name][key]) for key, value in module.state_dict().items())
    takes = {
        name: {key for key, value in module.named_parameters() if value.requires_grad}
        for name, module in ready.parts().items()
    }
    assert {name for name, keys in takes.items() if keys} == {SUBJECTS[part]}
    if part in ("yoso", "angular", "refiner"):
        fresh = build_components(TOY, TOY_SPEC).parts()[SUBJECTS[part]]
        assert takes[SUBJECTS[part]] == {k for k, value in fresh.named_parameters() if value.requires_grad}
        assert not any("controlnet_cond_embedding" in key for key in takes[SUBJECTS[part]])


def test_stopped_and_resumed_equals_never_stopped_bit_for_bit(config, tmp_path):
    whole = train(config, tmp_path / "whole")
    assert train(config, tmp_path / "parts", stop_after=2) is None
    assert train(config, tmp_path / "parts", stop_after=5) is None
    resumed = train(config, tmp_path / "parts")
    files = sorted(path.relative_to(whole) for path in whole.rglob("*.safetensors"))
    assert files
    for file in files:
        one, two = load_file(whole / file), load_file(resumed / file)
        assert all(torch.equal(one[key], two[key]) for key in one), file


def test_muon_resumes_bit_for_bit(config, tmp_path):
    muon = dataclasses.replace(config, optimiser="muon")
    whole = load_components(train(muon, tmp_path / "whole"))
    assert train(muon, tmp_path / "parts", stop_after=2) is None
    parts = load_components(train(muon, tmp_path / "parts"))
    for name, value in whole.yoso.state_dict().items():
        assert torch.equal(value, parts.yoso.state_dict()[name])


@pytest.mark.parametrize("start", ["noise", "zeros", "image_latent"])
def test_angular_writes_its_start_into_the_spec(config, start, tmp_path, for_part):
    short = for_part(config, "angular", start=start, stages=(Stage(32, 1, 2),))
    assert load_components(train(short, tmp_path)).spec.start == start


def test_angular_lowers_the_angle(config, tmp_path, for_part):
    """On the images that it learns; 9 to 12 degrees whatever seed and precision, 3 are asked."""
    fitting = for_part(
        config, "angular", stages=(Stage(32, 60, 8),), learning_rate=5e-3, ema_decay=0.5, bf16=False,
        decode_cells=0, latent_weight=0.0, validate_every=60,
    )  # fmt: skip
    corpus = open_corpus(Path(config.data))
    part = begin(fitting, corpus, corpus, tmp_path)
    part.samples(fitting.stages[0])

    @torch.no_grad()
    def angle():
        samples = divide_step(np.arange(12), 0, 0, 0, 1, 1, torch.device("cpu"))[0]
        return part.loss(fitting.stages[0], samples)[1]["angle_deg"]

    before = angle()
    part.module.load_state_dict(fit(part, fitting, tmp_path, Processes(shard=False)))
    assert angle() < before - 3


def test_angular_may_tune_the_decoder_and_never_the_encoder(config, toy_model, tmp_path, for_part):
    tuning = for_part(config, "angular", train_decoder=True, stages=(Stage(32, 2, 2),))
    before = load_components(toy_model).autoencoder.state_dict()
    trained = load_components(train(tuning, tmp_path))
    after = trained.autoencoder.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert not torch.equal(
        trained.yoso.unet.conv_in.weight, load_components(toy_model).yoso.unet.conv_in.weight
    )


def test_angular_may_tune_an_image_encoder_and_a_refiner_then_sees_through_it(config, tmp_path, for_part):
    tuning = for_part(
        config, "angular", train_image_encoder=True, stages=(Stage(32, 3, 4, 0), Stage(64, 2, 2, 0))
    )
    whole = train(tuning, tmp_path / "whole")
    assert train(tuning, tmp_path / "parts", stop_after=2) is None
    tuned, resumed = load_components(whole), load_components(train(tuning, tmp_path / "parts"))
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latent = tuned.encode_image(image).latent
    assert torch.equal(latent, resumed.encode_image(image).latent)
    assert not torch.allclose(latent, encode(tuned.autoencoder, image), atol=1e-3)
    refining = for_part(config, "refiner", base=str(whole), stages=(Stage(32, 1, 4),))
    kept = load_components(train(refining, tmp_path / "refiner"))
    assert torch.equal(kept.encode_image(image).latent, latent)
    cached = np.load(tmp_path / "refiner" / "latents" / "refiner-32" / "image_latent.npy")
    corpus, first = open_corpus(Path(config.data)), np.array([0])
    seen = load_batch(corpus, first, 32, [np.random.default_rng((config.seed, 32, 0, 0))]).image
    off, right = (float((torch.from_numpy(cached[:1]).float() - value).abs().mean().detach())
        for value in (encode(kept.autoencoder, seen), kept.encode_image(seen).latent))  # fmt: skip
    assert right < off / 2


def test_a_fresh_image_encoder_takes_its_shape_and_first_weights_from_the_settings(
    config, tmp_path, for_part
):
    tuning = for_part(config, "angular", train_image_encoder=True, image_encoder_channels=(8, 8, 16, 24),
        image_encoder_layers=2, stages=(Stage(32, 2, 4, 0),),
    )  # fmt: skip
    first, again, other = (
        _prepared(dataclasses.replace(tuning, seed=seed)).image_encoder.network.conv_in.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    tuned = load_components(train(tuning, tmp_path / "fresh")).image_encoder
    assert (tuned.config["block_out_channels"], tuned.config["layers_per_block"]) == ([8, 8, 16, 24], 2)
    assert not torch.equal(tuned.network.conv_in.weight, first)
    further = dataclasses.replace(tuning, base=str(tmp_path / "fresh" / "model"), image_encoder_channels=())
    assert torch.equal(_prepared(further).image_encoder.network.conv_in.weight, tuned.network.conv_in.weight)


def test_a_fresh_image_encoder_of_other_levels_is_refused(config, for_part):
    tuning = for_part(config, "angular", train_image_encoder=True, image_encoder_channels=(8, 8),
        stages=(Stage(32, 2, 4, 0),),
    )  # fmt: skip
    with pytest.raises(SettingError, match="4 levels"):
        _prepared(tuning)


def test_an_image_encoder_is_never_tuned_on_old_latents(config, for_part):
    with pytest.raises(SettingError, match="variants: 0"):
        for_part(config, "angular", train_image_encoder=True)


@pytest.mark.parametrize("part", ["yoso", "angular", "refiner"])
def test_samples_without_a_cache_are_augmented_anew(config, part, tmp_path, for_part):
    fresh = for_part(config, part, stages=(Stage(32, 3, 4, 0),))
    corpus = open_corpus(Path(config.data))
    trained = begin(fresh, corpus, corpus, tmp_path)
    assert trained.samples(fresh.stages[0]) == len(corpus)
    draws = [divide_step(np.arange(4), 0, step, 0, 1, 1, torch.device("cpu"))[0] for step in (0, 0, 1)]
    first, again, later = (trained.read(fresh.stages[0], one).encoded.latent for one in draws)
    assert torch.equal(first, again)
    assert not torch.allclose(first, later, atol=1e-3)
    assert load_components(train(fresh, tmp_path))
    assert not list((tmp_path / "latents").glob("**/*.npy"))


def test_refiner_learns_from_the_own_start_and_the_angle(config, tmp_path, for_part):
    angular = train(for_part(config, "angular", stages=(Stage(32, 2, 4),)), tmp_path / "start")
    small = for_part(config, "refiner", base=str(angular), stages=(Stage(32, 3, 4),))
    plain = load_components(train(small, tmp_path / "plain")).refiner.state_dict()
    for change in ({"own_start_fraction": 1.0}, {"angular_weight": 1.0}, {"coarse_fraction": 1.0}):
        changed = dataclasses.replace(small, **change)
        other = load_components(train(changed, tmp_path / next(iter(change)))).refiner.state_dict()
        assert any(not torch.equal(value, plain[key]) for key, value in other.items()), change


def test_shares_of_a_refiner_that_exceed_one_are_refused(config, for_part):
    with pytest.raises(SettingError, match="exceed 1"):
        for_part(config, "refiner", own_start_fraction=0.7, coarse_fraction=0.5)


def test_own_start_needs_a_network_without_noise(config, tmp_path, for_part):
    with pytest.raises(SettingError, match="without noise"):
        train(for_part(config, "refiner", own_start_fraction=0.5), tmp_path)


def test_refiner_starts_from_yoso_where_asked(config, tmp_path, for_part):
    still = for_part(config, "refiner", learning_rate=1e-12, ema_decay=0.0, weight_decay=0.0)
    trained = load_components(train(still, tmp_path / "run"))
    yoso = trained.yoso.unet.state_dict()
    for name, value in trained.refiner.unet.state_dict().items():
        torch.testing.assert_close(value, yoso[name], atol=1e-6, rtol=0)


def test_autoencoder_scaling_gives_latents_of_unit_variance(config, corpus_folder, tmp_path, for_part):
    trained = load_components(train(for_part(config, "autoencoder"), tmp_path / "run"))
    corpus = open_corpus(corpus_folder)
    normals = load_batch(corpus, np.arange(len(corpus)), 128, None).normals
    assert encode(trained.autoencoder, normals).std().item() == pytest.approx(1, abs=0.02)


def test_a_frozen_encoder_keeps_its_latents(config, toy_model, tmp_path, for_part):
    frozen = for_part(config, "autoencoder", freeze_encoder=True, normals_fraction=1.0)
    after, before = load_components(train(frozen, tmp_path / "run")), load_components(toy_model)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latent = encode(before.autoencoder, image)
    assert torch.equal(encode(after.autoencoder, image), latent)
    assert not torch.equal(decode(after.autoencoder, latent), decode(before.autoencoder, latent))


def test_another_configuration_cannot_resume(config, tmp_path):
    train(config, tmp_path, stop_after=2)
    with pytest.raises(DataError, match="another configuration"):
        train(dataclasses.replace(config, seed=1), tmp_path)


def test_damaged_checkpoint_is_named(config, tmp_path):
    train(config, tmp_path, stop_after=2)
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"checkpoint\.pt: damaged"):
        train(config, tmp_path)


def test_the_checkpoint_before_a_damaged_one_gives_the_same_weights(config, tmp_path, caplog):
    whole = train(config, tmp_path / "whole")
    run = tmp_path / "run"
    assert train(config, run, stop_after=5) is None
    assert sorted(one.name for one in run.glob("*.pt")) == ["checkpoint-1.pt", "checkpoint.pt"]
    (run / "checkpoint.pt").write_bytes(b"broken")
    resumed = train(config, run)
    assert caplog.text.count("damaged checkpoint") == 1
    assert "goes on from checkpoint-1.pt, step 4" in caplog.text
    for file in whole.rglob("*.safetensors"):
        one, two = load_file(file), load_file(resumed / file.relative_to(whole))
        assert all(torch.equal(one[key], two[key]) for key in one), file


@pytest.mark.parametrize(("part", "variants"), [("yoso", 1), ("angular", 0), ("autoencoder", 1)])
def test_what_a_failed_step_read_is_kept(config, tmp_path, monkeypatch, for_part, part, variants):
    settings = for_part(config, part, stages=(Stage(32, 3, 4, variants),))
    trained = begin(settings, *[open_corpus(Path(config.data))] * 2, tmp_path)
    loss = type(trained).loss
    monkeypatch.setattr(type(trained), "loss", lambda *one: (loss(*one)[0] * torch.nan, {}))
    with pytest.raises(SettingError, match=r"step 1: the loss is nan.*failed-step-0000001\.npz"):
        train(settings, tmp_path)
    kept = np.load(tmp_path / "failed-step-0000001.npz")
    samples = divide_step(kept["index"], config.seed, 0, 0, 1, 1, torch.device("cpu"))[0]
    assert kept["index"].shape == (4,)
    trained.samples(settings.stages[0])
    seen = trained.study(settings.stages[0], samples)
    assert sorted(kept) == sorted([*seen, "index"])
    assert len(seen) >= 2
    for name, value in seen.items():
        assert np.array_equal(kept[name], value.detach().float().numpy()), name


def test_a_loss_that_explodes_ends_the_run_also_after_a_restart(config, tmp_path, monkeypatch):
    long = dataclasses.replace(config, stages=(Stage(32, 20, 4),), validate_every=20)
    train(long, tmp_path, stop_after=12)
    loss = YosoTraining.loss
    monkeypatch.setattr(YosoTraining, "loss", lambda *one: (loss(*one)[0] * 1e4, {}))
    with pytest.raises(SettingError, match=r"step 13: the loss is .*, over 100 times the last ones'"):
        train(long, tmp_path)
    assert (tmp_path / "failed-step-0000013.npz").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"shrinkage": 0.0},
        {"clean_fraction": 1.0},
        {"clip_norm": 1e-3},
        {"weight_decay": 0.5},
        {"bf16": False},
        {"decay": "constant"},
    ],
)
def test_every_setting_does_something(config, change, plainly_trained, tmp_path):
    changed = dataclasses.replace(config, stages=(Stage(32, 3, 4),), validate_every=9, **change)
    trained = load_components(train(changed, tmp_path)).yoso.state_dict()
    assert any(not torch.equal(value, plainly_trained[key]) for key, value in trained.items())


@pytest.fixture(scope="module")
def plainly_trained(corpus_folder, toy_model, tmp_path_factory):
    plain = YosoSettings(
        str(toy_model), str(corpus_folder), str(corpus_folder), (Stage(32, 3, 4),),
        warmup_steps=1, validate_every=9, checkpoint_every=2, validation_images=4,
    )  # fmt: skip
    return load_components(train(plain, tmp_path_factory.mktemp("plain"))).yoso.state_dict()


def test_fresh_weights_begin_quietly():
    components = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(0))
    quieten(components)
    latent = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    one, other = (components.yoso.predict(latent, t, latent) for t in (1, 900))
    assert torch.equal(one, other)  # time enters through the residual branches alone
    image = torch.zeros(1, 3, 32, 32)
    assert posterior(components.autoencoder, image).std.mean() < 0.2
    positions = components.semantic_encoder.network.embeddings.position_embeddings[0, 1:]
    torch.testing.assert_close(positions, sine_positions(2, 12))


def test_sine_positions_tell_places_apart_and_neighbours_are_alike():
    positions = sine_positions(8, 192)
    similarity = (
        torch.nn.functional.normalize(positions, dim=1) @ torch.nn.functional.normalize(positions, dim=1).T
    )
    assert similarity[0, 1] > similarity[0, 3] > similarity[0, 63]
    assert (similarity - torch.eye(64)).max() < 0.999


def test_accumulated_gradients_are_those_of_the_whole_batch(config, tmp_path):
    small = dataclasses.replace(config, stages=(Stage(32, 4, 4),), bf16=False)
    whole = load_components(train(small, tmp_path / "whole")).yoso.state_dict()
    passes = load_components(train(dataclasses.replace(small, accumulate=2), tmp_path / "passes"))
    for name, value in passes.yoso.state_dict().items():
        torch.testing.assert_close(value, whole[name], atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("part", SUBJECTS)
@pytest.mark.parametrize("bf16", [False, True])
def test_bfloat16_runs_in_caches_steps_and_validation_only_where_asked(
    config, part, bf16, tmp_path, for_part
):
    seen = set()

    def note(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            seen.add(output.dtype)

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        train(for_part(config, part, bf16=bf16, **NOT_FROM_YOSO.get(part, {})), tmp_path)
    finally:
        hook.remove()
    assert (torch.bfloat16 in seen) == bf16


def test_an_accumulating_run_resumes_bit_for_bit(config, tmp_path):
    accumulating = dataclasses.replace(config, stages=(Stage(32, 3, 4),), accumulate=2)
    whole = load_components(train(accumulating, tmp_path / "whole")).yoso.state_dict()
    train(accumulating, tmp_path / "parts", stop_after=1)
    resumed = load_components(train(accumulating, tmp_path / "parts")).yoso.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("refiner", {"angular_weight": 1.0}),
        ("semantic", {}),
        ("angular", {"train_image_encoder": True, "train_decoder": True}),
    ],
)
def test_gradient_checkpointing_changes_memory_and_not_the_result(config, part, settings, tmp_path, for_part):
    small = for_part(config, part, stages=(Stage(32, 2, 2, 0),), bf16=False, **settings)
    plain = load_components(train(small, tmp_path / "plain")).parts()[SUBJECTS[part]].state_dict()
    saving = dataclasses.replace(small, gradient_checkpointing=True)
    trained = load_components(train(saving, tmp_path / "saving")).parts()[SUBJECTS[part]].state_dict()
    for name, value in trained.items():
        torch.testing.assert_close(value, plain[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("part", ["refiner", "angular"])
def test_gradient_checkpointing_reaches_all_that_a_step_goes_through(config, part, tmp_path, for_part):
    kept = []
    for enabled in (False, True):
        tuned = {"train_image_encoder": True} if part == "angular" else {"angular_weight": 1.0}
        saving = for_part(config, part, gradient_checkpointing=enabled, stages=(Stage(32, 1, 2, 0),), **tuned)
        corpus = open_corpus(Path(config.data))
        trained = begin(saving, corpus, corpus, tmp_path)
        trained.samples(saving.stages[0])
        sample = divide_step(np.arange(2), 0, 0, 0, 1, 1, torch.device("cpu"))[0]
        sizes = []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            trained.loss(saving.stages[0], sample)
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


def test_gradient_checkpointing_keeps_fewer_features(toy_model):
    """Counts what the backward pass would read: the tensors that autograd saves."""
    denoiser = load_components(toy_model).refiner
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    saved = []
    for enabled in (False, True):
        if enabled:
            denoiser.unet.enable_gradient_checkpointing()
            denoiser.condition_encoder.network.enable_gradient_checkpointing()
        sizes = []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            denoiser.train().predict(x, 401, x)
        saved.append(sum(sizes))
    assert saved[1] < 0.6 * saved[0]


def test_a_loss_that_is_not_finite_stops_with_one_line_and_a_good_checkpoint(config, toy_model, tmp_path):
    broken = load_components(toy_model)
    train(config, tmp_path / "run", stop_after=2)
    with torch.no_grad():
        broken.yoso.unet.conv_in.weight.fill_(float("nan"))
    base = save_components(broken, tmp_path / "broken", torch.float32)
    with pytest.raises(SettingError, match="step 1: the loss is nan") as caught:
        train(dataclasses.replace(config, base=str(base)), tmp_path / "other")
    assert "\n" not in str(caught.value)
    assert "checkpoint" not in str(caught.value)
    assert train(config, tmp_path / "run", stop_after=3) is None


def test_a_gradient_that_is_not_finite_stops_before_it_is_used(config, tmp_path, monkeypatch):
    train(config, tmp_path, stop_after=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    loss = YosoTraining.loss

    def steep(self, stage, samples):
        value, figures = loss(self, stage, samples)
        return value + torch.sqrt(value * 0), figures

    monkeypatch.setattr(YosoTraining, "loss", steep)
    with pytest.raises(SettingError, match=r"step 3: the norm of the gradient is nan.*last good state"):
        train(config, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_refused_configuration_leaves_the_runs_own(config, tmp_path):
    train(config, tmp_path, stop_after=2)
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(DataError, match="another configuration"):
        train(dataclasses.replace(config, seed=1), tmp_path)
    assert (tmp_path / "config.yaml").read_bytes() == before


def test_latents_of_other_things_are_computed_again(config, tmp_path):
    one = dataclasses.replace(config, stages=(Stage(32, 1, 4),))
    train(one, tmp_path, stop_after=1)
    cached = tmp_path / "latents" / "yoso-32" / "x0.npy"
    before, written = np.load(cached), cached.stat().st_mtime_ns
    (tmp_path / "checkpoint.pt").unlink()
    train(one, tmp_path)
    assert cached.stat().st_mtime_ns == written
    (tmp_path / "checkpoint.pt").unlink()
    train(dataclasses.replace(one, seed=5), tmp_path)
    assert not np.array_equal(np.load(cached), before)


def test_yoso_is_run_as_it_was_trained(config, toy_model, tmp_path):
    other = load_components(toy_model)
    other.spec = dataclasses.replace(other.spec, start="image_latent", turbo_t=7)
    base = save_components(other, tmp_path / "base", torch.float32)
    short = dataclasses.replace(config, base=str(base), stages=(Stage(32, 1, 4),))
    spec = load_components(train(short, tmp_path / "noise")).spec
    assert (spec.start, spec.turbo_t) == ("noise", 0)
    zeros = dataclasses.replace(short, shrinkage=1.0)
    assert load_components(train(zeros, tmp_path / "zeros")).spec.start == "zeros"


def test_a_refiner_takes_a_text_condition_of_another_length(config, toy_model, tmp_path, for_part):
    other = load_components(toy_model)
    other.spec = dataclasses.replace(other.spec, text="zeros")
    base = save_components(other, tmp_path / "base", torch.float32)
    short = for_part(config, "refiner", base=str(base), stages=(Stage(32, 1, 4),))
    trained = load_components(train(short, tmp_path / "run"))
    assert trained.refiner.text.shape == trained.yoso.text.shape


def test_rolls_and_blurs_reach_the_samples(config, tmp_path):
    found = []
    for name, change in (("plain", {}), ("rolled", {"roll_deg": 20.0}), ("blurred", {"blur_px": 3.0})):
        changed = dataclasses.replace(config, stages=(Stage(32, 1, 4),), **change)
        train(changed, tmp_path / name)
        cache = tmp_path / name / "latents" / "yoso-32"
        found.append([np.load(cache / f"{one}.npy") for one in ("x0", "image_latent")])
    assert not np.array_equal(found[0][0], found[1][0])
    assert not np.array_equal(found[0][1], found[2][1])


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(config, tmp_path):
    train(config, tmp_path, stop_after=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OutputError, match="cannot write") as caught:
            train(config, tmp_path, stop_after=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert train(config, tmp_path)


def test_pictures_and_metrics_of_a_fixed_set(config, tmp_path):
    train(config, tmp_path)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["0000003.png", "0000006.png"]
    pixels = png.decode((tmp_path / "pictures" / names[0]).read_bytes())
    assert pixels.shape == (4 * 64 + 3 * 2, 3 * 64 + 2 * 2, 3)
    again = png.decode((tmp_path / "pictures" / names[1]).read_bytes())
    assert np.array_equal(pixels[:, :64], again[:, :64])  # the same photographs
    assert not np.array_equal(pixels[:, 66:130], again[:, 66:130])
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = next(record for record in log if "turbo_deg" in record)
    assert {"turbo_median_deg", "turbo_below_11.25_percent"} <= found.keys()
    assert (tmp_path / "tensorboard").is_dir()


def test_progress_is_told_after_every_step(config, tmp_path):
    told = []
    train(config, tmp_path, watch=told.append)
    assert [one.step for one in told] == [1, 2, 3, 4, 5, 6] and {one.total for one in told} == {6}
    assert all(one.images_per_s > 0 and np.isfinite(one.loss) for one in told)
    assert told[0].seconds_left > 0 == told[-1].seconds_left


class TestFromStableDiffusion:
    @pytest.fixture(params=["sd1", "sd2"])
    def base(self, request, tmp_path, write_stable_diffusion):
        return write_stable_diffusion(tmp_path / request.param, request.param)

    def test_trains_and_writes_a_model(self, config, base, tmp_path):
        starting = dataclasses.replace(config, base=f"sd:{base}", stages=(Stage(32, 1, 2),))
        trained = load_components(train(starting, tmp_path / "run"))
        assert (trained.spec.name, trained.spec.native_frame) == (base.name, "opengl")
        assert trained.spec.processing_resolution == 32
        assert trained.yoso.text.shape[1] == 8  # the base's tokens

    def test_another_architecture_is_one_clear_line(self, config, tmp_path, write_stable_diffusion):
        folder = write_stable_diffusion(tmp_path / "xl", "sd2")
        (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
        (folder / "text_encoder_2").mkdir()
        with pytest.raises(ModelError, match="StableDiffusionXLPipeline, of another architecture"):
            train(dataclasses.replace(config, base=f"sd:{folder}"), tmp_path / "run")
        assert not (tmp_path / "run").exists()


class TestSources:
    @pytest.fixture
    def sources(self, corpus_folder, tmp_path):
        corpus = open_corpus(corpus_folder)
        (tmp_path / "shards").mkdir()
        samples = []
        for place in range(8):
            samples.append(
                Sample(
                    image=corpus.images[place],
                    normals=corpus.normals(place),
                    depth=np.ones((64, 64), np.float32),
                    labels=corpus.labels[place],
                    instances=np.ones((64, 64), np.uint16),
                    intrinsics=Intrinsics.centred(64, 64, 64),
                    meta={"key": f"v{place}"},
                )
            )
        write_shard(shard_path(tmp_path / "shards", 0), samples)
        return (SourceConfig("shards", str(tmp_path / "shards")),)

    @pytest.mark.parametrize("part", ["yoso", "semantic"])
    def test_sets_as_they_lie_train_and_resume_bit_for_bit(self, config, part, sources, tmp_path, for_part):
        drawing = for_part(config, part, data="", sources=sources, source_size=64)
        write_settings(drawing, tmp_path / "c.yaml")
        assert read_settings(tmp_path / "c.yaml") == drawing
        whole = load_components(train(drawing, tmp_path / "whole")).parts()[SUBJECTS[part]].state_dict()
        train(drawing, tmp_path / "parts", stop_after=2)
        resumed = load_components(train(drawing, tmp_path / "parts")).parts()[SUBJECTS[part]].state_dict()
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items())

    def test_data_or_sources_and_not_both(self, config, sources):
        with pytest.raises(SettingError, match="sources, or tokens; not several, not none"):
            dataclasses.replace(config, sources=sources)
        with pytest.raises(SettingError, match="sources, or tokens; not several, not none"):
            dataclasses.replace(config, data="")


def test_denoisers_are_validated_at_the_size_of_the_stage(config, tmp_path, monkeypatch):
    sizes, call = [], StableNormal.__call__

    def spied(self, images, **options):
        sizes.append(options["processing_resolution"])
        return call(self, images, **options)

    monkeypatch.setattr(StableNormal, "__call__", spied)
    stages = (Stage(32, 1, 2), Stage(64, 1, 2))
    train(dataclasses.replace(config, stages=stages, validate_every=1), tmp_path)
    assert set(sizes) == {32, 64}


def test_the_speed_and_the_hours_left_are_told_after_three_steps_of_each_stage(config, tmp_path, caplog):
    with caplog.at_level("INFO", logger="stablenormal.training.loop"):
        train(config, tmp_path / "run")
    told = [record.getMessage() for record in caplog.records if "hours left" in record.getMessage()]
    assert [line.partition(":")[0] for line in told] == ["step 3", "step 6"]
    assert all("images/s" in line for line in told)
