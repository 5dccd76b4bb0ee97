"""Normals of a video, frame after frame, each begun from the one before.

A frame's own one-step start is blended with the normals of the frame before, moved along by optical flow,
wherever the surface was seen there (`geometry.motion`). In full mode the blend takes the start's place: it is
noised to t+ and refined, with the same noise in every frame. The refined map is blended once more.

A camera that turns also turns the vectors, which moving pixels along does not. Estimating that turn between
the two maps and undoing it was tried and made both flicker and error worse, at up to 1.5 degrees a frame: the
networks err by more than cameras turn.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.motion import Grey, Map, carried, grey_of, motion_between
from stablenormal.pipelines.stable_normal import StableNormal

CARRY = 0.85
"""Share of the frame before: more steadies little more and follows slower (`benchmarks/video.py`)."""
NEW_SCENE = 0.25
"""With less than this share of a frame seen before, it begins anew."""
TRUST_DEG = 40.0
"""Where the frame's own normals differ by so much from the moved ones, these count exp(-1) of their share."""


_OF_THE_START = ("seed", "processing_resolution")
"""Arguments that a one-step start has too."""


class _Before(NamedTuple):
    """What is kept of a frame for the next."""

    grey: Grey
    normals: Map


class VideoNormals:
    """Normals of the frames of one video, in their order.

    Args:
        pipeline: the model.
        carry: share of the frame before in each frame, from 0 (each frame alone) to below 1.
        seed: of the noise, the same in every frame.
        call: other arguments of `StableNormal.__call__`, such as mode="turbo".

    Raises:
        SettingError: if the share is out of range.
    """

    def __init__(self, pipeline: StableNormal, *, carry: float = CARRY, seed: int = 0, **call: Any) -> None:
        if not 0 <= carry < 1:
            raise SettingError(f"carry: {carry} is out of range; choose 0 or more, and less than 1")
        self.pipeline, self.carry = pipeline, carry
        self._call = {**call, "seed": seed}
        self._refines = pipeline.spec.asked(call.get("quality"), call.get("mode")).mode == "full"
        self._before: _Before | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Normals of the next frame.

        Args:
            image: (3, H, W) in [0, 1].

        Returns:
            Unit normals (3, H, W), OpenGL camera.

        Raises:
            StableNormalError: as `StableNormal.__call__`.
        """
        if not self.carry:
            return self.pipeline([image], **self._call).normals[0]
        grey = grey_of(channels_last(image))
        moved = self._moved(grey, (image.shape[1], image.shape[2]))
        normals = self._begun_from(image, moved)
        self.keep(image, normals, grey)
        return normals

    def keep(self, image: Tensor, normals: Tensor, grey: Grey | None = None) -> None:
        """Take a frame, and the normals that its file holds, as the one before the next.

        Args:
            image: (3, H, W) in [0, 1].
            normals: its normals (3, H, W), OpenGL camera.
            grey: of the image, if it is known already.
        """
        self._before = _Before(
            grey_of(channels_last(image)) if grey is None else grey, channels_last(normals)
        )

    def _moved(self, grey: Grey, size: tuple[int, int]) -> Map | None:
        """The normals before, moved along, (H, W, 3); None where too little of the frame was seen."""
        before = self._before
        if before is None or before.normals.shape[:2] != size:
            return None
        motion = motion_between(before.grey, grey, size)
        return None if motion.seen.mean() < NEW_SCENE else carried(before.normals, motion)

    def _begun_from(self, image: Tensor, moved: Map | None) -> Tensor:
        if not self._refines:
            return self._mixed(self.pipeline([image], **self._call).normals[0], moved)
        # A frame without one before begins in the same way, or it would differ from the next by that.
        options = {name: self._call[name] for name in _OF_THE_START if name in self._call}
        start = self._mixed(self.pipeline([image], mode="turbo", **options).normals[0], moved)
        return self._mixed(self.pipeline([image], start=[start], **self._call).normals[0], moved)

    def _mixed(self, own: Tensor, moved: Map | None) -> Tensor:
        if moved is None:
            return own
        return channels_first(blended(channels_last(own), moved, self.carry))


def blended(own: Map, moved: Map, carry: float) -> Map:
    """A frame's own normals, with a share of those that moved along.

    Args:
        own: (H, W, 3), unit length.
        moved: (H, W, 3), of the frame before, zero where nothing was seen.
        carry: share of `moved` where the two agree.

    Returns:
        (H, W, 3), unit length.
    """
    cosine = np.clip((moved * own).sum(-1), -1, 1)
    apart = np.degrees(np.arccos(cosine))
    share = np.where((moved != 0).any(-1), carry * np.exp(-((apart / TRUST_DEG) ** 2)), 0)[..., None]
    mixed = share * moved + (1 - share) * own
    length: npt.NDArray[np.float32] = np.linalg.norm(mixed, axis=-1, keepdims=True)
    return np.where(length > 0, mixed / np.maximum(length, 1e-6), 0).astype(np.float32)
