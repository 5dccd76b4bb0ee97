"""Views of a ball agree; a view whose normals are turned disagrees by as much."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stablenormal.applications.multi_view_consistency import ViewNormals, consistency
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import PosedCamera

SIDE = 64
LENS = Intrinsics.from_fov(40, SIDE, SIDE)


def look(turn_deg: float) -> PosedCamera:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", turn_deg, degrees=True).as_matrix()
    pose[:3, 3] = pose[:3, 2] * 3.2
    return PosedCamera(LENS, pose)


def view(turn_deg: float) -> ViewNormals:
    camera = look(turn_deg)
    directions = camera.directions()
    a, b = (directions**2).sum(-1), directions @ camera.centre
    discriminant = b * b - a * (camera.centre @ camera.centre - 1)
    depth = np.where(discriminant > 0, (-b - np.sqrt(np.maximum(discriminant, 0))) / a, 0)
    world = camera.centre + directions * depth[..., None]
    normals = np.where((depth > 0)[..., None], world @ camera.rotation, 0)
    return ViewNormals(camera, normals.astype(np.float32), depth.astype(np.float32))


VIEWS = [view(turn) for turn in (-25, 0, 25)]


def with_points(views: list[ViewNormals]) -> tuple[list[ViewNormals], np.ndarray]:
    """Points on the ball, each seen by the views that it faces."""
    points = np.random.default_rng(0).normal(size=(400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    seen = [np.flatnonzero(points @ one.camera.centre > 1.6) for one in views]
    return [replace(one, depth=None, points=rows) for one, rows in zip(views, seen, strict=True)], points


@pytest.mark.parametrize("by", ["depth", "points"])
def test_true_normals_agree(by: str) -> None:
    views, points = (VIEWS, None) if by == "depth" else with_points(VIEWS)
    found = consistency(views, points)
    assert found.by == by
    assert found.overall is not None and found.overall.mean_deg < 2.5 and found.overall.close > 0.98
    assert all(one is not None and one.pairs > 50 for one in found.views)


@pytest.mark.parametrize("by", ["depth", "points"])
def test_a_turned_view_is_off_by_its_angle(by: str) -> None:
    views, points = (VIEWS, None) if by == "depth" else with_points(VIEWS)
    turn = Rotation.from_euler("z", 40, degrees=True).as_matrix()
    tilt = Rotation.from_euler("x", 40, degrees=True).as_matrix()
    for rotation in (turn, tilt):
        bad = replace(views[0], normals=(views[0].normals @ rotation.T).astype(np.float32))
        found = consistency([bad, *views[1:]], points)
        first, second, third = found.views
        assert first is not None and second is not None and third is not None
        assert 12 < first.mean_deg <= 41
        assert second.mean_deg < first.mean_deg and third.mean_deg < first.mean_deg


def test_what_another_surface_hides_is_no_pair() -> None:
    hidden = replace(VIEWS[1], depth=(VIEWS[1].depth * 0.9).astype(np.float32))
    before, after = consistency(VIEWS), consistency([VIEWS[0], hidden, VIEWS[2]])
    assert before.overall is not None and after.overall is not None
    assert after.overall.pairs < 0.7 * before.overall.pairs


def test_without_common_points_there_is_no_score() -> None:
    found = consistency([replace(one, depth=None) for one in VIEWS])
    assert (found.by, found.overall, found.views) == ("nothing", None, (None, None, None))
    apart = consistency([view(0), view(180)])
    assert apart.by == "depth" and apart.overall is None
