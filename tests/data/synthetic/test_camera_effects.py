import numpy as np
import pytest

from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.camera_effects import background, compressed, photograph
from stablenormal.data.synthetic.contact_sheet import depth_colours, normal_colours
from stablenormal.data.synthetic.draws import generator


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    ramp = np.linspace(0, 4, 48, dtype=np.float32)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None] * 0.5, ramp[::-1, None]), -1).copy()


def develop(light: np.ndarray, bank: Bank, seed: int, coverage: float = 1.0) -> np.ndarray:
    cover = np.full(light.shape[:2], coverage, np.float32)
    return photograph(generator(seed), light * coverage, cover, bank.textures)


def test_photograph_repeats_from_its_seed(light: np.ndarray, bank: Bank) -> None:
    first, again, other = (develop(light, bank, seed) for seed in (1, 1, 2))
    assert first.dtype == np.uint8 and first.shape == light.shape
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_exposure_does_not_depend_on_how_bright_the_lamps_are(light: np.ndarray, bank: Bank) -> None:
    one, thousand = develop(light, bank, 3).astype(int), develop(light * 1000, bank, 3).astype(int)
    assert np.abs(one - thousand).mean() < 2


def test_some_photographs_are_grey_and_most_are_not(light: np.ndarray, bank: Bank) -> None:
    spread = [np.ptp(develop(light, bank, seed).astype(int), axis=-1).mean() for seed in range(60)]
    assert 2 <= np.sum(np.array(spread) < 8) <= 25


def test_some_black_and_white_photographs_are_hard(light: np.ndarray, bank: Bank) -> None:
    pictures = [develop(light, bank, seed).astype(int) for seed in range(90)]
    grey = [picture for picture in pictures if np.ptp(picture, axis=-1).mean() < 4]
    spread = [picture.std() for picture in grey]
    assert len(grey) > 3 and max(spread) > 1.5 * min(spread)
    levels = [picture.mean() for picture in pictures]
    assert min(levels) < 70 and max(levels) > 170  # low key, high key


def test_empty_pixels_show_a_background(bank: Bank) -> None:
    light = np.zeros((32, 32, 3), np.float32)
    light[:16] = 1
    cover = np.zeros((32, 32), np.float32)
    cover[:16] = 1
    below = [photograph(generator(seed), light, cover, bank.textures)[20:].mean() for seed in range(40)]
    assert min(below) < 8 and max(below) > 190


def test_background_kinds(bank: Bank) -> None:
    kinds = [background(generator(seed), 32, bank.textures) for seed in range(40)]
    assert all(kind.shape == (32, 32, 3) and kind.min() >= 0 and kind.max() <= 1 for kind in kinds)
    assert any(kind.max() == 0 for kind in kinds) and any(kind.std() > 0.05 for kind in kinds)


def test_compression_loses_little_at_high_quality(light: np.ndarray, bank: Bank) -> None:
    image = develop(light, bank, 1)
    low, high = (np.abs(compressed(image, quality).astype(int) - image).mean() for quality in (10, 95))
    assert 0 < high < low and high < 4


def test_normal_colours() -> None:
    normals = np.array([[[0, 0, 1], [1, 0, 0], [0, 0, 0]]], np.float32)
    np.testing.assert_array_equal(normal_colours(normals), [[[128, 128, 255], [255, 128, 128], [0, 0, 0]]])


def test_depth_colours_run_from_near_to_far() -> None:
    depth = np.array([[1.0, 2.0, 4.0, 0.0]], np.float32)
    colours = depth_colours(depth)
    brightness = colours.astype(int).sum(-1)[0]
    assert brightness[0] > brightness[1] > brightness[2] > 0 and not colours[0, 3].any()
    assert not depth_colours(np.zeros((2, 3), np.float32)).any()


def phone_pictures(light: np.ndarray, bank: Bank, count: int = 40) -> list[np.ndarray]:
    cover = np.ones(light.shape[:2], np.float32)
    return [photograph(generator(seed), light, cover, bank.textures, phones=True) for seed in range(count)]


def test_phones_repeat_from_their_seed_and_change_half_of_the_pictures(light: np.ndarray, bank: Bank) -> None:
    pictures = phone_pictures(light, bank)
    for one, two in zip(pictures[:5], phone_pictures(light, bank, 5), strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(picture.dtype == np.uint8 and picture.shape == light.shape for picture in pictures)


def test_phones_sharpen_edges_with_halos(bank: Bank) -> None:
    """Beside a step between two greys some pictures go beyond both, which nothing else here does."""
    step = np.full((48, 48, 3), 0.1, np.float32)
    step[:, 24:] = 0.35

    def overshoot(phones: bool) -> int:
        count = 0
        for seed in range(60):
            rows = photograph(
                generator(seed), step, np.ones((48, 48), np.float32), bank.textures, phones=phones
            )
            profile = rows.astype(float).mean((0, 2))
            left, right = profile[8:18].mean(), profile[30:40].mean()
            halo = max(left - profile[20:24].min(), profile[24:28].max() - right)
            count += halo > 0.08 * (right - left) and right - left > 20
        return count

    assert overshoot(True) > 2 * overshoot(False) + 5


def test_phones_stand_more_things_on_white(bank: Bank) -> None:
    light, cover = np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.float32)
    light[:16] = cover[:16, :, None] = 1
    cover[:16] = 1

    def white(phones: bool) -> float:
        grounds = [
            photograph(generator(seed), light, cover, bank.textures, phones=phones)[20:]
            for seed in range(100)
        ]
        return float(np.mean([ground.mean() > 190 and ground.std() < 25 for ground in grounds]))

    assert white(True) > white(False) + 0.08
