"""Motion of textures that move in a known way, and what is carried along."""

import cv2
import numpy as np
import pytest

from stablenormal.geometry.motion import FLOW_SIDE, carried, grey_of, motion_between

SIZE = (96, 128)


def texture(seed: int, height: int = 200, width: int = 240) -> np.ndarray:
    """Soft blotches (H, W, 3) in [0, 1]."""
    noise = np.random.default_rng(seed).random((height, width, 1)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.0)[..., None]
    soft = (soft - soft.min()) / np.ptp(soft)
    return np.repeat(soft, 3, axis=-1).astype(np.float32)


def crop(image: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.ascontiguousarray(image[y : y + SIZE[0], x : x + SIZE[1]])


def test_a_shift_is_found_and_what_comes_in_was_not_seen() -> None:
    image = texture(0)
    before, after = crop(image, 40, 30), crop(image, 46, 28)  # the camera goes right and up
    motion = motion_between(grey_of(before), grey_of(after), SIZE)
    x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    expected = np.stack([x + 6, y - 2], axis=-1)
    inner = np.zeros(SIZE, bool)
    inner[12:-12, 12:-16] = True
    assert motion.seen[inner].mean() > 0.95
    assert np.abs(motion.source - expected)[inner & motion.seen].mean() < 0.15
    assert not motion.seen[:, -6:].any() and not motion.seen[:2].any()


def test_nothing_is_carried_over_what_was_hidden() -> None:
    """A square in front moves to the right by 8 pixels; what it uncovers was never seen."""
    ground, front = texture(1), texture(2)

    def shown(x: int) -> tuple[np.ndarray, np.ndarray]:
        image, normals = crop(ground, 0, 0) * 0.5, np.zeros((*SIZE, 3), np.float32)
        normals[..., 2] = 1
        image[30:70, x : x + 40] = 0.5 + 0.5 * front[30:70, :40]
        normals[30:70, x : x + 40] = (0.6, 0, 0.8)
        return image, normals

    (before, normals), (after, true) = shown(40), shown(48)
    motion = motion_between(grey_of(before), grey_of(after), SIZE)
    moved = carried(normals, motion)
    known = (moved != 0).any(-1)
    assert known.mean() > 0.7
    assert np.allclose(np.linalg.norm(moved[known], axis=-1), 1, atol=1e-5)
    uncovered = np.zeros(SIZE, bool)
    uncovered[32:68, 41:47] = True
    assert known[uncovered].mean() < 0.1
    wrong = np.abs(moved - true).max(-1) > 0.3
    assert (wrong & known).mean() < 0.01
    inside = np.zeros(SIZE, bool)
    inside[36:64, 54:82] = True
    assert known[inside].mean() > 0.9 and np.allclose(moved[inside & known], (0.6, 0, 0.8), atol=0.02)


def test_an_exposure_that_changes_everywhere_is_no_motion_but_another_surface_is() -> None:
    image = texture(3)
    before = crop(image, 20, 20) * 0.6 + 0.1
    assert motion_between(grey_of(before), grey_of(before + 0.15), SIZE).seen[4:-4, 4:-4].mean() > 0.9
    changed = before.copy()
    changed[40:60, 50:80] += 0.3
    seen = motion_between(grey_of(before), grey_of(changed), SIZE).seen
    assert not seen[44:56, 54:76].any()
    assert (
        not motion_between(grey_of(crop(image, 0, 0)), grey_of(crop(texture(9), 0, 0)), SIZE).seen.mean()
        > 0.3
    )


def test_large_pictures_are_searched_small_and_answered_large() -> None:
    image = cv2.resize(texture(4), (1500, 1250), interpolation=cv2.INTER_CUBIC)
    size = (960, 1280)
    before, after = (np.ascontiguousarray(image[:960, x : x + 1280]) for x in (100, 112))
    assert max(grey_of(before).shape) == FLOW_SIDE
    motion = motion_between(grey_of(before), grey_of(after), size)
    assert motion.source.shape == (960, 1280, 2) and motion.seen[50:-50, 50:-60].mean() > 0.9
    shift = motion.source[200:700, 300:1000] - np.stack(
        np.meshgrid(np.arange(300, 1000), np.arange(200, 700)), axis=-1
    )
    assert np.abs(shift - (12, 0)).mean() < 0.3


@pytest.mark.parametrize("size", [(20, 96), (96, 20), (1, 1)])
def test_of_tiny_pictures_no_motion_is_known(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.float32)
    motion = motion_between(grey_of(image), grey_of(image), size)
    assert motion.source.shape == (*size, 2) and not motion.seen.any()
