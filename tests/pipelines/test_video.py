"""Frames carried on: what a frame takes from the one before, and when it takes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.pipelines import NormalsOutput, StableNormal
from stablenormal.pipelines.video import TRUST_DEG, VideoNormals, blended


@pytest.fixture(scope="module")
def pipeline(toy_model: Path) -> StableNormal:
    return StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def frames() -> list[Tensor]:
    """A still picture under noise, three times: all change from frame to frame is flicker."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 16, generator=rng)
    still = torch.nn.functional.interpolate(coarse, size=(96, 128), mode="bicubic").clamp(0, 1)[0]
    return [(still + 0.02 * torch.randn(still.shape, generator=rng)).clamp(0, 1) for _ in range(3)]


def change(maps: list[Tensor]) -> float:
    pairs = zip(maps[:-1], maps[1:], strict=True)
    return float(np.mean([float(angular_error_deg(one[None], other[None]).mean()) for one, other in pairs]))


@pytest.mark.parametrize("mode", ["turbo", "full"])
def test_frames_carried_on_change_less_than_frames_alone(
    pipeline: StableNormal, frames: list[Tensor], mode: str
) -> None:
    alone = [pipeline([frame], mode=mode).normals[0] for frame in frames]
    video = VideoNormals(pipeline, carry=0.8, mode=mode)
    steady = [video(frame) for frame in frames]
    assert change(steady) < 0.6 * change(alone)
    for normals in steady:
        assert torch.allclose(normals.norm(dim=0), torch.ones(96, 128), atol=1e-5)


def test_with_nothing_carried_each_frame_is_alone(pipeline: StableNormal, frames: list[Tensor]) -> None:
    video = VideoNormals(pipeline, carry=0, seed=5)
    for frame in frames[:2]:
        assert torch.equal(video(frame), pipeline([frame], seed=5).normals[0])


def test_the_refinement_begins_from_the_frame_before(
    pipeline: StableNormal, frames: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Tensor] = []
    whole = StableNormal.__call__

    def recording(self: StableNormal, images: list[Tensor], **options: Any) -> NormalsOutput:
        starts.extend(options.get("start") or ())
        return whole(self, images, **options)

    monkeypatch.setattr(StableNormal, "__call__", recording)
    video = VideoNormals(pipeline, carry=0.8, mode="full")
    before = pipeline([frames[0]], mode="turbo").normals[0]
    video.keep(frames[0], torch.nn.functional.normalize(before + 0.2, dim=0))
    video(frames[1])
    own = pipeline([frames[1]], mode="turbo").normals[0]
    (start,) = starts
    inner = (slice(None), slice(20, -20), slice(20, -20))
    assert angular_error_deg(start[inner][None], own[inner][None]).mean() > 2


def test_another_scene_or_size_begins_anew(pipeline: StableNormal, frames: list[Tensor]) -> None:
    rng = torch.Generator().manual_seed(9)
    cut = torch.nn.functional.interpolate(torch.rand(1, 3, 48, 64, generator=rng), size=(96, 128))[0]
    smaller = frames[0][:, :80, :112]
    for new in (cut, smaller):
        video = VideoNormals(pipeline, carry=0.8, mode="turbo")
        assert torch.equal(video(frames[0]), pipeline([frames[0]], mode="turbo").normals[0])
        assert torch.equal(video(new), pipeline([new], mode="turbo").normals[0])


def test_what_is_kept_from_a_file_goes_on_as_what_was_computed(
    pipeline: StableNormal, frames: list[Tensor]
) -> None:
    whole = VideoNormals(pipeline, mode="full")
    results = [whole(frame) for frame in frames]
    resumed = VideoNormals(pipeline, mode="full")
    resumed.keep(frames[1], results[1])
    assert torch.equal(resumed(frames[2]), results[2])


def test_a_share_is_taken_where_the_two_agree_and_none_where_nothing_was_seen() -> None:
    own = np.zeros((1, 4, 3), np.float32)
    own[..., 2] = 1
    moved = np.zeros_like(own)
    for place, angle in enumerate((0, 10, 80)):
        moved[0, place] = (np.sin(np.radians(angle)), 0, np.cos(np.radians(angle)))
    mixed = blended(own, moved, 0.5)
    angles = np.degrees(np.arctan2(mixed[0, :, 0], mixed[0, :, 2]))
    share = 0.5 * np.exp(-((10 / TRUST_DEG) ** 2))
    assert np.allclose(angles[[0, 3]], 0) and angles[1] == pytest.approx(10 * share, rel=0.02)
    assert abs(angles[2]) < 2  # no longer the same surface
    assert np.allclose(np.linalg.norm(mixed, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("carry", [-0.1, 1.0, 2.0])
def test_a_share_out_of_range_is_refused(pipeline: StableNormal, carry: float) -> None:
    with pytest.raises(SettingError, match="carry"):
        VideoNormals(pipeline, carry=carry)
