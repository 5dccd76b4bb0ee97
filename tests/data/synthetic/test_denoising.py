"""The filter against noise whose truth is known."""

import numpy as np
import pytest

from stablenormal.data.synthetic.denoising import FIREFLY, Estimate, combined, denoised
from stablenormal.data.synthetic.rasteriser import GBuffer

SIZE = 48


def two_walls() -> tuple[GBuffer, np.ndarray]:
    """A wall facing the camera on the left, one at 45 degrees on the right, both at depth 2; and the rays."""
    normals = np.zeros((SIZE, SIZE, 3), np.float32)
    normals[:, : SIZE // 2] = (0, 0, 1)
    normals[:, SIZE // 2 :] = (-(0.5**0.5), 0, 0.5**0.5)
    instances = np.ones((SIZE, SIZE), np.uint16)
    axis = (np.arange(SIZE) + 0.5) / SIZE * 0.2 - 0.1
    rays = np.stack([*np.meshgrid(axis, -axis), -np.ones((SIZE, SIZE))], -1).astype(np.float32)
    # The right wall is the plane through the middle of the left one's edge.
    across = rays[..., 0] / -rays[..., 2]
    depth = np.where(axis < 0, 2.0, 2.0 / (1 + across)).astype(np.float32)
    return GBuffer(normals, depth, instances, instances.astype(np.uint8)), rays


def noisy(truth: np.ndarray, count: int = 8, seed: int = 0) -> np.ndarray:
    scale = np.random.default_rng(seed).gamma(4.0, 0.25, (count, *truth.shape[:2], 1))
    return (truth * scale).astype(np.float32)


def rms(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - two) ** 2)))


def test_noise_falls_and_the_edge_between_two_walls_stays() -> None:
    geometry, rays = two_walls()
    truth = np.where(geometry.normals[..., :1] == 0, 1.0, 0.3) * np.ones(3, np.float32)
    albedo = np.full_like(truth, 0.6, np.float32)
    estimate = combined(noisy(truth))
    clean = denoised(estimate, albedo, geometry, rays)
    assert rms(clean, truth) < 0.4 * rms(estimate.colour, truth)
    edge = slice(SIZE // 2 - 1, SIZE // 2 + 1)
    np.testing.assert_allclose(clean[:, edge].mean(0)[:, 0], [1.0, 0.3], rtol=0.05)


def test_texture_survives_because_it_is_divided_out() -> None:
    geometry, rays = two_walls()
    albedo = np.random.default_rng(1).uniform(0.1, 0.9, (SIZE, SIZE, 3)).astype(np.float32)
    clean = denoised(combined(noisy(2 * albedo)), albedo, geometry, rays)
    assert rms(clean / albedo, 2) < 0.15
    blind = denoised(combined(noisy(2 * albedo)), np.full_like(albedo, 0.5), geometry, rays)
    assert rms(blind / albedo, 2) > 2 * rms(clean / albedo, 2)


def test_instances_are_not_mixed() -> None:
    geometry, rays = two_walls()
    flat = np.broadcast_to(np.float32([0, 0, 1]), geometry.normals.shape)
    left = np.arange(SIZE) < 20
    instances = np.where(left, 1, 2).astype(np.uint16) * np.ones((SIZE, 1), np.uint16)
    parts = GBuffer(flat, np.full((SIZE, SIZE), 2, np.float32), instances, instances.astype(np.uint8))
    truth = np.where(left[:, None], 1.0, 0.9) * np.ones((SIZE, SIZE, 3), np.float32)
    clean = denoised(combined(noisy(truth)), np.ones_like(truth), parts, rays)
    assert abs(clean[:, 18:20].mean() - 1) < 0.03 and abs(clean[:, 20:22].mean() - 0.9) < 0.03


def test_light_without_noise_is_left_alone() -> None:
    geometry, rays = two_walls()
    shadow = np.where(np.arange(SIZE) < 10, 0.1, 1.0)[:, None, None] * np.ones((SIZE, SIZE, 3), np.float32)
    clean = denoised(
        Estimate(shadow, np.zeros((SIZE, SIZE), np.float32)), np.ones_like(shadow), geometry, rays
    )
    np.testing.assert_allclose(clean, shadow, rtol=1e-3)


def test_pixels_without_a_surface_stay() -> None:
    geometry, rays = two_walls()
    instances = geometry.instances.copy()
    instances[:5] = 0
    partly = GBuffer(geometry.normals, geometry.depth, instances, geometry.labels)
    estimate = combined(noisy(np.ones((SIZE, SIZE, 3))))
    clean = denoised(estimate, np.ones((SIZE, SIZE, 3), np.float32), partly, rays)
    np.testing.assert_array_equal(clean[:5], estimate.colour[:5])
    assert not np.array_equal(clean[5:], estimate.colour[5:])


def test_a_firefly_is_held_down_and_the_rest_is_not() -> None:
    batches = np.ones((4, SIZE, SIZE, 3), np.float32)
    batches[2, 10, 12] = 1000
    estimate = combined(batches)
    assert 1 < estimate.colour[10, 12, 0] < 2 * FIREFLY
    assert estimate.variance[10, 12] > 0
    others = np.ones((SIZE, SIZE), bool)
    others[10, 12] = False
    np.testing.assert_allclose(estimate.colour[others], 1)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_variance_is_that_of_the_mean(count: int) -> None:
    estimate = combined(noisy(np.ones((SIZE, SIZE, 3)), count))
    assert estimate.variance.mean() == pytest.approx(0.25 / count, rel=0.2)
