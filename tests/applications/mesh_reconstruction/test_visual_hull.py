from dataclasses import replace

import numpy as np
import pytest

from stablenormal.applications.mesh_reconstruction.views import Cube, ReconstructionView, ray_table
from stablenormal.applications.mesh_reconstruction.visual_hull import (
    find_cube,
    hull,
    node_places,
    signed_distance,
)
from stablenormal.errors import ImageShapeError, SceneError
from stablenormal.geometry.posed import PosedCamera


def test_the_cube_holds_the_ball_and_little_more(ball) -> None:
    cube = find_cube(ball(12, 64))
    assert np.allclose(cube.centre, (0.3, -0.2, 0.1), atol=0.08)
    assert 0.8 < cube.half < 1.05
    places = np.random.default_rng(0).normal(size=(5, 3))
    assert np.allclose(cube.from_world(cube.to_world(places)), places)


def test_the_hull_holds_the_ball(ball) -> None:
    cube = Cube((0.3, -0.2, 0.1), 1.0)
    inside = hull(ball(12, 64), cube, 32)
    away = np.linalg.norm(node_places(32), axis=1).reshape(inside.shape)
    assert inside[away < 0.74].all()
    assert not inside[away > 1.0].any()
    distances = signed_distance(inside)
    assert (distances[away < 0.7] < 0).all() and (distances[away > 1.0] > 0).all()


def test_a_mask_that_fits_no_other_is_named(ball) -> None:
    views = ball(6, 32)
    moved = views[3].camera.camera_to_world.copy()
    moved[:3, 3] += 3 * moved[:3, 0]
    views[3] = replace(views[3], camera=PosedCamera(views[3].camera.intrinsics, moved))
    with pytest.raises(SceneError, match="without 03"):
        find_cube(views)


def test_a_view_with_an_empty_mask_says_nothing(ball) -> None:
    views = ball(6, 32)
    cube = find_cube(views[:5])
    views[5] = replace(views[5], mask=np.zeros_like(views[5].mask))
    assert np.array_equal(hull(views, cube, 24), hull(views[:5], cube, 24))
    assert hull(views, cube, 24).any()


def test_views_that_show_nothing(ball) -> None:
    views = [replace(view, mask=np.zeros_like(view.mask)) for view in ball(4, 16)]
    with pytest.raises(SceneError, match="only 0 of 4 views"):
        find_cube(views)
    with pytest.raises(SceneError, match="several sides"):
        find_cube([ball(4, 16)[0]] * 3)


def test_an_object_behind_a_camera(ball) -> None:
    views = ball(5, 32)
    turned = views[2].camera.camera_to_world @ np.diag([-1.0, 1, -1, 1])
    views[2] = replace(views[2], camera=PosedCamera(views[2].camera.intrinsics, turned))
    with pytest.raises(SceneError, match="02: the object .* behind"):
        find_cube(views)


def test_maps_of_other_sizes_are_refused(ball) -> None:
    view: ReconstructionView = ball(2, 16)[0]
    with pytest.raises(ImageShapeError, match="its mask is 8 x 16"):
        replace(view, mask=view.mask[:, :8])


def test_shrinking_keeps_unit_normals_and_the_mask(ball) -> None:
    view: ReconstructionView = ball(2, 64)[0]
    small = view.shrunk(16)
    assert small.mask.shape == (16, 16)
    assert small.mask.mean() == pytest.approx(view.mask.mean(), rel=1e-3)
    length = np.linalg.norm(small.normals, axis=-1)
    assert np.allclose(length[length > 0], 1, atol=1e-5)
    assert view.shrunk(100) is view


def test_a_patch_is_a_square_of_one_view(ball) -> None:
    views = ball(3, 16)
    rays = ray_table(views, Cube((0.3, -0.2, 0.1), 1.0), "cpu")
    pixels = rays.patch(rays.anchors)
    assert (rays.view[pixels] == rays.view[pixels[:, :1]]).all()
    one = views[1].camera.directions()[5:7, 7:9].reshape(4, 3)
    expected = one / np.linalg.norm(one, axis=1, keepdims=True)
    place = 16 * 16 + 5 * 16 + 7
    assert np.allclose(
        rays.directions[rays.patch(rays.anchors[rays.anchors == place])[0]], expected, atol=1e-6
    )
