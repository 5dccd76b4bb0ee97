from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stablenormal.data.packed import open_corpus
from stablenormal.models.architecture import SMALL_SPEC, TOY, TOY_SPEC
from stablenormal.models.building import build_components
from stablenormal.models.image_encoder import ImageEncoder
from stablenormal.training.loop import fit
from stablenormal.training.parallel import Processes
from stablenormal.training.samples import divide_step
from stablenormal.training.settings import Stage
from studies.claims.networks import rival_components
from studies.claims.plan import NETWORKS, STUDIED
from studies.claims.records import read_records
from studies.claims.rivals import RIVALS
from studies.claims.training import rival_training

PUBLISHED = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base():
    return build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(1))


def config_of(rival, corpus_folder, steps=2):
    return rival.part(
        base="toy",
        data=str(corpus_folder),
        heldout=str(corpus_folder),
        stages=(Stage(64, steps, 4),),
        learning_rate=3e-3,
        warmup_steps=1,
        ema_decay=0.5,
        validate_every=steps,
        bf16=False,
        validation_images=2,
        **rival.settings,
    )


def training_of(name, base, corpus_folder, tmp_path, steps=2):
    rival, corpus = RIVALS[name], open_corpus(corpus_folder)
    components = rival_components(base, TOY, rival.network, seed=3)
    config = config_of(rival, corpus_folder, steps)
    return rival_training(rival, components, corpus, corpus, config, tmp_path / "latents"), config


def samples_of(index, seed):
    return divide_step(index, seed, 0, 0, 1, 1, torch.device("cpu"))[0]


class TestEqualCompute:
    @pytest.mark.parametrize("name", RIVALS)
    def test_parameters_within_a_tenth(self, name):
        def count(network):
            return sum(p.numel() for p in network.parameters() if p.requires_grad)

        with torch.device("meta"):
            ours = build_components(STUDIED, SMALL_SPEC)
            rival = rival_components(ours, STUDIED, RIVALS[name].network, seed=0)
        for trained in (ours.yoso, ours.refiner):
            assert abs(count(rival.yoso) / count(trained) - 1) < 0.1

    def test_parameters_are_those_of_the_published_networks(self):
        records = read_records(PUBLISHED / "results/study.tar.xz")
        for place in (place for place in records if place.startswith("networks/")):
            network = NETWORKS[place.removeprefix("networks/").rpartition("-s")[0]]
            with torch.device("meta"):
                base = build_components(STUDIED, SMALL_SPEC)
                kind = RIVALS[network.rival].network if network.rival else "guided"
                components = rival_components(base, STUDIED, kind, seed=0)
            if not network.semantics:
                components.refiner.injector = None
            trained = components.refiner if network.kind == "refiner" else components.yoso
            parameters = sum(p.numel() for p in trained.parameters() if p.requires_grad)
            assert parameters == records[place]["parameters"], place

    def test_all_see_the_same_samples_in_the_same_order(self, base, corpus_folder, tmp_path):
        orders = {}
        for name in RIVALS:
            part, config = training_of(name, base, corpus_folder, tmp_path / name, steps=3)
            seen, loss = orders.setdefault(name, []), part.loss

            def recording(stage, samples, loss=loss, seen=seen):
                seen.append(samples.index.tolist())
                return loss(stage, samples)

            part.loss = recording
            fit(part, config, tmp_path / name, Processes(shard=False))
        first = orders.pop("diffusion")
        assert len(first) == 3
        assert all(order == first for order in orders.values())

    def test_the_frozen_parts_are_the_base_own_and_stay_so(self, base, corpus_folder, tmp_path):
        before = {key: value.clone() for key, value in base.autoencoder.state_dict().items()}
        part, config = training_of("end_to_end", base, corpus_folder, tmp_path)
        fit(part, config, tmp_path, Processes(shard=False))
        assert all(torch.equal(base.autoencoder.state_dict()[key], value) for key, value in before.items())


class TestRivalComponents:
    def test_guided_networks_of_one_seed_are_equal(self, base):
        first, again, other = (rival_components(base, TOY, "guided", seed) for seed in (0, 0, 1))
        weight = first.yoso.unet.conv_in.weight
        assert torch.equal(again.yoso.unet.conv_in.weight, weight)
        assert not torch.equal(other.yoso.unet.conv_in.weight, weight)

    def test_what_each_rival_sees(self, base):
        generator = torch.Generator().manual_seed(0)
        image, x, y = torch.randn(3, 1, 4, 8, 8, generator=generator)
        depends = {}
        for name, rival in RIVALS.items():
            network = rival_components(base, TOY, rival.network, 0).yoso
            depends[name] = not torch.equal(network.predict(x, 5, image), network.predict(y, 5, image))
            assert not torch.equal(network.predict(x, 5, image), network.predict(x, 5, y)), name
        assert depends == {name: name != "feed_forward" for name in RIVALS}


class TestTraining:
    @pytest.mark.parametrize("name", RIVALS)
    def test_learns_its_few_samples(self, name, base, corpus_folder, tmp_path):
        part, config = training_of(name, base, corpus_folder, tmp_path, steps=12)
        part.samples(config.stages[0])

        def mean_loss():
            with torch.no_grad():
                losses = [
                    float(part.loss(config.stages[0], samples_of(np.arange(12), draw))[0])
                    for draw in range(4)
                ]
            return np.mean(losses)

        before = mean_loss()
        part.module.load_state_dict(fit(part, config, tmp_path, Processes(shard=False)))
        assert mean_loss() < before - 0.01

    def test_genpercept_is_fed_zeros_and_asked_for_the_clean_latent(self, base, corpus_folder, tmp_path):
        part, config = training_of("genpercept", base, corpus_folder, tmp_path)
        part.samples(config.stages[0])
        fed, network = [], part.module
        predict = network.predict
        network.predict = lambda x, t, image: (fed.append((x, t)), predict(x, t, image))[1]
        part.loss(config.stages[0], samples_of(np.arange(4), 0))
        x, t = fed[0]
        assert not x.any()
        assert not t.any()

    @torch.no_grad()
    def test_diffusion_validates_by_sampling(self, base, corpus_folder, tmp_path):
        for name in ("diffusion", "marigold"):
            part, _ = training_of(name, base, corpus_folder, tmp_path)
            figures = part.validate().figures
            assert 0 < figures["ten_steps_deg"] < 180


def test_leading_and_trailing_spacing():
    assert RIVALS["diffusion"].table(10)[0].t_network == 901
    assert RIVALS["marigold"].table(10)[0].t_network == 999


def test_rivals_of_a_start_that_the_base_does_not_have(base):
    """The spec that a released model brings does not leak into a fresh network."""
    other = replace(base, spec=replace(base.spec, start="image_latent"))
    assert rival_components(other, TOY, "guided", 0).spec.start == "noise"


def test_rivals_see_photographs_as_the_base_does(base):
    encoder = ImageEncoder.from_autoencoder(base.autoencoder)
    rival = rival_components(replace(base, image_encoder=encoder), TOY, "beside", 0)
    assert rival.image_encoder is encoder
    assert not any(weight.requires_grad for weight in encoder.parameters())
