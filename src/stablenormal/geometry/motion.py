"""Where each pixel of a picture was in the one before, and what of a normal map moves along.

Motion is dense inverse search (DIS) optical flow in both directions; a pixel counts as seen before only where
the two agree and the brightness does too, so that nothing is dragged over what was hidden.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.uint8]

FLOW_SIDE = 640
"""Longer side, in pixels, at which motion is looked for."""
SMALLEST = 32
"""Of pictures with a shorter side below this no motion is known."""
ROUND_TRIP = 0.01
"""There and back may miss by this share of the squared lengths and half a squared pixel (Sundaram 2010)."""
BRIGHTNESS = 0.1
"""Change of smoothed brightness, of 1, beyond the whole picture's, that says it is another surface."""


class Motion(NamedTuple):
    """From a picture to the one before."""

    source: Map
    """(H, W, 2): x and y in the picture before, counted from the centre of its first pixel."""
    seen: Mask
    """(H, W): whether the surface there was seen before."""


def grey_of(image: Map) -> Grey:
    """What motion is looked for in: brightness of a picture (H, W, 3) in [0, 1], made small."""
    height, width = image.shape[:2]
    scale = min(1.0, FLOW_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(image, np.float32), size, interpolation=cv2.INTER_AREA)
    grey: Grey = np.rint(np.clip(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), 0, 1) * 255).astype(np.uint8)
    return grey


def motion_between(before: Grey, after: Grey, size: tuple[int, int]) -> Motion:
    """Motion from one picture to the next.

    Args:
        before: from `grey_of`.
        after: from `grey_of`, of the next picture.
        size: height and width of the pictures themselves.
    """
    if before.shape != after.shape or min(after.shape) < SMALLEST:
        return Motion(_grid(*size), np.zeros(size, np.bool_))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there = np.asarray(search.calc(before, after, np.zeros((*after.shape, 2), np.float32)), np.float32)
    back = np.asarray(search.calc(after, before, np.zeros((*after.shape, 2), np.float32)), np.float32)
    place = _grid(*after.shape) + back
    returned = _sampled(there, place)
    missed = ((back + returned) ** 2).sum(-1)
    lengths = (back**2).sum(-1) + (returned**2).sum(-1)
    seen = _inside(place, after.shape) & (missed <= ROUND_TRIP * lengths + 0.5)
    seen &= _same_brightness(before, after, place)
    seen = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # edges of flow are soft
    return _enlarged(back, seen, size)


def carried(normals: Map, motion: Motion) -> Map:
    """A normal map (H, W, 3) of the picture before, moved along: (H, W, 3), zero where nothing was seen."""
    moved = _sampled(normals, motion.source)
    length = np.linalg.norm(moved, axis=-1, keepdims=True)
    whole = motion.seen[..., None] & (length > 0.5)  # shorter: between a normal and none, or two that oppose
    return np.where(whole, moved / np.maximum(length, 1e-6), 0).astype(np.float32)


def _grid(height: int, width: int) -> Map:
    """(H, W, 2): x and y of every pixel."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def _inside(place: Map, size: tuple[int, ...]) -> Mask:
    x, y = place[..., 0], place[..., 1]
    inside: Mask = (x >= 0) & (y >= 0) & (x <= size[1] - 1) & (y <= size[0] - 1)
    return inside


def _sampled(values: Map, place: Map) -> Map:
    """A map (h, w, C) at places (H, W, 2), bilinearly; zero outside."""
    sampled = cv2.remap(
        np.ascontiguousarray(values, np.float32),
        np.ascontiguousarray(place[..., 0]),
        np.ascontiguousarray(place[..., 1]),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(sampled, np.float32)


def _same_brightness(before: Grey, after: Grey, place: Map) -> Mask:
    """Whether a surface kept its brightness, apart from what changed everywhere, as an exposure does."""
    change = after.astype(np.float32) - _sampled(before[..., None].astype(np.float32), place)
    change -= np.median(change[_inside(place, after.shape)] if _inside(place, after.shape).any() else change)
    smooth = cv2.GaussianBlur(change, (0, 0), 1.5)
    same: Mask = np.abs(smooth) <= BRIGHTNESS * 255
    return same


def _enlarged(back: Map, seen: Mask, size: tuple[int, int]) -> Motion:
    """Motion found in a small picture, at the size of the whole."""
    height, width = size
    if seen.shape == size:
        return Motion(_grid(height, width) + back, seen)
    scale = np.array([width / seen.shape[1], height / seen.shape[0]], np.float32)
    large = cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    known = cv2.resize(seen.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    source = _grid(height, width) + large
    return Motion(source, known & _inside(source, size))
