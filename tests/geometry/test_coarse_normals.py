import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from stablenormal.errors import SettingError
from stablenormal.geometry.coarse_normals import blur_normals, blur_width_px, reduce_normals
from stablenormal.geometry.normals import angular_error_deg, unit_length


def two_walls() -> torch.Tensor:
    """Left half faces left, right half right, and a column between has no normals, (3, 24, 33)."""
    tilt = torch.where(torch.arange(33) < 16, -0.6, 0.6).expand(24, -1)
    normals = torch.stack([tilt, torch.zeros(24, 33), torch.full((24, 33), 0.8)])
    normals[:, :, 16] = 0
    return normals


@pytest.mark.parametrize("lose", [lambda n: blur_normals(n, 2.0), lambda n: reduce_normals(n, 4.0)])
class TestBoth:
    def test_an_edge_is_rounded_and_flat_parts_stay(self, lose):
        coarse = lose(two_walls())
        assert coarse[0, 12, 15].abs() < 0.5
        assert torch.allclose(coarse[:, :, :4], two_walls()[:, :, :4], atol=1e-3)

    def test_length_is_one_where_there_was_a_normal_and_zero_elsewhere(self, lose):
        length = lose(two_walls()).norm(dim=0)
        assert torch.allclose(length[:, torch.arange(33) != 16], torch.tensor(1.0), atol=1e-5)
        assert (length[:, 16] == 0).all()

    def test_what_has_no_normal_does_not_count(self, lose):
        lonely = two_walls()
        lonely[:, :, 16:] = 0
        assert torch.allclose(lose(lonely), lonely, atol=1e-5)


def test_wrong_strengths_are_refused():
    with pytest.raises(SettingError, match="positive"):
        blur_normals(two_walls(), 0)
    with pytest.raises(SettingError, match="at least 1"):
        reduce_normals(two_walls(), 0.5)


@pytest.mark.parametrize("blur", [1.0, 2.0, 4.0])
def test_the_blur_of_a_map_is_found(blur):
    edges = torch.where((torch.arange(128) // 32) % 2 == 0, -0.6, 0.6).expand(96, -1)
    normals = torch.stack([edges, torch.zeros(96, 128), torch.full((96, 128), 0.8)])
    assert blur_width_px(normals) < 0.7
    assert blur_width_px(blur_normals(normals, blur)) == pytest.approx(blur, rel=0.25)


def test_a_map_without_edges_counts_as_blurred_most():
    assert blur_width_px(torch.tensor([0, 0, 1.0])[:, None, None].expand(3, 32, 64)) == 8
    assert blur_width_px(torch.zeros(3, 16, 16)) == 2


@pytest.mark.parametrize("sigma_px", [3.0, 13.0, 40.0, 900.0])
def test_wide_blurs_are_gaussian_too(sigma_px):
    coarse = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    normals = torch.nn.functional.interpolate(coarse, size=(96, 128), mode="bicubic")
    normals[:, 2] = normals[:, 2].abs() + 0.3
    normals = unit_length(normals)
    normals[:, :, 30:60, 40:70] = 0
    reached = min(6, 400 / sigma_px)
    sums = [
        gaussian_filter(plane.numpy(), sigma_px, mode="constant", truncate=reached) for plane in normals[0]
    ]
    expected = unit_length(torch.from_numpy(np.stack(sums))[None]) * (normals != 0).any(dim=1, keepdim=True)
    found = blur_normals(normals[0], sigma_px)
    assert torch.equal(found == 0, expected[0] == 0)
    angles = angular_error_deg(found[None], expected)[0][(normals[0] != 0).any(dim=0)]
    assert angles.mean() < 0.4 and angles.max() < 1.5
