"""`torch.hub.load` on the checkout: the released predictor's call, a PIL image in and one out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from stablenormal.errors import ModelError, SettingError
from stablenormal.pipelines import StableNormal

CHECKOUT = str(Path(__file__).parents[2])


@pytest.fixture
def photograph() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))


def hub(name: str, **options: object):
    return torch.hub.load(CHECKOUT, name, source="local", trust_repo=True, device="cpu", **options)


def test_the_checkout_offers_the_released_names():
    predictor = hub("StableNormal_turbo")  # the bundled model
    assert predictor.model.spec.name == "small" and predictor.mode == "turbo"


def test_a_picture_in_a_picture_out(toy_model, photograph):
    for name, mode in (("StableNormal", "full"), ("StableNormal_turbo", "turbo")):
        found = hub(name, weights=str(toy_model))(photograph)
        assert isinstance(found, Image.Image) and (found.mode, found.size) == ("RGB", photograph.size)
        pipeline = StableNormal.from_pretrained(toy_model, device="cpu")
        assert found.tobytes() == pipeline(photograph, mode=mode).to_pil(frame="dsine").tobytes()


def test_every_argument_of_the_released_call_does_something(toy_model, photograph):
    predictor = hub("StableNormal", weights=str(toy_model))
    plain = predictor(photograph)
    assert predictor(photograph, match_input_resolution=False).size == (32, 23)
    for options in ({"resolution": 64}, {"num_inference_steps": 3}, {"frame": "opengl"}, {"seed": 1}):
        assert predictor(photograph, **options).tobytes() != plain.tobytes(), options
    mirrored = np.asarray(predictor(photograph, frame="opengl"))[..., 0]
    np.testing.assert_allclose(np.asarray(plain)[..., 0].astype(int), 255 - mirrored.astype(int), atol=1)
    assert predictor.to("cpu", "bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(SettingError, match="steps: turbo mode has no refinement"):
        hub("StableNormal_turbo", weights=str(toy_model))(photograph, num_inference_steps=3)


def test_what_is_no_object_is_white(toy_model, photograph):
    predictor = hub("StableNormal", weights=str(toy_model))
    transparent = photograph.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.pad(np.full((20, 30), 255, np.uint8), ((10, 10), (13, 13)))))
    white = (np.asarray(predictor(transparent)) == 255).all(-1)
    assert white[:10].all() and white[:, :13].all() and not white[10:30, 13:43].any()
    disc = Image.new("RGB", (64, 64), (240, 240, 240))
    ImageDraw.Draw(disc).ellipse((16, 16, 48, 48), fill=(160, 30, 30))
    white = (np.asarray(predictor(disc, data_type="object")) == 255).all(-1)
    assert white[0].all() and not white[28:36, 28:36].any()
    with pytest.raises(SettingError, match="cannot mask 'outdoor'"):
        predictor(disc, data_type="outdoor")


@pytest.mark.parametrize("recording", ["released_rule"], indirect=True)
def test_released_repositories_are_joined_once(repositories, recording, photograph):
    folder = repositories[0].parent
    with pytest.raises(ModelError, match="`trust_remote_code`"):
        hub("StableNormal", local_cache_dir=str(folder))
    options = {"local_cache_dir": str(folder), "trust_remote_code": True}
    first = hub("StableNormal", **options)
    index = folder / "joined-yoso-normal-v0-3-stable-normal-v0-1" / "model_index.json"
    written = index.stat().st_mtime_ns
    assert first.model.spec.start == "noise"
    hub("StableNormal_turbo", **options)
    assert index.stat().st_mtime_ns == written
