"""Augmentation against renderings of the mirrored and the rolled scene."""

from dataclasses import replace

import numpy as np
import pytest

from stablenormal.data import transforms
from stablenormal.data.sample import Sample
from stablenormal.data.transforms import Augmentation
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.camera import Intrinsics

SIZE = 96


def ball(mirrored: bool = False, roll_deg: float = 0.0, size: int = SIZE, focal: float = 110.0) -> Sample:
    """A ray-traced ball off the axis; `mirrored` moves the ball, `roll_deg` turns the camera."""
    k = Intrinsics.centred(focal * size / SIZE, size, size)
    u, v = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    rays = np.stack([(u - k.cx) / k.fx, -(v - k.cy) / k.fy, -np.ones_like(u)], -1)
    centre = np.array([-0.5 if mirrored else 0.5, 0.3, -4.0])
    turn = np.radians(roll_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    centre = rotation @ centre
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - 1
    hit = b**2 > a * c
    depth = np.where(hit, (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a, 0)
    normals = np.where(hit[..., None], depth[..., None] * rays - centre, 0)
    local = normals @ rotation  # paint by the ball's own frame, so that it turns along
    if mirrored:
        local = local * [-1, 1, 1]
    image = np.where(hit[..., None], 128 + 100 * local, 10).clip(0, 255)
    return Sample(
        image.astype(np.uint8), normals.astype(np.float32), depth.astype(np.float32),
        hit.astype(np.uint8) * 12, hit.astype(np.uint16), k, {"key": "ball"},
    )  # fmt: skip


def degrees_between(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((one * two).sum(-1), -1, 1)))


def assert_close(found: Sample, wanted: Sample, median_deg: float) -> None:
    both = (found.labels > 0) & (wanted.labels > 0)
    assert ((found.labels > 0) != (wanted.labels > 0)).mean() < 0.02
    facing = both & (wanted.normals[..., 2] > 0.5)
    difference = degrees_between(found.normals, wanted.normals)[facing]  # half a pixel is one degree and more
    assert np.median(difference) < median_deg and difference.max() < 8
    off = np.abs(found.depth - wanted.depth)[facing]
    assert np.median(off) < 0.05 and off.max() < 0.2
    assert np.abs(found.image[facing].astype(int) - wanted.image[facing]).mean() < 4


def test_flip_is_the_mirrored_scene() -> None:
    found, wanted = transforms.flip(ball()), ball(mirrored=True)
    np.testing.assert_allclose(found.normals, wanted.normals, atol=1e-6)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_allclose(found.depth, wanted.depth, atol=1e-6)
    assert np.abs(found.image.astype(int) - wanted.image).max() <= 1


def test_flipping_twice_changes_nothing() -> None:
    twice = transforms.flip(transforms.flip(ball()))
    np.testing.assert_array_equal(twice.normals, ball().normals)
    np.testing.assert_array_equal(twice.image, ball().image)
    assert twice.intrinsics == ball().intrinsics


@pytest.mark.parametrize("angle_deg", [-70.0, 8.0, 33.0, 180.0])
def test_roll_is_the_rolled_camera(angle_deg: float) -> None:
    assert_close(transforms.roll(ball(), angle_deg), ball(roll_deg=angle_deg), 1.5)


def test_roll_by_nothing_changes_nothing() -> None:
    still = transforms.roll(ball(), 0.0)
    np.testing.assert_allclose(still.normals, ball().normals, atol=1e-6)
    np.testing.assert_array_equal(still.image, ball().image)


def test_roll_empties_the_corners() -> None:
    full = replace(
        ball(),
        labels=np.full((SIZE, SIZE), 3, np.uint8),
        normals=np.tile(np.float32([0, 0, 1]), (SIZE, SIZE, 1)),
    )
    turned = transforms.roll(full, 45.0)
    assert turned.labels[0, 0] == 0 and not turned.normals[0, 0].any()
    assert turned.labels[SIZE // 2, SIZE // 2] == 3
    length = np.linalg.norm(turned.normals, axis=-1)
    np.testing.assert_allclose(length[turned.labels > 0], 1, atol=1e-6)


def test_crop_keeps_rays_and_vectors() -> None:
    whole = ball()
    part = transforms.crop(whole, 30, 10, 50, 40)
    np.testing.assert_array_equal(part.normals, whole.normals[10:50, 30:80])
    np.testing.assert_array_equal(part.image, whole.image[10:50, 30:80])
    k, full = part.intrinsics, whole.intrinsics
    assert (k.width, k.height) == (50, 40)
    assert (5.5 - k.cx) / k.fx == pytest.approx((35.5 - full.cx) / full.fx)
    assert (5.5 - k.cy) / k.fy == pytest.approx((15.5 - full.cy) / full.fy)


def test_crop_outside_is_refused() -> None:
    with pytest.raises(ImageShapeError):
        transforms.crop(ball(), 60, 0, 50, 50)


@pytest.mark.parametrize("size", [48, 64, 192])
def test_zoom_is_a_rendering_of_that_size(size: int) -> None:
    assert_close(transforms.zoom(ball(), size, size), ball(size=size), 1.5)
    assert transforms.zoom(ball(), size, size).intrinsics.fx == pytest.approx(ball(size=size).intrinsics.fx)


def test_zoom_to_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="0 x 5"):
        transforms.zoom(ball(), 0, 5)


def test_pad_keeps_rays_and_puts_nothing_around() -> None:
    whole = ball()
    wide = transforms.pad(whole, 5, 3, 7, 9)
    assert wide.image.shape == (SIZE + 12, SIZE + 12, 3)
    assert (wide.intrinsics.width, wide.intrinsics.height) == (SIZE + 12, SIZE + 12)
    np.testing.assert_array_equal(wide.normals[3 : 3 + SIZE, 5 : 5 + SIZE], whole.normals)
    assert not wide.normals[:3].any() and not wide.labels[:, :5].any() and not wide.image[-9:].any()
    back = transforms.crop(wide, 5, 3, SIZE, SIZE)
    np.testing.assert_array_equal(back.image, whole.image)
    assert back.intrinsics == whole.intrinsics
    with pytest.raises(ImageShapeError):
        transforms.pad(whole, -1, 0, 0, 0)


def test_square_is_the_middle() -> None:
    long = transforms.crop(ball(), 0, 20, 96, 48)
    middle = transforms.square(long, 24)
    assert middle.image.shape == (24, 24, 3)
    np.testing.assert_array_equal(middle.normals, long.normals[1::2, 25:72:2])
    assert transforms.square(ball(), SIZE).image is not None


def test_roll_keeps_the_axis_where_the_camera_has_it() -> None:
    """With the axis off the middle and oblong pixels, it is still the rolled camera's picture."""

    def oblong(sample: Sample) -> Sample:
        return transforms.zoom(transforms.crop(sample, 20, 30, 60, 50), 60, 25)

    turned, wanted = transforms.roll(oblong(ball()), 25.0), oblong(ball(roll_deg=25.0))
    both = (turned.labels > 0) & (wanted.labels > 0) & (wanted.normals[..., 2] > 0.5)
    assert both.sum() > 200
    assert np.median(degrees_between(turned.normals, wanted.normals)[both]) < 2


def test_jpeg_and_blur_touch_little_and_more() -> None:
    image = ball().image
    fine, coarse = transforms.compressed(image, 95), transforms.compressed(image, 10)
    off = [np.abs(one.astype(int) - image).mean() for one in (fine, coarse)]
    assert 0 < off[0] < off[1]
    sharp, soft = (
        np.abs(np.diff(one.astype(int), axis=0)).max() for one in (image, transforms.blurred(image, 2.0))
    )
    assert soft < sharp


NOTHING = Augmentation(flip=0, roll_deg=0, smallest_crop=1, colour=0, blur_px=0, noise=0, jpeg_loss=0)


def test_augmentation_of_strength_zero_changes_nothing() -> None:
    same = transforms.augment(ball(), np.random.default_rng(0), NOTHING)
    np.testing.assert_array_equal(same.image, ball().image)
    np.testing.assert_array_equal(same.normals, ball().normals)


@pytest.mark.parametrize(
    ("change", "moves_truth"),
    [
        ({"flip": 1.0}, True),
        ({"roll_deg": 20.0}, True),
        ({"smallest_crop": 0.3}, True),
        ({"colour": 1.0}, False),
        ({"blur_px": 3.0}, False),
        ({"noise": 0.1}, False),
        ({"jpeg_loss": 80.0}, False),
    ],
)
def test_each_setting_does_something(change: dict[str, float], moves_truth: bool) -> None:
    settings, start = replace(NOTHING, **change), ball()
    results = [transforms.augment(start, np.random.default_rng(seed), settings) for seed in range(12)]
    assert any(not np.array_equal(result.image, start.image) for result in results)
    assert any(not np.array_equal(result.normals, start.normals) for result in results) == moves_truth


def test_augmentation_repeats_from_its_generator() -> None:
    one, two = (transforms.augment(ball(), np.random.default_rng(7), Augmentation()) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.normals, two.normals)


@pytest.mark.parametrize(
    "change", [{"flip": 2.0}, {"smallest_crop": 0.0}, {"noise": -1.0}, {"jpeg_loss": 100.0}]
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        Augmentation(**change)
