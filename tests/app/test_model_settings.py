import pytest
import torch

from stablenormal.app.model_settings import ModelSettings, load_estimator
from stablenormal.errors import SettingError
from stablenormal.pipelines import StableNormal

IMAGE = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))


def test_it_is_the_pipeline(toy_model) -> None:
    settings = ModelSettings(
        str(toy_model), steps=2, ensemble=2, resolution=32, device="cpu", dtype="float32"
    )
    estimate, weight_hash, _ = load_estimator(settings)
    pipeline = StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")
    expected = pipeline([IMAGE], seed=5, steps=2, ensemble=2, processing_resolution=32).normals[0]
    assert torch.equal(estimate(IMAGE, 5), expected)
    assert not torch.equal(estimate(IMAGE, 6), expected)
    assert weight_hash == pipeline.weight_hash
    turbo, *_ = load_estimator(ModelSettings(str(toy_model), mode="turbo", device="cpu", dtype="float32"))
    assert torch.equal(turbo(IMAGE, 5), pipeline([IMAGE], mode="turbo", seed=5).normals[0])


@pytest.mark.parametrize(
    "options",
    [{"mode": "fast"}, {"ensemble": 0}, {"steps": 0}, {"steps": 3, "mode": "turbo"}, {"resolution": -1}],
)
def test_settings_are_checked_before_a_model_is_loaded(options) -> None:
    with pytest.raises(SettingError, match="--"):
        ModelSettings("small", **options)
