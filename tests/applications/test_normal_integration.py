"""Analytic surfaces with known depth; rays and normals are worked out here, not by the package."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from stablenormal.applications.normal_integration import IntegrationSettings, integrate_normals
from stablenormal.errors import ImageShapeError, NormalMapError, SettingError
from stablenormal.geometry.camera import Intrinsics

SIDE = 48
CAMERA = Intrinsics(60.0, 66.0, 22.0, 25.0, SIDE, SIDE)
WIDE = Intrinsics.from_fov(90, SIDE, SIDE)


@dataclass(frozen=True, eq=False)
class Surface:
    normals: np.ndarray
    depth: np.ndarray


def rays(camera: Intrinsics) -> np.ndarray:
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    return np.stack([(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy, -np.ones_like(u)], axis=-1)


def plane(camera: Intrinsics, normal: tuple[float, float, float]) -> Surface:
    n = np.array(normal) / np.linalg.norm(normal)
    depth = -3 * n[2] / (rays(camera) @ n)  # through (0, 0, -3)
    return Surface(np.broadcast_to(n, (SIDE, SIDE, 3)).copy(), depth)


def sphere(camera: Intrinsics) -> Surface:
    r, centre, radius = rays(camera), np.array([0.1, -0.1, -4.0]), 1.0
    a, b, c = (r * r).sum(-1), r @ centre, centre @ centre - radius**2
    root = b * b - a * c
    hit = root > 0.02 * a
    depth = np.where(hit, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    normals = np.where(hit[..., None], (r * depth[..., None] - centre) / radius, 0)
    return Surface(normals, depth)


def heights(z: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Surface:
    """An orthographic height field z(x, y) toward the viewer, x right, y up, in pixels."""
    v, u = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y, e = u - SIDE / 2, SIDE / 2 - v, 1e-4
    zx, zy = (z(x + e, y) - z(x - e, y)) / (2 * e), (z(x, y + e) - z(x, y - e)) / (2 * e)
    n = np.stack([-zx, -zy, np.ones_like(zx)], axis=-1)
    return Surface(n / np.linalg.norm(n, axis=-1, keepdims=True), 100 - z(x, y))


def vase(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum((16 + 3 * np.sin(y / 5)) ** 2 - x**2, 1))


def stairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two slabs: a step of 9 pixels across the middle third, open to both sides at the top."""
    return 0.2 * x + np.where((x > 0) & (y < 12), 9.0, 0.0)


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest error after one scale."""
    inside = (found > 0) & (truth > 0)
    scale = np.median(truth[inside] / found[inside])
    return float(np.abs(found[inside] * scale / truth[inside] - 1).max())


def offset_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean error in pixels after one offset."""
    inside = found > 0
    difference = found[inside] - truth[inside]
    return float(np.abs(difference - np.median(difference)).mean())


@pytest.mark.parametrize("method", ["bilateral", "poisson"])
@pytest.mark.parametrize("camera", [CAMERA, WIDE])
@pytest.mark.parametrize("normal", [(0, 0, 1), (0.4, -0.3, 1), (-0.9, 0.5, 1)])
def test_a_plane_is_exact(method: str, camera: Intrinsics, normal: tuple[float, float, float]) -> None:
    surface = plane(camera, normal)
    visible = (surface.depth > 0) & (surface.depth < 12)  # away from the horizon
    result = integrate_normals(surface.normals, camera, visible, IntegrationSettings(method=method))
    assert relative_error(result.depth, np.where(visible, surface.depth, 0)) < 2e-3


@pytest.mark.parametrize(("method", "share"), [("bilateral", 0.12), ("poisson", 0.02)])
def test_a_sphere_is_exact_without_reweighting_and_close_with_it(method: str, share: float) -> None:
    surface = sphere(CAMERA)
    result = integrate_normals(surface.normals, CAMERA, settings=IntegrationSettings(method=method))
    relief = np.ptp(surface.depth[surface.depth > 0]) / 4
    assert relative_error(result.depth, surface.depth) < share * relief
    assert result.components == 1
    assert not result.torn_right.any()


def test_an_orthographic_plane_has_the_slopes_of_its_normals() -> None:
    surface = heights(lambda x, y: 0.5 * x - 0.25 * y)
    depth = integrate_normals(surface.normals).depth
    assert np.allclose(np.diff(depth, axis=1), -0.5, atol=0.01)  # right is nearer
    assert np.allclose(np.diff(depth, axis=0), -0.25, atol=0.01)  # down is nearer
    assert depth.min() == pytest.approx(1)


def test_a_vase_is_close() -> None:
    surface = heights(vase)
    mask = surface.normals[..., 2] > 0.15
    result = integrate_normals(surface.normals, mask=mask)
    assert offset_error(result.depth, surface.depth) < 0.02 * np.ptp(surface.depth[mask])


def test_a_tent_keeps_its_ridge() -> None:
    surface = heights(lambda x, y: -0.7 * np.abs(x))
    result = integrate_normals(surface.normals)
    assert offset_error(result.depth, surface.depth) < 0.15
    assert not result.torn_right.any()


