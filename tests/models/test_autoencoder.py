import pytest
import torch

from stablenormal.errors import ImageShapeError
from stablenormal.models.autoencoder import decode, encode, reduction


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
