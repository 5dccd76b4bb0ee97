import pytest
import torch

from stablenormal.evaluation.frame_check import FrameCheck
from stablenormal.geometry.frames import FRAMES
from stablenormal.geometry.normals import convert_frame, unit_length

CAMERA_FRAMES = [name for name, signs in FRAMES.items() if signs]


@pytest.fixture
def truth() -> torch.Tensor:
    normals = torch.randn(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    normals[:, 2] = normals[:, 2].abs()
    return unit_length(normals)[0]


VALID = torch.ones(30, 40, dtype=torch.bool)


@pytest.mark.parametrize("actual", CAMERA_FRAMES)
@pytest.mark.parametrize("declared", CAMERA_FRAMES)
def test_the_right_frame_is_named(truth, declared, actual) -> None:
    stored = convert_frame(truth[None], "opengl", actual)
    check = FrameCheck(declared)
    check.add(convert_frame(stored, declared, "opengl")[0], truth, VALID)
    warning = check.warning()
    if declared == actual:
        assert warning is None
    else:
        assert f"read as frame {declared}" in warning
        assert f"as {actual} they" in warning and f"`frame` {actual}" in warning
    assert check.mean_errors()[actual] == pytest.approx(0, abs=1e-3)
    assert len(check.mean_errors()) == 8


def test_axes_without_a_name_are_described(truth) -> None:
    check = FrameCheck("opengl")
    check.add(truth * torch.tensor([-1.0, -1.0, 1.0])[:, None, None], truth, VALID)
    assert "as x left, y down, z toward the viewer they" in check.warning()
    assert "no frame has these axes" in check.warning()


def test_a_slightly_better_frame_or_a_flat_prediction_is_no_reason_to_warn(truth) -> None:
    flat = torch.zeros_like(truth)
    flat[2] = 1
    check = FrameCheck("opengl")
    check.add(flat, truth, VALID)
    assert check.warning() is None


def test_only_valid_pixels_count_and_images_weigh_by_their_pixels(truth) -> None:
    valid = VALID.clone()
    valid[:, 20:] = False
    wrong_outside = torch.where(valid, truth, -truth)
    check = FrameCheck("opengl")
    check.add(wrong_outside, truth, valid)
    assert check.mean_errors()["opengl"] == pytest.approx(0, abs=1e-3)
    large = truth.repeat(1, 9, 9)
    check.add(-large, large, torch.ones(large.shape[1:], dtype=torch.bool))
    share = 81 * 1200 / (81 * 1200 + 600)
    assert check.mean_errors()["opengl"] == pytest.approx(180 * share, rel=1e-3)


def test_nothing_seen_or_a_world_frame_warns_of_nothing(truth) -> None:
    assert FrameCheck("opengl").warning() is None
    check = FrameCheck("world")
    check.add(truth, truth, VALID)
    assert check.warning() is None
