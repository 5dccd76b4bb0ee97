import dataclasses
import json

import pytest
import torch
from torch.nn import functional

from stablenormal.errors import SettingError
from stablenormal.models.loading import load_components
from stablenormal.training.parts.self_distillation import SelfDistillationSettings, nearest_mean_accuracy
from stablenormal.training.parts.upsampler import WeightedPooling, jitter_maps
from stablenormal.training.run import train
from stablenormal.training.settings import Stage


@pytest.fixture
def config(corpus_folder, toy_model):
    return SelfDistillationSettings(
        base=str(toy_model),
        data=str(corpus_folder),
        heldout=str(corpus_folder),
        stages=(Stage(64, 3, 4),),
        warmup_steps=1,
        checkpoint_every=2,
        validation_images=4,
        local_crops=2,
        prototypes=16,
    )


def _log(folder, key):
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record[key] for record in records if key in record]


class TestSelfDistillation:
    def test_trains_the_encoder_alone_and_resumes_bit_for_bit(self, config, toy_model, tmp_path):
        whole = load_components(train(config, tmp_path / "whole"))
        assert train(config, tmp_path / "parts", stop_after=1) is None
        resumed = load_components(train(config, tmp_path / "parts"))
        before = load_components(toy_model)
        for name, part in whole.parts().items():
            after, again = part.state_dict(), resumed.parts()[name].state_dict()
            assert all(torch.equal(value, again[key]) for key, value in after.items())
            old = before.parts()[name].state_dict()
            changed = any(not torch.equal(value, old[key]) for key, value in after.items())
            assert changed == (name == "semantic_encoder")
        assert {"dino", "ibot", "koleo"} <= set(
            json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[0])
        )

    @pytest.mark.parametrize(
        "change",
        [{"local_crops": 0}, {"masked_fraction": 0.0}, {"koleo_weight": 0.0}, {"teacher_momentum": 0.5}],
    )
    def test_every_setting_does_something(self, config, change, tmp_path):
        losses = []
        for place, one in enumerate((config, dataclasses.replace(config, **change))):
            train(one, tmp_path / str(place), stop_after=2)
            losses += _log(tmp_path / str(place), "loss")
        assert losses[0] != losses[1]


class TestUpsampler:
    def test_its_error_falls(self, config, tmp_path, for_part):
        longer = for_part(
            config,
            "upsampler",
            stages=(Stage(32, 24, 4),),
            learning_rate=0.02,
            ema_decay=0.5,
            validate_every=4,
        )
        components = load_components(train(longer, tmp_path))
        upsampled, bilinear = (_log(tmp_path, f"{name}_mse") for name in ("upsampled", "bilinear"))
        assert upsampled[-1] < 0.95 * upsampled[0]
        assert len(upsampled) == len(bilinear) == 6
        assert components.spec.alignment == "bilinear"  # what the refiner was trained with stays

    def test_the_refiner_is_trained_on_what_it_will_see(self, config, tmp_path, for_part):
        ready = train(for_part(config, "upsampler"), tmp_path / "upsampler")
        refining = for_part(config, "refiner", base=str(ready), alignment="upsampler")
        trained = load_components(train(refining, tmp_path / "refiner"))
        assert trained.spec.alignment == "upsampler" and trained.feature_upsampler is not None
        with pytest.raises(SettingError, match="no feature upsampler; train one first"):
            train(dataclasses.replace(refining, base=config.base), tmp_path / "none")

    def test_jitters_stay_inside_the_image(self):
        draws = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
        maps = jitter_maps(draws, 1.5)
        corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1], [-1, 1, 1], [1, -1, 1]])
        seen = torch.einsum("bij,cj->bci", maps, corners)
        assert seen.abs().max() <= 1 + 1e-6
        assert maps[:, 0, 0].abs().min() < 0.7 and (maps[:, 0, 0] < 0).float().mean() == pytest.approx(
            0.5, abs=0.1
        )
        assert torch.equal(jitter_maps(torch.tensor([[0.0, 0.3, 0.7, 0.9]]), 1.5)[0], torch.eye(2, 3))

    def test_pooling_begins_as_the_average(self):
        features = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(WeightedPooling(2)(features), functional.avg_pool2d(features, 2))


def test_nearest_mean_finds_separable_classes():
    labels = torch.randint(0, 3, (6, 4, 4), generator=torch.Generator().manual_seed(0))
    features = functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert nearest_mean_accuracy(features, labels) == 1
    wrong = features.clone()
    wrong[1::2] = wrong[1::2].roll(1, dims=1)
    assert nearest_mean_accuracy(wrong, labels) == 0
