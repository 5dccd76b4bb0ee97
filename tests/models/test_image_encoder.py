import shutil
from dataclasses import replace

import pytest
import torch

from stablenormal.errors import ImageShapeError, ModelError
from stablenormal.models.architecture import TOY
from stablenormal.models.autoencoder import encode
from stablenormal.models.building import build_autoencoder
from stablenormal.models.image_encoder import ImageEncoder
from stablenormal.models.loading import load_components, save_components


@pytest.mark.parametrize("patch", [1, 4])
@pytest.mark.parametrize("attention", [False, True])
def test_begins_as_the_autoencoders_own(generator, patch, attention):
    shape = replace(TOY.autoencoder, patch=patch, block_out_channels=(4, 8), mid_attention=attention)
    autoencoder = build_autoencoder(shape)
    image = torch.rand(2, 3, 16, 24, generator=generator) * 2 - 1
    torch.testing.assert_close(
        ImageEncoder.from_autoencoder(autoencoder)(image), encode(autoencoder, image), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 4, 16, 16), (1, 3, 12, 16), (1, 3, 16, 12)])
def test_refuses_other_shapes(toy, shape):
    with pytest.raises(ImageShapeError, match="8 divides"):
        ImageEncoder.from_autoencoder(toy.autoencoder)(torch.zeros(shape))


def test_checkpointing_keeps_fewer_features_of_the_same_latent(toy, generator):
    encoder = ImageEncoder.from_autoencoder(toy.autoencoder)
    image = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    kept, latents = [], []
    for enabled in (False, True):
        if enabled:
            encoder.enable_gradient_checkpointing()
        sizes = []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            latents.append(encoder(image))
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]
    torch.testing.assert_close(*latents)


class TestModelFolder:
    def test_photographs_go_through_it_after_a_round_trip(self, toy, generator, tmp_path):
        toy.image_encoder = ImageEncoder.from_autoencoder(toy.autoencoder)
        with torch.no_grad():
            toy.image_encoder.network.conv_out.bias += 1
        loaded = load_components(save_components(toy, tmp_path / "model", torch.float32))
        image = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
        torch.testing.assert_close(loaded.encode_image(image).latent, encode(toy.autoencoder, image) + 1)

    def test_one_that_is_missing_is_an_error(self, toy, tmp_path):
        toy.image_encoder = ImageEncoder.from_autoencoder(toy.autoencoder)
        folder = save_components(toy, tmp_path / "model")
        shutil.rmtree(folder / "image_encoder")
        with pytest.raises(ModelError, match="image_encoder"):
            load_components(folder)

    def test_without_one_they_go_through_the_autoencoder(self, toy, generator, tmp_path):
        loaded = load_components(save_components(toy, tmp_path / "model", torch.float32))
        image = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
        assert loaded.image_encoder is None
        assert torch.equal(loaded.encode_image(image).latent, encode(loaded.autoencoder, image))

    def test_one_of_another_model_is_refused(self, toy, tmp_path):
        other = build_autoencoder(replace(TOY.autoencoder, latent_channels=3))
        toy.image_encoder = ImageEncoder.from_autoencoder(other)
        folder = save_components(toy, tmp_path / "model")
        with pytest.raises(ModelError, match="image encoder gives 3 channels"):
            load_components(folder)
