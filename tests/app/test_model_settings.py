import pytest
import torch

from stablenormal.app.model_settings import ModelSettings, described, load_estimator
from stablenormal.errors import SettingError
from stablenormal.models.spec import ModelSpec, Quality
from stablenormal.pipelines import StableNormal

IMAGE = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))


def test_it_is_the_pipeline(toy_model) -> None:
    settings = ModelSettings(
        str(toy_model), steps=2, ensemble=2, resolution=32, device="cpu", dtype="float32"
    )
    estimate, weight_hash, asked, _ = load_estimator(settings)
    pipeline = StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")
    expected = pipeline([IMAGE], seed=5, steps=2, ensemble=2, processing_resolution=32).normals[0]
    assert torch.equal(estimate(IMAGE, 5), expected)
    assert not torch.equal(estimate(IMAGE, 6), expected)
    assert weight_hash == pipeline.weight_hash
    assert (asked.mode, asked.sizes, asked.mirrored) == ("full", (32,), False)
    turbo, *_ = load_estimator(ModelSettings(str(toy_model), mode="turbo", device="cpu", dtype="float32"))
    assert torch.equal(turbo(IMAGE, 5), pipeline([IMAGE], mode="turbo", seed=5).normals[0])


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "fast"},
        {"quality": "turbo"},
        {"ensemble": 0},
        {"steps": 0},
        {"steps": 3, "mode": "turbo"},
        {"resolution": -1},
    ],
)
def test_settings_are_checked_before_a_model_is_loaded(options) -> None:
    with pytest.raises(SettingError, match="--"):
        ModelSettings("small", **options)


def test_a_quality_is_what_the_spec_says_and_the_other_options_go_before_it() -> None:
    spec = ModelSpec("x", qualities={"best": Quality("full", (64, 96), mirrored=True)})
    best = ModelSettings(quality="best").asked(spec)
    assert described(best) == "full, 64 px and 96 px, plain and mirrored"
    assert ModelSettings(quality="best", mode="turbo", resolution=0).asked(spec) == Quality(
        "turbo", (0,), True
    )
    assert ModelSettings().asked(spec) == spec.quality("normal")
    assert ModelSettings(mode="turbo").asked(spec) == Quality("turbo")
    with pytest.raises(SettingError, match="--quality fast has no refinement"):
        ModelSettings(quality="fast", steps=3).asked(spec)


def test_a_quality_reaches_the_pipeline(toy_model) -> None:
    settings = ModelSettings(str(toy_model), quality="best", device="cpu", dtype="float32")
    estimate, *_ = load_estimator(settings)
    pipeline = StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")
    assert torch.equal(estimate(IMAGE, 5), pipeline([IMAGE], seed=5, quality="best").normals[0])
    assert not torch.equal(estimate(IMAGE, 5), pipeline([IMAGE], seed=5).normals[0])
