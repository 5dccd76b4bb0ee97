import pytest
import torch

from stablenormal.errors import ImageShapeError
from stablenormal.models.architecture import TOY
from stablenormal.models.building import build_unet
from stablenormal.models.condition_encoder import ConditionResiduals
from stablenormal.models.denoiser import guided_forward
from stablenormal.models.unet_stages import stage_channels


@pytest.fixture
def unet():
    return build_unet(TOY.refiner, latent_channels=4)


def residuals_for(unet, height, width, generator):
    shapes, size = [], (height, width)
    for channels, stride in stage_channels(unet):
        size = tuple(-(-side // stride) for side in size)
        shapes.append((2, channels, *size))
    skips = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    return ConditionResiduals(skips, torch.randn(shapes[-1], generator=generator))


class TestGuidedForward:
    @pytest.mark.parametrize("size", [(8, 8), (6, 10), (5, 7), (1, 3)])
    @pytest.mark.parametrize("timestep", [401, torch.tensor([1, 801])])
    def test_equals_diffusers_own_forward_with_control(self, unet, generator, size, timestep):
        x = torch.randn(2, 4, *size, generator=generator)
        text = torch.randn(2, 3, 8, generator=generator)
        condition = residuals_for(unet, *size, generator)
        expected = unet(
            x,
            timestep,
            text,
            down_block_additional_residuals=list(condition.skips),
            mid_block_additional_residual=condition.middle,
        ).sample
        torch.testing.assert_close(guided_forward(unet, x, timestep, text, condition), expected)

    def test_an_injection_passes_on_and_into_the_skip(self, unet, generator):
        """Adding c to `conv_in`'s output equals adding c to its bias."""
        x = torch.randn(2, 4, 8, 8, generator=generator)
        text = torch.randn(2, 3, 8, generator=generator)
        condition = residuals_for(unet, 8, 8, generator)
        shift = torch.randn(8, generator=generator)
        injected = guided_forward(unet, x, 1, text, condition, [shift.view(1, 8, 1, 1).expand(2, 8, 8, 8)])
        with torch.no_grad():
            unet.conv_in.bias += shift
        torch.testing.assert_close(injected, guided_forward(unet, x, 1, text, condition))

    def test_every_stage_consumes_its_residual(self, unet, generator):
        x = torch.randn(2, 4, 8, 8, generator=generator)
        text = torch.randn(2, 3, 8, generator=generator)
        condition = residuals_for(unet, 8, 8, generator)
        semantic = [torch.randn(skip.shape, generator=generator) for skip in condition.skips]
        full = guided_forward(unet, x, 1, text, condition, semantic)
        for stage in range(len(semantic)):
            changed = [s * 2 if index == stage else s for index, s in enumerate(semantic)]
            assert not torch.allclose(guided_forward(unet, x, 1, text, condition, changed), full)

    def test_refuses_residuals_left_over(self, unet, generator):
        condition = residuals_for(unet, 8, 8, generator)
        x, text = torch.zeros(2, 4, 8, 8), torch.zeros(2, 3, 8)
        with pytest.raises(ImageShapeError, match="5 semantic residuals for 4 encoder stages"):
            guided_forward(unet, x, 1, text, condition, [*condition.skips, torch.zeros(1)])


class TestGuidedDenoiser:
    def test_predict_is_condition_semantic_and_denoise(self, toy, generator):
        x = torch.randn(2, 4, 4, 4, generator=generator)
        latent = torch.randn(2, 4, 4, 4, generator=generator)
        features = torch.randn(2, 12, 2, 2, generator=generator)
        pair = toy.refiner
        torch.nn.init.normal_(pair.injector.projection.weight)
        whole = pair.predict(x, 401, latent, semantic=features)
        pieces = pair.denoise(
            x, 401, pair.encode_condition(latent, 401), pair.encode_semantic(features, (4, 4))
        )
        assert torch.equal(whole, pieces)
        assert not torch.allclose(whole, pair.predict(x, 401, latent))

    def test_the_stored_text_conditions_the_prediction(self, toy, generator):
        x = torch.randn(1, 4, 4, 4, generator=generator)
        before = toy.yoso.predict(x, 1, x)
        toy.yoso.text = toy.yoso.text + 1
        assert not torch.allclose(toy.yoso.predict(x, 1, x), before)

    def test_gradients_reach_every_trained_part(self, toy, generator):
        x = torch.randn(1, 4, 4, 4, generator=generator)
        features = torch.randn(1, 12, 2, 2, generator=generator)
        torch.nn.init.normal_(toy.refiner.injector.projection.weight)
        toy.refiner.predict(x, torch.tensor([401]), x, semantic=features).square().sum().backward()
        for name, parameter in toy.refiner.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
