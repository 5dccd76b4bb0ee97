import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stablenormal.errors import FrameError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import Distortion, PosedCamera, pose_from_colmap

LENS = Intrinsics(50, 60, 20, 14, 40, 30)


def pose(seed: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    matrix[:3, 3] = np.random.default_rng(seed).normal(size=3)
    return matrix


@pytest.mark.parametrize("seed", range(3))
def test_what_lies_on_a_pixels_ray_is_seen_in_its_centre(seed: int) -> None:
    camera = PosedCamera(LENS, pose(seed))
    depth = np.random.default_rng(seed).uniform(1, 5, (30, 40, 1))
    points = camera.centre + camera.directions() * depth
    pixels, depths = camera.project(points.reshape(-1, 3))
    expected = np.stack(np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5), -1).reshape(-1, 2)
    assert np.allclose(pixels, expected)
    assert np.allclose(depths, depth.ravel())


def test_points_behind_have_no_pixel() -> None:
    camera = PosedCamera(LENS, np.eye(4))
    pixels, depths = camera.project(np.array([[0, 0, 2.0], [0, 0, -2.0]]))
    assert np.isnan(pixels[0]).all() and depths[0] == -2
    assert pixels[1].tolist() == [20, 14]


def test_the_middle_of_the_picture_is_looked_at() -> None:
    camera = PosedCamera(Intrinsics.centred(40, 41, 31), pose(5))
    assert np.allclose(camera.directions()[15, 20], -camera.rotation[:, 2])


def test_resizing_keeps_what_is_seen() -> None:
    camera = PosedCamera(LENS, pose(1))
    points = camera.centre + camera.directions()[::7, ::9].reshape(-1, 3) * 3
    half = camera.resized(20, 15)
    assert np.allclose(half.project(points)[0] * 2, camera.project(points)[0])


def test_colmap_poses_are_world_to_opencv() -> None:
    rotation = Rotation.random(random_state=3)
    x, y, z, w = rotation.as_quat()
    translation = np.array([0.3, -0.2, 4.0])
    camera = PosedCamera(LENS, pose_from_colmap(3 * np.array([w, x, y, z]), translation))
    points = np.random.default_rng(0).normal(size=(10, 3)) * 0.3
    seen = points @ rotation.as_matrix().T + translation
    expected = np.stack([50 * seen[:, 0] / seen[:, 2] + 20, 60 * seen[:, 1] / seen[:, 2] + 14], 1)
    pixels, depths = camera.project(points)
    assert np.allclose(pixels, expected)
    assert np.allclose(depths, seen[:, 2])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), "4, 4"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.0, 1, -1, 1]), "not a rotation"),
        (np.diag([2.0, 2, 2, 1]), "not a rotation"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
def test_what_is_no_pose_is_refused(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        PosedCamera(LENS, matrix)


def test_a_zero_quaternion_is_refused() -> None:
    with pytest.raises(FrameError, match="quaternion"):
        pose_from_colmap(np.zeros(4), np.zeros(3))


def test_distortion() -> None:
    assert not Distortion()
    assert Distortion(p2=0.1)
    with pytest.raises(SettingError, match="finite"):
        Distortion(k1=float("nan"))
