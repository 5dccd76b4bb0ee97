import math
from dataclasses import replace

import pytest
import torch

from stablenormal.errors import ModelError, SettingError
from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import build_components
from stablenormal.models.field_of_view import FieldOfViewHead, horizontal_fov_deg
from stablenormal.models.loading import load_components, save_components
from stablenormal.pipelines.stable_normal import StableNormal


@pytest.fixture
def components():
    built = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(0))
    return replace(built, field_of_view=FieldOfViewHead(12, width=8))


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300)])
def test_degrees_are_those_across_the_picture(width, height):
    focal = 300 / (2 * math.tan(math.radians(60) / 2)) / 300  # 60 degrees along the longer side
    wide, expected = width == 300, math.degrees(2 * math.atan(200 / 300 * math.tan(math.radians(30))))
    assert horizontal_fov_deg(focal, width, height) == pytest.approx(60 if wide else expected)


def test_a_fresh_head_says_the_same_of_every_picture(components, generator):
    images = torch.rand(2, 3, 40, 60, generator=generator)
    assert StableNormal(components).field_of_view_deg(images) == [pytest.approx(53.13, abs=0.01)] * 2


def test_where_a_feature_is_matters(generator):
    head = FieldOfViewHead(3, width=8)
    torch.nn.init.normal_(head.network[-1].weight, generator=generator)
    features = torch.rand(1, 3, 4, 6, generator=generator)
    for axis in (2, 3):
        assert not torch.allclose(head(features.flip(axis)), head(features))


def test_it_is_saved_and_read_again(components, tmp_path, generator):
    torch.nn.init.normal_(components.field_of_view.network[-1].weight, generator=generator)
    image = torch.rand(3, 40, 60, generator=generator)
    wanted = StableNormal(components).field_of_view_deg(image)
    read = load_components(save_components(components, tmp_path / "model", torch.float32))
    assert StableNormal(read).field_of_view_deg(image) == pytest.approx(wanted)


def test_a_model_without_it_says_so(components):
    pipeline = StableNormal(replace(components, field_of_view=None))
    assert not pipeline.estimates_field_of_view
    with pytest.raises(SettingError, match="'toy' cannot estimate the field of view"):
        pipeline.field_of_view_deg(torch.zeros(3, 8, 8))


def test_features_of_another_width_are_refused(components, tmp_path):
    other = replace(components, field_of_view=FieldOfViewHead(16))
    folder = save_components(other, tmp_path / "model", torch.float32)
    with pytest.raises(ModelError, match="head takes 16 channels, the semantic encoder gives 12"):
        load_components(folder)
