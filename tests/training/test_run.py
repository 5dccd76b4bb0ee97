import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stablenormal.data.packed import open_corpus
from stablenormal.errors import DataError, SettingError
from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.autoencoder import decode, encode, posterior
from stablenormal.models.building import build_components
from stablenormal.models.loading import load_components
from stablenormal.training.augmentation import load_batch
from stablenormal.training.config import Stage, TrainingConfig
from stablenormal.training.run import quieten, sine_positions, train

SUBJECTS = {
    "autoencoder": "autoencoder",
    "semantic": "semantic_encoder",
    "yoso": "yoso",
    "refiner": "refiner",
    "angular": "yoso",
}


@pytest.fixture
def config(corpus_folder, toy_model):
    return TrainingConfig(
        part="yoso",
        base=str(toy_model),
        data=str(corpus_folder),
        heldout=str(corpus_folder),
        stages=(Stage(32, 3, 4, 2), Stage(64, 3, 2)),
        warmup_steps=1,
        validate_every=3,
        checkpoint_every=2,
        validation_images=4,
    )


def _weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("part", SUBJECTS)
def test_training_changes_its_part_and_no_other(config, part, toy_model, tmp_path):
    config = dataclasses.replace(config, part=part, start_from_yoso=False)
    trained = load_components(train(config, tmp_path / "run"))
    before = load_components(toy_model)
    for name, module in trained.parts().items():
        old = _weights(before.parts()[name])
        changed = any(not torch.equal(value, old[key]) for key, value in module.state_dict().items())
        assert changed == (name == SUBJECTS[part]), name
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any("loss" in record for record in records)
    assert sum(any(key.endswith(("_deg", "accuracy")) and "loss" not in r for key in r) for r in records) >= 2


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


@pytest.mark.parametrize("start", ["noise", "zeros", "image_latent"])
def test_angular_lowers_the_angle_and_writes_its_start_into_the_spec(config, start, tmp_path):
    several = dataclasses.replace(
        config, part="angular", start=start, stages=(Stage(32, 60, 8),), learning_rate=3e-3, ema_decay=0.9
    )
    trained = load_components(train(several, tmp_path / "run"))
    assert trained.spec.start == start
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    turbo = [record["turbo_deg"] for record in log if "turbo_deg" in record]
    assert turbo[-1] < turbo[0] - 2


def test_refiner_learns_from_the_own_start_and_the_angle(config, tmp_path):
    angular = train(
        dataclasses.replace(config, part="angular", stages=(Stage(32, 2, 4),)), tmp_path / "start"
    )
    small = dataclasses.replace(config, part="refiner", base=str(angular), stages=(Stage(32, 3, 4),))
    plain = load_components(train(small, tmp_path / "plain")).refiner.state_dict()
    for change in ({"own_start_fraction": 1.0}, {"angular_weight": 1.0}):
        changed = dataclasses.replace(small, **change)
        other = load_components(train(changed, tmp_path / next(iter(change)))).refiner.state_dict()
        assert any(not torch.equal(value, plain[key]) for key, value in other.items()), change


def test_own_start_needs_a_network_without_noise(config, tmp_path):
    with pytest.raises(SettingError, match="without noise"):
        train(dataclasses.replace(config, part="refiner", own_start_fraction=0.5), tmp_path)


def test_refiner_starts_from_yoso_where_asked(config, tmp_path):
    still = dataclasses.replace(config, part="refiner", learning_rate=1e-12, ema_decay=0.0, weight_decay=0.0)
    trained = load_components(train(still, tmp_path / "run"))
    yoso = trained.yoso.unet.state_dict()
    for name, value in trained.refiner.unet.state_dict().items():
        torch.testing.assert_close(value, yoso[name], atol=1e-6, rtol=0)


def test_autoencoder_scaling_gives_latents_of_unit_variance(config, corpus_folder, tmp_path):
    trained = load_components(train(dataclasses.replace(config, part="autoencoder"), tmp_path / "run"))
    corpus = open_corpus(corpus_folder)
    normals = load_batch(corpus, np.arange(len(corpus)), 128, None).normals
    assert encode(trained.autoencoder, normals).std().item() == pytest.approx(1, abs=0.02)


def test_a_frozen_encoder_keeps_its_latents(config, toy_model, tmp_path):
    frozen = dataclasses.replace(config, part="autoencoder", freeze_encoder=True, normals_fraction=1.0)
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


def test_seed_decides_the_weights(config, tmp_path):
    one = train(config, tmp_path / "one")
    two = train(dataclasses.replace(config, seed=5), tmp_path / "two")
    file = next(path.relative_to(one) for path in one.rglob("*.safetensors") if "yoso" in str(path))
    a, b = load_file(one / file), load_file(two / file)
    assert any(not torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    "change",
    [
        {"shrinkage": 0.0},
        {"clean_fraction": 1.0},
        {"clip_norm": 1e-3},
        {"weight_decay": 0.5},
        {"bf16": False},
    ],
)
def test_every_setting_does_something(config, change, tmp_path):
    small = dataclasses.replace(config, stages=(Stage(32, 3, 4),), validate_every=9)
    one = load_components(train(small, tmp_path / "one"))
    two = load_components(train(dataclasses.replace(small, **change), tmp_path / "two"))
    old = one.yoso.state_dict()
    assert any(not torch.equal(value, old[key]) for key, value in two.yoso.state_dict().items())


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
