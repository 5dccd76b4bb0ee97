import numpy as np
import pytest
import torch

from stablenormal.applications.enhancement import (
    AZIMUTHS_DEG,
    enhance,
    front_to_view,
    right_side,
    t_plus_of_strength,
    turn,
)
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.coarse_normals import blur_normals
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.pipelines import StableNormal


def seen_from(view: str, side: int) -> torch.Tensor:
    """What an orthographic camera at the view's place sees of a ball, in that camera's frame, (3, 32, 32)."""
    v, u = (np.mgrid[:32, :32] + 0.5 - 16) / 14
    z = np.sqrt(np.maximum(1 - u * u - v * v, 0))
    return torch.from_numpy(np.where(z > 0.1, np.stack([u, -v, z]), 0).astype(np.float32))


def test_a_quarter_turn_to_the_right_is_exact() -> None:
    to_right = front_to_view("right")
    assert (to_right @ torch.tensor([1.0, 0, 0]).double()).tolist() == [0, 0, 1]  # x faces the right camera
    assert (to_right @ torch.tensor([0, 0, 1.0]).double()).tolist() == [-1, 0, 0]
    assert (front_to_view("back") @ torch.tensor([0, 0, 1.0]).double()).tolist() == [0, 0, -1]
    assert torch.equal(front_to_view("left"), front_to_view("right", side=-1))


@pytest.mark.parametrize("view", AZIMUTHS_DEG)
def test_views_turn_back_to_where_they_were(view: str) -> None:
    rotation = front_to_view(view)
    assert torch.allclose(rotation @ rotation.T, torch.eye(3).double(), atol=1e-15)
    assert torch.linalg.det(rotation) == pytest.approx(1)
    normals = seen_from(view, 1)
    assert torch.allclose(turn(turn(normals, rotation.T), rotation), normals, atol=1e-6)


@pytest.mark.parametrize("side", [1, -1])
def test_the_side_of_the_right_view_is_found(side: int) -> None:
    in_front_frame = {view: turn(seen_from(view, side), front_to_view(view, side).T) for view in AZIMUTHS_DEG}
    assert right_side(in_front_frame) == side


def test_normals_that_face_away_are_refused() -> None:
    with pytest.raises(SettingError, match="face away"):
        right_side({"front": -seen_from("front", 1), "back": seen_from("back", 1)})


def test_strength_spans_the_noise_levels() -> None:
    assert [t_plus_of_strength(strength) for strength in (0, 0.4, 1)] == [1, 400, 999]
    with pytest.raises(SettingError, match="strength"):
        t_plus_of_strength(1.1)


@pytest.fixture(scope="module")
def small() -> StableNormal:
    return StableNormal.from_pretrained("small", device="cpu", dtype="float32", offline=True)


def test_little_noise_leaves_the_map_and_much_noise_does_not(small: StableNormal) -> None:
    ball = torch.nn.functional.interpolate(seen_from("front", 1)[None], size=(96, 96), mode="bilinear")[0]
    ball = torch.where(ball.norm(dim=0) > 0.9, ball / ball.norm(dim=0).clamp(min=1e-6), 0.0)
    image = ball[2:].clamp(0, 1).expand(3, -1, -1).contiguous()
    valid = (ball != 0).any(dim=0)
    moved = {}
    for strength in (0.0, 0.8):
        found = enhance(
            small, [image], [ball], t_plus=t_plus_of_strength(strength), processing_resolution=96
        ).normals[0]
        assert torch.equal((found != 0).any(dim=0), valid)
        moved[strength] = float(angular_error_deg(found[None], ball[None])[0][valid].median())
    assert moved[0.0] < 5
    assert moved[0.8] > 1.3 * moved[0.0]


def test_detail_that_latents_cannot_hold_survives_where_the_map_is_kept(small: StableNormal) -> None:
    across = 0.5 * torch.sin(torch.arange(96) * 2.5).expand(96, -1)  # two and a half pixels a wave
    fine = torch.stack([across, torch.zeros(96, 96), (1 - across**2).sqrt()])
    image = fine[2:].expand(3, -1, -1).contiguous()
    found = {
        strength: enhance(
            small, [image], [fine], t_plus=t_plus_of_strength(strength), processing_resolution=48
        ).normals[0]
        for strength in (0.0, 1.0)
    }
    kept, gone = (float(angular_error_deg(one[None], fine[None]).mean()) for one in found.values())
    assert kept < 6 < 12 < gone


def test_the_broad_shape_stays_and_a_sharp_map_hardly_changes(small: StableNormal) -> None:
    edges = torch.where((torch.arange(96) // 16) % 2 == 0, -0.6, 0.6).expand(96, -1)
    sharp = torch.stack([edges, torch.zeros(96, 96), torch.full((96, 96), 0.8)])
    coarse = blur_normals(sharp, 3.0)
    image = torch.where(edges > 0, 0.7, 0.3).expand(3, -1, -1).contiguous()
    found = enhance(small, [image, image], [sharp, coarse], t_plus=100, processing_resolution=96).normals
    assert float(angular_error_deg(found[0][None], sharp[None]).median()) < 2
    moved = angular_error_deg(found[1][None], coarse[None])
    in_the_large = angular_error_deg(blur_normals(found[1], 6.0)[None], blur_normals(coarse, 6.0)[None])
    assert 0.5 < float(moved.mean())
    assert float(in_the_large.mean()) < 0.5 * float(moved.mean())


def test_views_share_their_noise(small: StableNormal) -> None:
    ball = seen_from("front", 1)
    image = torch.full((3, 32, 32), 0.5)
    twice = enhance(small, [image, image], [ball, ball], steps=2, processing_resolution=32)
    assert torch.equal(twice.normals[0], twice.normals[1])
    assert twice.steps == 2


def test_what_does_not_fit_is_refused(small: StableNormal) -> None:
    ball = seen_from("front", 1)
    image = torch.zeros(3, 32, 32)
    for images, coarse, error, words in (
        ([image], [], ImageShapeError, "one for each"),
        ([image[:, :9]], [ball], ImageShapeError, "resize"),
        ([image], [ball * 0], SettingError, "no valid pixel"),
    ):
        with pytest.raises(error, match=words):
            enhance(small, images, coarse)