def test_bilateral_keeps_a_step_that_poisson_smears() -> None:
    surface = heights(stairs)
    # What a camera sees at a step is two facing planes: the normals say nothing of the riser.
    surface.normals[:] = surface.normals[0, 0]
    bent = surface.normals.copy()
    middle = SIDE // 2
    steep = np.array([-0.98, 0, 0.199])
    bent[SIDE // 2 - 12 :, middle] = steep / np.linalg.norm(steep)  # one grazing column at the riser
    bilateral = integrate_normals(bent, settings=IntegrationSettings())
    poisson = integrate_normals(bent, settings=IntegrationSettings(method="poisson"))
    assert bilateral.discontinuity.shape == (SIDE, SIDE)
    assert poisson.discontinuity.max() == 0
    assert len(poisson.energies) == 1 < len(bilateral.energies)
    left, right = np.s_[-8:, 4:20], np.s_[-8:, 28:44]
    for part in (left, right):  # both slabs stay the planes that their normals are
        slopes = np.diff(bilateral.depth[part], axis=1)
        smeared = np.abs(np.diff(poisson.depth[part], axis=1) + 0.2).mean()
        assert np.abs(slopes + 0.2).mean() < 0.8 * smeared


def test_components_share_one_median() -> None:
    surface = sphere(CAMERA)
    normals = surface.normals.copy()
    normals[:, SIDE // 2 - 1 : SIDE // 2 + 1] = 0
    result = integrate_normals(normals, CAMERA)
    assert result.components == 2
    for half in (result.depth[:, : SIDE // 2], result.depth[:, SIDE // 2 :]):
        assert np.median(half[half > 0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("camera", [CAMERA, None])
def test_a_prior_gives_scale_and_ties_components(camera: Intrinsics | None) -> None:
    surface = sphere(CAMERA) if camera else heights(vase)
    normals = np.where(surface.normals[..., 2:] > 0.3, surface.normals, 0)
    normals[:, 20:22] = 0
    noise = np.random.default_rng(0).normal(0, 0.01, (SIDE, SIDE))
    prior = surface.depth * (1 + noise)
    found = integrate_normals(normals, camera, depth_prior=prior).depth
    inside = found > 0
    error = np.abs(found / np.where(inside, surface.depth, 1) - 1)[inside]
    assert error.mean() < 0.5 * 0.01  # half of the error of the prior itself


def test_a_heavier_prior_is_followed_more_closely() -> None:
    surface = sphere(CAMERA)
    flat = np.full((SIDE, SIDE), 3.0)
    spread = [
        np.std(found[found > 0])
        for weight in (1e-4, 10.0)
        for found in [
            integrate_normals(
                surface.normals, CAMERA, settings=IntegrationSettings(prior_weight=weight), depth_prior=flat
            ).depth
        ]
    ]
    assert spread[1] < 0.2 * spread[0]


def test_the_mask_limits_the_result_and_normals_stay_as_they_are() -> None:
    surface = plane(CAMERA, (0.1, 0, 1))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[5:30, 7:40] = True
    before = surface.normals.copy()
    result = integrate_normals(surface.normals, CAMERA, mask)
    assert np.array_equal(result.depth > 0, mask)
    assert np.array_equal(before, surface.normals)


def test_iterations_and_tolerance_end_the_reweighting() -> None:
    surface = heights(lambda x, y: 3 * np.sin(x / 3) + np.where(y > 0, 6.0, 0.0))
    solves = [
        len(integrate_normals(surface.normals, settings=settings).energies)
        for settings in (
            IntegrationSettings(iterations=2),
            IntegrationSettings(tolerance=0.9),
            IntegrationSettings(tolerance=1e-9, iterations=3),
        )
    ]
    assert solves == [2, 2, 3]


def test_k_changes_the_weights() -> None:
    surface = heights(lambda x, y: 3 * np.sin(x / 3))
    soft, sharp = (
        integrate_normals(surface.normals, settings=IntegrationSettings(k=k, iterations=5)).depth
        for k in (0.01, 10.0)
    )
    assert not np.allclose(soft, sharp)


def test_bad_input_is_refused() -> None:
    good = plane(CAMERA, (0, 0, 1)).normals
    nan = good.copy()
    nan[3, 3] = np.nan
    for normals, arguments, error, words in (
        (good[..., :2], {}, ImageShapeError, "H, W, 3"),
        (good, {"mask": np.ones((4, 4), bool)}, ImageShapeError, "same size"),
        (good, {"mask": np.zeros((SIDE, SIDE), bool)}, NormalMapError, "mask"),
        (good * 0, {}, NormalMapError, "mask"),
        (good * 1.2, {}, NormalMapError, "unit length"),
        (nan, {}, NormalMapError, "NaN"),
        (-good, {"intrinsics": CAMERA}, NormalMapError, "face away"),
        (good, {"intrinsics": Intrinsics.from_fov(50, 9, 9)}, ImageShapeError, "intrinsics"),
        (good, {"depth_prior": np.ones((3, 3))}, ImageShapeError, "prior"),
        (good, {"depth_prior": np.zeros((SIDE, SIDE))}, SettingError, "prior"),
    ):
        with pytest.raises(error, match=words):
            integrate_normals(normals, **arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "magic"},
        {"k": 0},
        {"k": float("nan")},
        {"iterations": 0},
        {"tolerance": 0},
        {"prior_weight": -1},
    ],
)
def test_settings_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        IntegrationSettings(**wrong)
