"""Analytic scenes with outlines, from the normals that a camera would see; all in perspective."""

from dataclasses import dataclass

import numpy as np
import pytest

from stablenormal.applications.normal_integration import Integration, IntegrationSettings, integrate_normals
from stablenormal.applications.relief import relief_mesh
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.camera import Intrinsics, pixel_rays
from stablenormal.geometry.mesh import TriangleMesh, vertex_parts

SIDE = 96
CAMERA = Intrinsics.from_fov(45, SIDE, SIDE)
FOCAL_PX = CAMERA.fx


@dataclass(frozen=True, eq=False)
class Scene:
    normals: np.ndarray
    depth: np.ndarray
    ball: np.ndarray
    """(H, W): where the ball is seen."""
    photograph: np.ndarray


def ball_before(background: np.ndarray, background_depth: np.ndarray) -> Scene:
    """A ball of radius 0.6 at depth 3, red, before something grey."""
    rays = pixel_rays(CAMERA)
    centre, radius = np.array([0.1, 0.0, -3.0]), 0.6
    a, b, c = (rays * rays).sum(-1), rays @ centre, centre @ centre - radius**2
    root = b * b - a * c
    ball = root > 0
    near = (b - np.sqrt(np.maximum(root, 0))) / a
    depth = np.where(ball, near, background_depth)
    normals = np.where(ball[..., None], (rays * near[..., None] - centre) / radius, background)
    photograph = np.where(ball[..., None], [0.8, 0.2, 0.1], [0.5, 0.5, 0.5])
    return Scene(normals, depth, ball, photograph)


def ball_before_a_wall() -> Scene:
    wall = np.broadcast_to([0.0, 0.0, 1.0], (SIDE, SIDE, 3))
    return ball_before(wall, np.full((SIDE, SIDE), 5.0))


def ball_above_the_ground() -> Scene:
    """Below, the ball's edge is as far as the ground it stands on; above, the ground behind it is farther."""
    up = np.array([0.0, 0.8, 0.6])
    return ball_before(np.broadcast_to(up, (SIDE, SIDE, 3)), -2.2 / (pixel_rays(CAMERA) @ up))


def integration_of(depth: np.ndarray) -> Integration:
    none = np.zeros(depth.shape, bool)
    return Integration(depth.astype(np.float32), np.zeros(depth.shape, np.float32), none, none, 1, (0.0,), 0)


