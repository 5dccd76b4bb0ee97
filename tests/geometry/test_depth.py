from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.camera import Intrinsics, rays
from stablenormal.geometry.depth import depth_from_distance, normals_from_depth
from stablenormal.geometry.normals import angular_error_deg, valid_mask

Sphere = Callable[..., tuple[Tensor, Tensor]]
CAMERA = Intrinsics(60.0, 55.0, 30.0, 22.0, 64, 48)


def plane(normal: tuple[float, float, float], distance: float) -> tuple[Tensor, Tensor]:
    """Depth (1, 1, H, W), zero where the plane is not seen, and its normals (1, 3, H, W)."""
    n = torch.nn.functional.normalize(torch.tensor(normal, dtype=torch.float64), dim=0)
    facing = -(n[None, :, None, None] * rays(CAMERA, dtype=torch.float64)).sum(1, keepdim=True)
    depth = torch.where(facing > 0.01, distance / facing, 0.0)
    return depth, n[None, :, None, None].expand(1, 3, CAMERA.height, CAMERA.width)


class TestNormalsFromDepth:
    @settings(deadline=None, max_examples=25)
    @given(
        st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1), st.floats(0.1, 100), st.sampled_from([3, 5, 7])
    )
    def test_exact_on_planes(self, x: float, y: float, z: float, distance: float, window: int) -> None:
        depth, expected = plane((x, y, z), distance)
        normals = normals_from_depth(depth, CAMERA, window)
        seen = valid_mask(normals)
        assert seen.sum() > 0.9 * (depth > 0).sum()
        assert angular_error_deg(normals, expected)[seen].max() < 1e-6

    def test_single_precision_is_enough(self) -> None:
        depth, expected = plane((0.3, 0.5, 0.8), 2.0)
        normals = normals_from_depth(depth.float(), CAMERA)
        assert normals.dtype == torch.float32
        assert angular_error_deg(normals, expected)[valid_mask(normals)].max() < 1e-3

    def test_a_ball(self, sphere: Sphere) -> None:
        camera = Intrinsics.centred(240.0, 256, 192)
        depth, expected = sphere(camera)
        normals = normals_from_depth(depth, camera, window=3)
        facing = -(expected * torch.nn.functional.normalize(rays(camera), dim=1)).sum(1) > 0.3
        seen = valid_mask(normals) & facing
        assert seen.sum() > 0.95 * facing.sum() > 10000
        assert angular_error_deg(normals, expected)[seen].max() < 1.0
        assert angular_error_deg(normals, expected)[seen].mean() < 0.05

    def test_normals_face_the_camera(self, sphere: Sphere) -> None:
        depth, _ = sphere(CAMERA)
        normals = normals_from_depth(depth, CAMERA)
        facing = -(normals * rays(CAMERA)).sum(1)
        assert (facing[valid_mask(normals)] > 0).all()

    @pytest.mark.parametrize("step", [1.06, 1.5, 10.0])
    def test_nothing_is_fitted_across_a_discontinuity(self, step: float) -> None:
        near, expected_near = plane((0.5, 0.2, 0.8), 2.0)
        far, expected_far = plane((-0.3, 0.1, 0.9), 2.0)
        far = far * step * near[..., :1, 32:33] / far[..., :1, 32:33]
        left = torch.arange(64) < 32
        behind = far > near * 1.05
        depth = torch.where(left, near, torch.where(behind, far, 0.0))
        expected = torch.where(left, expected_near, expected_far)
        normals = normals_from_depth(depth, CAMERA)
        seen = valid_mask(normals)
        assert seen[..., :32].all()
        assert angular_error_deg(normals, expected)[seen].max() < 1e-6

    def test_a_larger_threshold_joins_what_a_smaller_one_parts(self) -> None:
        depth, expected = plane((0, 0, 1), 2.0)
        depth = torch.where(torch.arange(64) < 32, depth, depth * 1.06)
        parted = normals_from_depth(depth, CAMERA, discontinuity=0.02)
        joined = normals_from_depth(depth, CAMERA, discontinuity=0.2)
        assert angular_error_deg(parted, expected).max() < 1e-6
        assert angular_error_deg(joined, expected)[..., 31:33].min() > 10

    def test_a_larger_window_is_smoother(self) -> None:
        depth, expected = plane((0.2, 0.1, 1), 2.0)
        noise = torch.randn(depth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        depth = depth * (1 + 0.001 * noise)
        errors = [
            angular_error_deg(normals_from_depth(depth, CAMERA, window), expected).mean()
            for window in (3, 5, 9)
        ]
        assert errors[0] > 1.5 * errors[1] > 2 * errors[2]

    @pytest.mark.parametrize("hole", [0.0, -1.0, float("nan"), float("inf")])
    def test_invalid_depth_is_invalid_and_does_not_spread(self, hole: float) -> None:
        depth, expected = plane((0.3, 0.5, 0.8), 2.0)
        depth[..., 20:24, 30:40] = hole
        normals = normals_from_depth(depth, CAMERA)
        assert (normals[..., 20:24, 30:40] == 0).all()
        seen = valid_mask(normals)
        assert seen.sum() == 64 * 48 - 40
        assert angular_error_deg(normals, expected)[seen].max() < 1e-6

    def test_too_few_neighbours_are_invalid(self) -> None:
        depth = torch.zeros(1, 1, 48, 64)
        depth[..., 10, 10] = 2  # alone
        depth[..., 30, 5:30] = 2  # on a line
        assert not valid_mask(normals_from_depth(depth, CAMERA)).any()

    def test_length_is_one_or_zero(self, sphere: Sphere) -> None:
        depth, _ = sphere(CAMERA)
        lengths = normals_from_depth(depth.float(), CAMERA).norm(dim=1)
        assert (((lengths - 1).abs() < 1e-5) | (lengths == 0)).all()

    def test_the_unit_of_length_does_not_matter(self) -> None:
        depth, _ = plane((0.3, 0.5, 0.8), 2.0)
        metres, micrometres = normals_from_depth(depth, CAMERA), normals_from_depth(depth * 1e6, CAMERA)
        assert torch.allclose(metres, micrometres, atol=1e-9)

    def test_each_picture_of_a_batch_is_its_own(self) -> None:
        one, two = plane((0.3, 0.5, 0.8), 2.0)[0], plane((-0.3, 0.5, 0.8), 1.0)[0]
        both = normals_from_depth(torch.cat([one, two]), CAMERA)
        assert torch.equal(both[1:], normals_from_depth(two, CAMERA))

    def test_wrong_arguments_are_refused(self) -> None:
        depth = torch.ones(1, 1, 48, 64)
        with pytest.raises(ImageShapeError, match=r"\(B, 1, 48, 64\)"):
            normals_from_depth(depth.mT, CAMERA)
        for window in (1, 4):
            with pytest.raises(SettingError, match="window"):
                normals_from_depth(depth, CAMERA, window)
        with pytest.raises(SettingError, match="discontinuity"):
            normals_from_depth(depth, CAMERA, discontinuity=0)


class TestDepthFromDistance:
    def test_a_wall_is_flat(self) -> None:
        distance = 2 * torch.linalg.vector_norm(rays(CAMERA), dim=1, keepdim=True)
        assert torch.allclose(depth_from_distance(distance, CAMERA), torch.full((1, 1, 48, 64), 2.0))

    def test_other_shapes_are_refused(self) -> None:
        with pytest.raises(ImageShapeError):
            depth_from_distance(torch.ones(1, 1, 64, 48), CAMERA)
