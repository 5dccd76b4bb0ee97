import pytest
import torch
from diffusers import UNet2DConditionModel

from stablenormal.errors import SettingError
from stablenormal.models.architecture import SD21, SMALL_SPEC, TOY
from stablenormal.models.building import build_components, build_unet
from studies.claims.networks import ConcatenatingDenoiser, build_concatenating_denoiser
from studies.claims.plan import STUDIED


class TestConcatenatingDenoiser:
    def test_the_image_decides_and_the_noisy_latent_only_where_it_is_seen(self, generator):
        image, other = torch.randn(2, 2, 4, 8, 8, generator=generator)
        x, y = torch.randn(2, 2, 4, 8, 8, generator=generator)
        for noisy_latent in (True, False):
            network = build_concatenating_denoiser(TOY, noisy_latent, generator)
            first = network.predict(x, 401, image)
            assert first.shape == x.shape
            assert not torch.equal(network.predict(x, 401, other), first)
            assert torch.equal(network.predict(y, 401, image), first) is not noisy_latent

    def test_equals_diffusers_own_forward_on_both_latents(self, generator):
        network = build_concatenating_denoiser(TOY, True, generator)
        image, x = torch.randn(2, 2, 4, 5, 7, generator=generator)
        expected = network.unet(torch.cat([image, x], 1), 7, network.text.expand(2, -1, -1)).sample
        assert torch.equal(network.predict(x, 7, image), expected)

    def test_a_unet_of_other_channels_is_refused(self):
        config = dict(build_unet(TOY.yoso, 4).config) | {"in_channels": 6}
        unet = UNet2DConditionModel.from_config(config)
        with pytest.raises(SettingError, match="expected 4"):
            ConcatenatingDenoiser(unet, torch.zeros(1, 2, 8))

    @pytest.mark.parametrize("architecture", [STUDIED, SD21], ids=["studied", "sd21"])
    @pytest.mark.parametrize("noisy_latent", [True, False])
    def test_has_the_parameters_of_the_guided_one_within_a_tenth(self, architecture, noisy_latent):
        with torch.device("meta"):
            ours = build_components(architecture, SMALL_SPEC).yoso
            rival = build_concatenating_denoiser(architecture, noisy_latent)
        sizes = [sum(p.numel() for p in one.parameters()) for one in (ours, rival)]
        assert abs(sizes[1] / sizes[0] - 1) < 0.1

    def test_its_weights_come_from_the_generator_alone(self):
        first, again, other = (
            build_concatenating_denoiser(TOY, True, torch.Generator().manual_seed(seed)).unet.conv_in.weight
            for seed in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
