from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from stablenormal.errors import ImageShapeError
from stablenormal.models import autoencoder
from stablenormal.models.architecture import TOY
from stablenormal.models.autoencoder import decode, encode, reduction, upsample
from stablenormal.models.building import build_autoencoder


class TestEncode:
    def test_is_the_scaled_mode_of_the_posterior(self, toy, generator):
        image = torch.rand(2, 3, 16, 24, generator=generator) * 2 - 1
        latent = encode(toy.autoencoder, image)
        posterior = toy.autoencoder.encode(image).latent_dist
        assert latent.shape == (2, 4, 2, 3)
        torch.testing.assert_close(latent, posterior.mean * 0.5)
        assert not torch.allclose(latent, posterior.sample(generator) * 0.5)

    @pytest.mark.parametrize("shape", [(3, 16, 16), (1, 4, 16, 16), (1, 3, 12, 16), (1, 3, 16, 12)])
    def test_refuses_other_shapes(self, toy, shape):
        with pytest.raises(ImageShapeError, match="8 divides"):
            encode(toy.autoencoder, torch.zeros(shape))


class TestDecode:
    def test_undoes_the_scaling(self, toy, generator):
        latent = torch.randn(1, 4, 2, 3, generator=generator)
        decoded = decode(toy.autoencoder, latent)
        assert decoded.shape == (1, 3, 16, 24)
        torch.testing.assert_close(decoded, toy.autoencoder.decode(latent * 2).sample)


def test_reduction_counts_the_levels(toy):
    assert reduction(toy.autoencoder) == 8


class TestPatches:
    """Blocks of pixels that enter and leave as channels, instead of the costliest levels."""

    @pytest.fixture
    def patched(self):
        return build_autoencoder(replace(TOY.autoencoder, patch=4, block_out_channels=(4, 8)))

    def test_the_reduction_stays(self, patched, generator):
        image = torch.rand(1, 3, 16, 24, generator=generator) * 2 - 1
        assert reduction(patched) == 8
        latent = encode(patched, image)
        assert latent.shape == (1, 4, 2, 3)
        assert decode(patched, latent).shape == image.shape

    def test_a_block_stays_in_its_place(self, patched, generator):
        """A change inside one block changes the channels of that block alone."""
        seen = []
        patched.encoder.conv_in.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        image = torch.rand(1, 3, 16, 24, generator=generator) * 2 - 1
        encode(patched, image)
        image[..., 5, 10] += 1
        encode(patched, image)
        changed = (seen[1] != seen[0]).any(dim=1)[0]
        assert changed.nonzero().tolist() == [[1, 2]]


class TestUpsampling:
    @pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize("size", [(1, 1), (3, 5)])
    def test_as_repeating_and_convolving(self, generator, format, size):
        convolution = torch.nn.Conv2d(3, 2, 3, padding=1)
        hidden = torch.randn(2, 3, *size, generator=generator).contiguous(memory_format=format)
        plain = convolution(functional.interpolate(hidden, scale_factor=2.0))
        torch.testing.assert_close(upsample(convolution, hidden), plain)

    @torch.no_grad()
    def test_decoding_takes_it(self, toy, generator, monkeypatch):
        latent = torch.randn(1, 4, 2, 3, generator=generator)
        repeated = []
        for block in toy.autoencoder.decoder.up_blocks:
            for upsampler in block.upsamplers or ():
                upsampler.register_forward_hook(lambda *given: repeated.append(1))
        torch.testing.assert_close(decode(toy.autoencoder, latent), toy.autoencoder.decode(latent * 2).sample)
        assert len(repeated) == 3  # the library's own alone


class TestSlices:
    """Large images of a batch go through one by one."""

    @torch.no_grad()
    def test_each_image_of_a_large_batch_alone(self, toy, generator, monkeypatch):
        image = torch.rand(3, 3, 16, 24, generator=generator) * 2 - 1
        latent = encode(toy.autoencoder, image)
        whole = decode(toy.autoencoder, latent)
        monkeypatch.setattr(autoencoder, "_CELLS_AT_ONCE", 16 * 24)
        seen = []
        toy.autoencoder.encoder.conv_in.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        toy.autoencoder.decoder.conv_in.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        torch.testing.assert_close(encode(toy.autoencoder, image), latent)
        torch.testing.assert_close(decode(toy.autoencoder, latent), whole)
        assert seen == [1] * 6
