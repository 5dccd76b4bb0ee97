import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from stablenormal.models.architecture import SD21, SD21_SPEC, SMALL, SMALL_SPEC, TOY, TOY_SPEC
from stablenormal.models.building import build_components

MEGABYTE = 1 << 20


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    a, b, c = (build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for name in a.parts():
        first, same, other = (x.parts()[name].state_dict() for x in (a, b, c))
        assert all(torch.equal(first[key], same[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)


def test_sd21_has_the_papers_sizes_and_diffusers_keys():
    """On the meta device: 865.9 M and 364.2 M parameters, each twice, and Stable Diffusion 2.1's keys."""
    with torch.device("meta"):
        sd21 = build_components(SD21, SD21_SPEC)
        unet = UNet2DConditionModel(
            attention_head_dim=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True
        )
        controlnet = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    for pair in (sd21.yoso, sd21.refiner):
        assert count(pair.unet) == 865_910_724
        assert count(pair.condition_encoder.network) == 364_228_240
        assert pair.text.shape == (1, 77, 1024)
        for ours, theirs in ((pair.unet, unet), (pair.condition_encoder.network, controlnet)):
            shapes = {key: value.shape for key, value in theirs.state_dict().items()}
            assert {key: value.shape for key, value in ours.state_dict().items()} == shapes
    assert count(sd21.autoencoder) == 83_653_863
    assert sd21.semantic_encoder.channels == 1024


def test_small_fits_into_the_package():
    with torch.device("meta"):
        small = build_components(SMALL, SMALL_SPEC)
    assert sum(count(part) for part in small.parts().values()) * 2 <= 96 * MEGABYTE


def test_yoso_has_no_injector_and_the_refiner_the_specs(toy):
    assert toy.yoso.injector is None
    assert type(toy.refiner.injector).__name__ == "InputInjector"


def test_to_moves_every_part(toy):
    toy.to(torch.device("cpu"), torch.bfloat16)
    for part in toy.parts().values():
        assert {parameter.dtype for parameter in part.parameters()} == {torch.bfloat16}
