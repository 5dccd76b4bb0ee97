"""Rendered clips: their truth is consistent from frame to frame, and the same seed gives the same clip."""

import numpy as np
import pytest
import torch

pytest.importorskip("moderngl")

from stablenormal.data.synthetic import clips  # noqa: E402
from stablenormal.data.synthetic.clips import Path, render_clip  # noqa: E402
from stablenormal.errors import SettingError  # noqa: E402
from stablenormal.evaluation.flicker import change_deg, correspondence  # noqa: E402


def test_points_keep_their_normals_and_frames_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "BANK_FRACTION", 0.02)
    frames = list(render_clip(5, "closeup", 3, 64, Path(sideways=0.05)))
    assert len(frames) == 3 and frames[0].image.shape == (64, 64, 3)
    for before, after in zip(frames[:-1], frames[1:], strict=True):
        same = correspondence(before.camera, before.depth, after.camera, after.depth)
        assert same.valid.float().mean() > 0.5
        maps = [torch.from_numpy(frame.normals.copy()).permute(2, 0, 1) for frame in (before, after)]
        assert float(change_deg(*maps, same)[same.valid].median()) < 0.1
        moved = np.abs(before.camera.camera_to_world - after.camera.camera_to_world).max()
        assert moved > 1e-3
    again = next(render_clip(5, "closeup", 3, 64, Path(sideways=0.05)))
    assert np.array_equal(frames[0].image, again.image)


@pytest.mark.parametrize(("kind", "frames"), [("cave", 3), ("room", 1)])
def test_what_makes_no_clip_is_refused(kind: str, frames: int) -> None:
    with pytest.raises(SettingError, match="a clip needs 2 frames or more"):
        next(render_clip(0, kind, frames, 64))
