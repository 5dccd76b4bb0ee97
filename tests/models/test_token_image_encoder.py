"""The encoder of photographs on tokens, alone and in a model."""

from dataclasses import replace

import pytest
import torch

from stablenormal.errors import ImageShapeError, ModelError
from stablenormal.models.architecture import TOY_SPEC, TOY_WITH_TOKENS
from stablenormal.models.autoencoder import decode
from stablenormal.models.building import build_autoencoder, build_components, build_semantic_encoder
from stablenormal.models.loading import check_fit, load_components, save_components
from stablenormal.pipelines.stable_normal import StableNormal


@pytest.fixture
def model():
    return build_components(TOY_WITH_TOKENS, TOY_SPEC, torch.Generator().manual_seed(0))


@pytest.fixture
def image(generator):
    return torch.rand(2, 3, 32, 48, generator=generator) * 2 - 1


class TestShapes:
    def test_everything_has_the_size_that_its_reader_expects(self, model, image):
        encoded = model.encode_image(image)
        assert encoded.latent.shape == (2, 4, 4, 6)
        assert encoded.condition.shape == (2, 8, 4, 6)
        assert [tuple(guide.shape) for guide in encoded.guides] == [
            (2, 4, 16, 24), (2, 8, 8, 12), (2, 8, 4, 6)
        ]  # fmt: skip
        assert encoded.semantic.shape == (2, 12, 2, 3)  # patches of 14 px, the nearest whole numbers

    def test_sides_that_do_not_divide_are_refused(self, model):
        with pytest.raises(ImageShapeError, match="8 divides"):
            model.image_encoder(torch.zeros(1, 3, 30, 32), [torch.zeros(1, 12, 2, 2)] * 2)

    def test_another_number_of_layers_is_refused(self, model):
        with pytest.raises(ImageShapeError, match="2 layers, got 1"):
            model.image_encoder(torch.zeros(1, 3, 32, 32), [torch.zeros(1, 12, 2, 2)])


class TestWhatItSees:
    def test_every_layer_of_tokens_and_the_pixels_matter(self, model, image):
        tokens, _ = model.semantic_encoder.layers(image, (1, 2))
        latent = model.image_encoder(image, tokens).latent
        for layer in range(2):
            other = [one + layer_is for one, layer_is in zip(tokens, (layer == 0, layer == 1), strict=True)]
            assert not torch.allclose(model.image_encoder(image, other).latent, latent)
        assert not torch.allclose(model.image_encoder(image.flip(1), tokens).latent, latent)

    def test_the_place_of_a_pixel_matters(self, model):
        flat = torch.zeros(1, 3, 32, 32)
        tokens = [torch.zeros(1, 12, 2, 2)] * 2
        latent = model.image_encoder(flat, tokens).latent
        assert not torch.allclose(latent[..., 1, 1], latent[..., 1, 2])


class TestGuides:
    def test_a_new_encoder_leaves_the_decoder_as_it_was(self, model, image):
        encoded = model.encode_image(image)
        plain = decode(model.autoencoder, encoded.latent)
        torch.testing.assert_close(decode(model.autoencoder, encoded.latent, encoded.guides), plain)

    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_each_guide_changes_what_is_decoded(self, model, image, which):
        encoded = model.encode_image(image)
        guides = [torch.zeros_like(guide) for guide in encoded.guides]
        plain = decode(model.autoencoder, encoded.latent, guides)
        guides[which] = guides[which] + 1
        assert not torch.allclose(decode(model.autoencoder, encoded.latent, guides), plain)

    def test_a_missing_guide_is_refused(self, model, image):
        encoded = model.encode_image(image)
        with pytest.raises(ImageShapeError, match="1 guides for 3"):
            decode(model.autoencoder, encoded.latent, encoded.guides[:1])


class TestInAModel:
    @pytest.mark.parametrize("mode", ["turbo", "full"])
    def test_normals_come_out_unit_and_the_guides_reach_them(self, model, mode, generator):
        with torch.no_grad():
            for guide in model.image_encoder.guides:
                guide.weight.normal_(generator=generator)
        image = torch.rand(3, 30, 41, generator=generator)
        normals = StableNormal(model)(image, mode=mode).normals[0]
        assert normals.shape == (3, 30, 41)
        torch.testing.assert_close(normals.norm(dim=0), torch.ones(30, 41))
        with torch.no_grad():
            for guide in model.image_encoder.guides:
                guide.weight.zero_()
        assert not torch.equal(StableNormal(model)(image, mode=mode).normals[0], normals)

    def test_a_folder_gives_the_same_model_back(self, model, image, tmp_path):
        loaded = load_components(save_components(model, tmp_path / "model", torch.float32))
        for here, there in zip(model.encode_image(image)[:2], loaded.encode_image(image)[:2], strict=True):
            assert torch.equal(here, there)

    def test_tokens_of_another_width_are_refused(self, model, tmp_path):
        model.semantic_encoder = build_semantic_encoder(replace(TOY_WITH_TOKENS.semantic, width=16), 28)
        model.refiner.injector = None
        with pytest.raises(ModelError, match="tokens 12 wide, the semantic encoder's are 16"):
            check_fit(model, tmp_path)

    def test_a_shallower_transformer_is_refused(self, model, tmp_path):
        model.semantic_encoder = build_semantic_encoder(replace(TOY_WITH_TOKENS.semantic, depth=1), 28)
        with pytest.raises(ModelError, match="layer 2, the semantic encoder has 1"):
            check_fit(model, tmp_path)

    def test_a_decoder_of_other_channels_is_refused(self, model, tmp_path):
        shape = replace(TOY_WITH_TOKENS.autoencoder, block_out_channels=(4, 8, 8))
        model.autoencoder = build_autoencoder(shape)
        with pytest.raises(ModelError, match=r"\[4, 8, 8\] channels, the autoencoder has \[8, 8, 8\]"):
            check_fit(model, tmp_path)

    def test_an_unknown_kind_of_encoder_is_refused(self, model, tmp_path):
        folder = save_components(model, tmp_path / "model", torch.float32)
        config = folder / "image_encoder" / "config.json"
        config.write_text(config.read_text().replace("TokenImageEncoder", "OtherEncoder"))
        with pytest.raises(ModelError, match="'OtherEncoder' is none of ImageEncoder, TokenImageEncoder"):
            load_components(folder)