def softened(normals: np.ndarray, reach: int) -> np.ndarray:
    """Mean over (2 reach + 1)^2 pixels, as a network that sees a quarter of the pixels."""
    padded = np.pad(normals, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1), axis=(0, 1))
    mean = windows.mean(axis=(-2, -1))
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def pixels_of(mesh: TriangleMesh) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (V,) of the vertices."""
    return (
        np.rint((1 - mesh.uv[:, 1]) * SIDE - 0.5).astype(int),
        np.rint(mesh.uv[:, 0] * SIDE - 0.5).astype(int),
    )


def stretch(mesh: TriangleMesh) -> np.ndarray:
    """Longest side of each triangle in pixels of its nearest corner."""
    corners = mesh.positions[mesh.faces]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    return sides / -corners[..., 2].max(axis=1) * FOCAL_PX


def test_a_ball_is_torn_from_the_wall_behind_it_and_both_stay_whole() -> None:
    scene = ball_before_a_wall()
    mesh = relief_mesh(integration_of(scene.depth), scene.normals, CAMERA)
    parts = vertex_parts(mesh)
    rows, columns = pixels_of(mesh)
    on_ball = scene.ball[rows, columns]
    assert len(np.unique(parts)) == 2
    assert len(np.unique(parts[on_ball])) == len(np.unique(parts[~on_ball])) == 1
    assert len(parts) > 0.97 * SIDE * SIDE  # only the ball's last pixels, seen edge-on, are missing
    assert stretch(mesh).max() < 15  # the step is 80 pixels


def test_soft_normals_of_the_ball_and_the_wall_give_no_shards() -> None:
    """Normals do not say how far the ball is from the wall: half a ball on it agrees with them as well."""
    scene = ball_before_a_wall()
    found = integrate_normals(
        softened(scene.normals, 2),
        CAMERA,
        settings=IntegrationSettings(iterations=15),
        photograph=scene.photograph,
    )
    mesh = relief_mesh(found, scene.normals, CAMERA)
    rows, columns = pixels_of(mesh)
    parts = vertex_parts(mesh)
    assert len(rows) > 0.97 * SIDE * SIDE
    assert np.bincount(parts).max() > 0.75 * len(rows)  # the wall, with or without the ball
    assert len(np.unique(parts)) <= 2
    assert np.percentile(stretch(mesh), 99.5) < 8
    wall = mesh.positions[~scene.ball[rows, columns] & (np.hypot(rows - 48, columns - 50) > 36)]
    assert np.ptp(wall[:, 2]) < 0.1 * -wall[:, 2].mean()  # and it is flat


def test_tears_follow_the_outline_of_the_photograph_where_normals_are_soft() -> None:
    scene = ball_above_the_ground()
    soft = softened(scene.normals, 4)
    across = np.zeros_like(scene.ball)
    across[:, :-1] = scene.ball[:, :-1] != scene.ball[:, 1:]
    down = np.zeros_like(scene.ball)
    down[:-1] = scene.ball[:-1] != scene.ball[1:]

    def torn(photograph: np.ndarray | None) -> tuple[int, int]:
        """Torn edges on the outline, and elsewhere."""
        settings = IntegrationSettings(iterations=15)
        found = integrate_normals(soft, CAMERA, settings=settings, photograph=photograph)
        on = int((found.torn_right & across).sum() + (found.torn_down & down).sum())
        return on, int(found.torn_right.sum() + found.torn_down.sum()) - on

    with_it, without = torn(scene.photograph), torn(None)
    assert with_it[0] > 0.25 * (across.sum() + down.sum())  # the upper part, where the ground is farther
    assert with_it[1] < 0.1 * with_it[0]
    assert without[0] < 0.2 * with_it[0]


def test_a_pattern_on_a_plane_tears_nothing_and_changes_nothing() -> None:
    normals = np.broadcast_to(np.array([0.3, 0.2, 0.93]) / np.linalg.norm([0.3, 0.2, 0.93]), (SIDE, SIDE, 3))
    stripes = np.repeat((np.arange(SIDE) // 5 % 2 * 1.0)[None, :, None], SIDE, 0).repeat(3, 2)
    plain = integrate_normals(normals, CAMERA)
    patterned = integrate_normals(normals, CAMERA, photograph=stripes)
    assert not patterned.torn_right.any()
    assert np.allclose(plain.depth, patterned.depth, rtol=2e-3)


def test_a_ground_ends_at_a_multiple_of_the_median_depth() -> None:
    rays = pixel_rays(CAMERA)
    up = np.array([0, np.cos(0.42), np.sin(0.42)])  # the horizon lies a little above the picture
    normals = np.broadcast_to(up, (SIDE, SIDE, 3))
    depth = -1 / (rays @ up)
    assert depth.max() > 6 * np.median(depth)
    for far in (2.0, 4.0):
        mesh = relief_mesh(integration_of(depth), normals, CAMERA, far)
        assert -mesh.positions[:, 2].min() == pytest.approx(far * np.median(depth), rel=0.2)
        assert len(np.unique(vertex_parts(mesh))) == 1


def test_specks_and_far_scraps_are_dropped_and_a_small_thing_in_front_stays() -> None:
    depth = np.full((SIDE, SIDE), 5.0)
    depth[10:14, 10:14] = 4  # a speck: 16 of 9216 pixels
    depth[30:46, 30:46] = 4  # a small thing in front: 2.8 %
    depth[60:76, 60:76] = 7  # a scrap of the same size, beyond everything
    normals = np.broadcast_to([0.0, 0.0, 1.0], (SIDE, SIDE, 3))
    mesh = relief_mesh(integration_of(depth), normals, CAMERA)
    sizes = np.bincount(vertex_parts(mesh))
    assert sorted(sizes.tolist()) == [16 * 16, SIDE * SIDE - 2 * 16 * 16 - 16]
    assert -mesh.positions[:, 2].min() == pytest.approx(5)


@pytest.mark.parametrize("camera", [CAMERA, None])
def test_a_jump_is_cut_by_its_share_of_the_picture_and_a_slope_is_not(camera: Intrinsics | None) -> None:
    pixel = 5 / FOCAL_PX if camera else 1.0
    normals = np.broadcast_to([0.0, 0.0, 1.0], (SIDE, SIDE, 3)).copy()

    def parts(step_px: float) -> int:
        depth = np.full((SIDE, SIDE), 5.0)
        depth[:, SIDE // 2 :] += step_px * pixel
        return len(np.unique(vertex_parts(relief_mesh(integration_of(depth), normals, camera))))

    assert parts(1.5) == 1
    assert parts(3.0) == 2
    normals[:] = np.array([0.92, 0, 0.39])  # a slope of 67 degrees gains 2.4 pixels a pixel
    assert parts(3.0) == 1
    assert parts(20.0) == 2


def test_what_cannot_be_shown_is_refused() -> None:
    normals = np.broadcast_to([0.0, 0.0, 1.0], (SIDE, SIDE, 3))
    flat = integration_of(np.full((SIDE, SIDE), 2.0))
    with pytest.raises(SettingError, match="far"):
        relief_mesh(flat, normals, CAMERA, far=1.0)
    with pytest.raises(ImageShapeError, match="fit"):
        relief_mesh(flat, normals[:5], CAMERA)
    with pytest.raises(ImageShapeError, match="photograph"):
        integrate_normals(normals, CAMERA, photograph=np.zeros((3, 3, 3)))
