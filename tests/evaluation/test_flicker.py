"""The flicker number: none for the truth, and what was put in for the rest."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.flicker import change_deg, correspondence, flicker_deg
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import PosedCamera

SIDE = 48


def turned(degrees: float, place: tuple[float, float, float] = (0, 0, 0)) -> PosedCamera:
    """A camera turned to the left about the upright axis."""
    angle = np.radians(degrees)
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = place
    return PosedCamera(Intrinsics(60, 60, SIDE / 2, SIDE / 2, SIDE, SIDE), pose)


def wall(camera: PosedCamera) -> tuple[np.ndarray, Tensor]:
    """Depth (H, W) and normals (3, H, W) of the plane z = -4, which faces +z."""
    rays = camera.directions()
    depth = (-4 - camera.centre[2]) / rays[..., 2]
    normal = camera.rotation.T @ np.array([0, 0, 1.0])
    return depth.astype(np.float32), torch.from_numpy(normal.astype(np.float32))[:, None, None].expand(
        3, SIDE, SIDE
    )


@pytest.mark.parametrize("after", [turned(8), turned(0, (0.3, 0, 0)), turned(-5, (0.2, 0.1, 0.4))])
def test_the_truth_does_not_flicker(after: PosedCamera) -> None:
    before = turned(0)
    (depth_0, true_0), (depth_1, true_1) = wall(before), wall(after)
    same = correspondence(before, depth_0, after, depth_1)
    assert 0.5 < float(same.valid.float().mean()) < 1
    points = after.centre + after.directions() * depth_1[..., None]
    seen = same.valid.numpy()
    assert np.allclose(before.project(points[seen])[0], same.source.numpy()[seen], atol=1e-3)
    assert float(change_deg(true_0, true_1, same)[same.valid].max()) < 0.01
    assert flicker_deg((true_0, true_1), (true_0, true_1), same) < 0.01


def test_a_prediction_that_stands_still_in_a_turning_camera_flickers_by_the_turn() -> None:
    before, after = turned(0), turned(8)
    (depth_0, true_0), (depth_1, true_1) = wall(before), wall(after)
    same = correspondence(before, depth_0, after, depth_1)
    assert flicker_deg((true_0, true_0), (true_0, true_1), same) == pytest.approx(8, abs=0.01)


def test_true_changes_do_not_count() -> None:
    camera = turned(0)
    depth, true = wall(camera)
    same = correspondence(camera, depth, camera, depth)
    tilted = torch.tensor([np.sin(0.2), 0, np.cos(0.2)]).float()[:, None, None].expand(3, SIDE, SIDE)
    assert flicker_deg((true, tilted), (true, tilted), same) < 0.01
    assert flicker_deg((true, tilted), (true, true), same) == pytest.approx(np.degrees(0.2), abs=0.01)


def test_what_was_hidden_has_no_correspondence() -> None:
    before, after = turned(0), turned(0, (0.5, 0, 0))
    (depth_0, _), (depth_1, _) = wall(before), wall(after)
    hidden = depth_0.copy()
    hidden[10:20] = 1  # something stood in front
    same = correspondence(before, hidden, after, depth_1)
    assert not same.valid[10:20].any() and same.valid[25:40, 5:30].all()
    assert np.isnan(
        flicker_deg(
            (torch.ones(3, SIDE, SIDE),) * 2,
            (torch.ones(3, SIDE, SIDE),) * 2,
            correspondence(before, hidden * 0, after, depth_1),
        )
    )
    with pytest.raises(ImageShapeError, match="one size"):
        correspondence(before, hidden[:10], after, depth_1)
