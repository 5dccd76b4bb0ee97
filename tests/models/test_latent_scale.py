from dataclasses import replace

import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.models.architecture import TOY, TOY_SPEC, TOY_WITH_TOKENS
from stablenormal.models.autoencoder import encode
from stablenormal.models.building import build_components
from stablenormal.models.latent_scale import scale_latents
from stablenormal.pipelines.stable_normal import StableNormal


@pytest.mark.parametrize("predicts_change", [False, True])
def test_latents_grow_and_normals_stay(generator, predicts_change):
    spec = replace(TOY_SPEC, start="image_latent", predicts_change=predicts_change)
    components = build_components(TOY_WITH_TOKENS, spec, torch.Generator().manual_seed(0))
    image = torch.rand(3, 32, 32, generator=generator)
    pipeline = StableNormal(components)
    before = pipeline(image, mode="turbo")
    latents = [encode(components.autoencoder, image[None]), components.encode_image(image[None]).latent]
    scale_latents(components, 2.5)
    after = pipeline(image, mode="turbo")
    torch.testing.assert_close(after.normals, before.normals, atol=1e-4, rtol=0)
    scaled = [encode(components.autoencoder, image[None]), components.encode_image(image[None]).latent]
    for old, new in zip(latents, scaled, strict=True):
        torch.testing.assert_close(new, 2.5 * old)


def test_a_denoisers_answer_grows_as_its_question(generator):
    components = build_components(TOY_WITH_TOKENS, TOY_SPEC, torch.Generator().manual_seed(0))
    x, condition = (torch.randn(1, c, 4, 4, generator=generator) for c in (4, 8))
    for denoiser in (components.yoso, components.refiner):
        before = denoiser.predict(x, 5, condition)
        scale_latents(components, 0.5)
        torch.testing.assert_close(denoiser.predict(0.5 * x, 5, condition), 0.5 * before)
        scale_latents(components, 2.0)


def test_a_model_whose_photographs_share_the_encoder_is_refused():
    with pytest.raises(SettingError, match="from tokens alone"):
        scale_latents(build_components(TOY, TOY_SPEC), 2.0)
