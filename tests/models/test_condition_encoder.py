import pytest
import torch
from diffusers import ControlNetModel

from stablenormal.models.architecture import TOY
from stablenormal.models.building import build_condition_encoder
from stablenormal.models.condition_encoder import ConditionEncoder


@pytest.fixture
def inputs(generator):
    latent = torch.randn(2, 4, 6, 8, generator=generator)
    text = torch.randn(2, 2, 8, generator=generator)
    return latent, torch.tensor([401, 7]), text


def controlnet() -> ControlNetModel:
    return build_condition_encoder(TOY.refiner, 4, zero_convolutions=True).network


def test_equals_diffusers_own_forward_where_that_applies(inputs):
    """With its convolutions set to something and its RGB embedding silenced, diffusers computes the same."""
    latent, timestep, text = inputs
    network = controlnet()
    for convolution in [*network.controlnet_down_blocks, network.controlnet_mid_block]:
        torch.nn.init.normal_(convolution.weight)
    torch.nn.init.zeros_(network.controlnet_cond_embedding.conv_out.weight)
    torch.nn.init.zeros_(network.controlnet_cond_embedding.conv_out.bias)
    skips, middle = network(
        latent, timestep, text, controlnet_cond=torch.zeros(2, 3, 6, 8), return_dict=False
    )
    ours = ConditionEncoder(network, zero_convolutions=True)(latent, timestep, text)
    torch.testing.assert_close(ours.middle, middle)
    torch.testing.assert_close(ours.skips, tuple(skips))


def test_zero_convolutions_start_at_zero_and_raw_features_do_not(inputs):
    network = controlnet()
    silent = ConditionEncoder(network, zero_convolutions=True)(*inputs)
    raw = ConditionEncoder(network, zero_convolutions=False)(*inputs)
    assert all(not residual.any() for residual in (*silent.skips, silent.middle))
    assert all(residual.any() for residual in (*raw.skips, raw.middle))
    assert [residual.shape for residual in raw.skips] == [residual.shape for residual in silent.skips]


@pytest.mark.parametrize("zero_convolutions", [True, False])
def test_only_what_runs_is_trained(inputs, zero_convolutions):
    encoder = ConditionEncoder(controlnet(), zero_convolutions)
    residuals = encoder(*inputs)
    sum(residual.sum() for residual in (*residuals.skips, residuals.middle)).backward()
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_sees_latent_timestep_and_text(inputs):
    encoder = ConditionEncoder(controlnet(), zero_convolutions=False)
    latent, timestep, text = inputs
    middle = encoder(latent, timestep, text).middle
    for other in ((latent + 1, timestep, text), (latent, timestep + 100, text), (latent, timestep, text + 1)):
        assert not torch.allclose(encoder(*other).middle, middle)
