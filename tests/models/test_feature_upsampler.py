import dataclasses

import pytest
import torch

from stablenormal.errors import ModelError
from stablenormal.models.feature_upsampler import FeatureUpsampler, JointBilateralDoubling
from stablenormal.models.loading import load_components, save_components
from stablenormal.pipelines import StableNormal


def test_doubles_once_a_level_and_starts_without_correction(generator):
    features, image = (
        torch.randn(2, 5, 3, 4, generator=generator),
        torch.rand(2, 3, 40, 52, generator=generator),
    )
    upsampler = FeatureUpsampler(5, levels=2)
    assert upsampler(features, image).shape == (2, 5, 12, 16)
    by_hand = features
    for level in upsampler.levels:
        by_hand = level(by_hand, image)
    assert torch.equal(upsampler(features, image), by_hand)


def test_constant_features_stay_whatever_the_image(generator):
    image = torch.rand(1, 3, 32, 32, generator=generator)
    constant = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    torch.testing.assert_close(
        JointBilateralDoubling()(constant, image), constant[..., :1, :1].expand(1, 2, 8, 8)
    )


def test_kernel_sums_to_one_and_a_narrow_gaussian_is_the_identity(generator):
    level = JointBilateralDoubling()
    guidance = torch.rand(1, 3, 8, 8, generator=generator)
    torch.testing.assert_close(level.kernel(guidance).sum(0), torch.ones(1, 1, 8, 8))
    features = torch.randn(1, 2, 4, 4, generator=generator)
    with torch.no_grad():
        level.log_width.fill_(-4)
    bicubic = torch.nn.functional.interpolate(features, size=(8, 8), mode="bicubic", align_corners=False)
    torch.testing.assert_close(level(features, guidance), bicubic)


def test_a_strong_range_term_keeps_to_its_side_of_an_edge():
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8:] = 1
    features = torch.zeros(1, 1, 8, 8)
    features[..., 4:] = 1
    level = JointBilateralDoubling()
    with torch.no_grad():  # projections of the two sides are opposite, so that only likes are mixed
        level.project[0].weight.fill_(2 / 3)
        level.project[0].bias.fill_(-1)
        level.log_width.fill_(3)
        level.project[1] = torch.nn.Identity()
        level.project[2] = torch.nn.Identity()
    blurred, sharp = level(features, torch.zeros_like(image)), level(features, image)
    assert (blurred[..., 6] - blurred[..., 9]).abs().max() < 0.5
    assert (sharp[..., 9] - sharp[..., 6]).min() > 0.8


@pytest.mark.parametrize("size", [(2, 3), (4, 4)])  # repeated and reflected borders
def test_gradients_are_right(generator, size):
    level = JointBilateralDoubling(projection=2, radius=2).double()
    features = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    image = torch.rand(1, 3, 6, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(level, (features, image), fast_mode=True)


class TestInAModel:
    @pytest.fixture
    def upsampling(self, toy):
        toy.feature_upsampler = FeatureUpsampler(12, levels=1)
        toy.spec = dataclasses.replace(toy.spec, alignment="upsampler")
        torch.nn.init.normal_(toy.refiner.injector.projection.weight)
        return toy

    def test_round_trip(self, upsampling, tmp_path, generator):
        torch.nn.init.normal_(upsampling.feature_upsampler.correction.weight, generator=generator)
        loaded = load_components(save_components(upsampling, tmp_path / "m", torch.float32))
        assert loaded.spec.alignment == "upsampler"
        before, after = upsampling.feature_upsampler.state_dict(), loaded.feature_upsampler.state_dict()
        assert all(torch.equal(value, after[key]) for key, value in before.items())
        assert not loaded.feature_upsampler.training

    def test_the_pipeline_uses_it_where_the_spec_says_so(self, upsampling, generator):
        image = torch.rand(3, 40, 32, generator=generator)
        upsampled = StableNormal(upsampling)(image).normals[0]
        assert torch.isfinite(upsampled).all()
        upsampling.spec = dataclasses.replace(upsampling.spec, alignment="bilinear")
        bilinear = StableNormal(upsampling)(image).normals[0]
        assert not torch.equal(upsampled, bilinear)
        upsampling.feature_upsampler = None
        assert torch.equal(StableNormal(upsampling)(image).normals[0], bilinear)

    def test_features_have_the_latents_size(self, upsampling, generator):
        image = torch.rand(1, 3, 40, 32, generator=generator)
        encoded = upsampling.encode_image(image)
        assert upsampling.semantic_features(image, encoded).shape == (1, 12, 5, 4)

    def test_a_missing_or_foreign_upsampler_is_refused(self, upsampling, tmp_path):
        upsampling.feature_upsampler = None
        with pytest.raises(ModelError, match=r"feature_upsampler/config\.json: missing"):
            load_components(save_components(upsampling, tmp_path / "none", torch.float32))
        upsampling.feature_upsampler = FeatureUpsampler(7)
        with pytest.raises(ModelError, match="takes 7 channels"):
            load_components(save_components(upsampling, tmp_path / "other", torch.float32))
