import pytest
import torch

from stablenormal.models.semantic_injector import GAUSSIAN_STD, InputInjector, StageInjector, align
from stablenormal.models.unet_stages import stage_channels


@pytest.fixture(params=["input", "every_stage"])
def injector(request, toy):
    stages = stage_channels(toy.refiner.unet)
    if request.param == "input":
        return InputInjector(12, (16, 32, 64, 128), stages[0][0])
    return StageInjector(12, (16, 32, 64), stages, zero_projections=True)


def test_training_starts_as_if_there_were_no_injection_bit_for_bit(toy, injector, generator):
    x = torch.randn(2, 4, 6, 4, generator=generator)
    features = torch.randn(2, 12, 2, 2, generator=generator)
    toy.refiner.injector = injector
    assert torch.equal(toy.refiner.predict(x, 401, x, semantic=features), toy.refiner.predict(x, 401, x))


def test_and_then_it_learns(toy, injector, generator):
    x = torch.randn(2, 4, 6, 4, generator=generator)
    features = torch.randn(2, 12, 2, 2, generator=generator)
    toy.refiner.injector = injector
    optimiser = torch.optim.SGD(injector.parameters(), lr=1.0)
    toy.refiner.predict(x, 401, x, semantic=features).square().mean().backward()
    optimiser.step()
    injected = toy.refiner.predict(x, 401, x, semantic=features)
    assert not torch.equal(injected, toy.refiner.predict(x, 401, x))


def test_shapes_are_the_stages(toy, injector, generator):
    residuals = injector(torch.randn(2, 12, 2, 2, generator=generator), (5, 4))
    stages = [(2, 8, 5, 4), (2, 8, 5, 4), (2, 8, 3, 2), (2, 16, 3, 2)]
    expected = stages[:1] if isinstance(injector, InputInjector) else stages
    assert [tuple(residual.shape) for residual in residuals] == expected


def test_papers_form_has_four_gaussian_convolutions():
    injector = InputInjector(64, (16, 32, 64, 128), 320)
    assert [convolution.out_channels for convolution in injector.convolutions] == [16, 32, 64, 128]
    for convolution in injector.convolutions:
        assert convolution.weight.std().item() == pytest.approx(GAUSSIAN_STD, rel=0.1)
        assert not convolution.bias.any()
    assert not injector.projection.weight.any() and not injector.projection.bias.any()


def test_released_form_adds_raw_outputs_without_projections(toy, generator):
    injector = StageInjector(12, (16,), stage_channels(toy.refiner.unet), zero_projections=False)
    assert injector.projections is None
    assert all(residual.any() for residual in injector(torch.randn(1, 12, 2, 2, generator=generator), (4, 4)))


def test_align_is_bilinear():
    ramp = torch.arange(4.0).view(1, 1, 1, 4)
    torch.testing.assert_close(
        align(ramp, (1, 8)), torch.tensor([[[[0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]]]])
    )
