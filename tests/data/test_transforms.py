"""Augmentation against renderings of the mirrored and the rolled scene."""

from dataclasses import replace

import numpy as np
import pytest

from stablenormal.data import transforms
from stablenormal.data.sample import Sample
from stablenormal.errors import SettingError
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


def flipped(sample: Sample) -> Sample:
    k = sample.intrinsics
    return replace(
        sample,
        image=transforms.mirrored(sample.image),
        normals=transforms.mirrored_vectors(sample.normals),
        depth=transforms.mirrored(sample.depth),
        labels=transforms.mirrored(sample.labels),
        instances=transforms.mirrored(sample.instances),
        intrinsics=replace(k, cx=k.width - k.cx),
    )


def rolled(sample: Sample, angle_deg: float) -> Sample:
    """As training does it, of every map."""
    camera = sample.intrinsics
    return replace(
        sample,
        image=transforms.rolled(sample.image, camera, angle_deg, smooth=True),
        normals=transforms.rolled_vectors(sample.normals, camera, angle_deg),
        depth=transforms.rolled(sample.depth, camera, angle_deg),
        labels=transforms.rolled(sample.labels, camera, angle_deg),
        instances=transforms.rolled(sample.instances, camera, angle_deg),
    )


def cut(sample: Sample, left: int, top: int, width: int, height: int) -> Sample:
    window = (slice(top, top + height), slice(left, left + width))
    return replace(
        sample,
        image=sample.image[window],
        normals=sample.normals[window],
        depth=sample.depth[window],
        labels=sample.labels[window],
        instances=sample.instances[window],
        intrinsics=sample.intrinsics.crop(left, top, width, height),
    )


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
    found, wanted = flipped(ball()), ball(mirrored=True)
    np.testing.assert_allclose(found.normals, wanted.normals, atol=1e-6)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_allclose(found.depth, wanted.depth, atol=1e-6)
    assert np.abs(found.image.astype(int) - wanted.image).max() <= 1


def test_flipping_twice_changes_nothing() -> None:
    twice = flipped(flipped(ball()))
    np.testing.assert_array_equal(twice.normals, ball().normals)
    np.testing.assert_array_equal(twice.image, ball().image)
    assert twice.intrinsics == ball().intrinsics


@pytest.mark.parametrize("angle_deg", [-70.0, 8.0, 33.0, 180.0])
def test_roll_is_the_rolled_camera(angle_deg: float) -> None:
    assert_close(rolled(ball(), angle_deg), ball(roll_deg=angle_deg), 1.5)


def test_roll_by_nothing_changes_nothing() -> None:
    still = rolled(ball(), 0.0)
    np.testing.assert_allclose(still.normals, ball().normals, atol=1e-6)
    np.testing.assert_array_equal(still.image, ball().image)


def test_roll_empties_the_corners() -> None:
    full = replace(
        ball(),
        labels=np.full((SIZE, SIZE), 3, np.uint8),
        normals=np.tile(np.float32([0, 0, 1]), (SIZE, SIZE, 1)),
    )
    turned = rolled(full, 45.0)
    assert turned.labels[0, 0] == 0 and not turned.normals[0, 0].any()
    assert turned.labels[SIZE // 2, SIZE // 2] == 3
    length = np.linalg.norm(turned.normals, axis=-1)
    np.testing.assert_allclose(length[turned.labels > 0], 1, atol=1e-6)


@pytest.mark.parametrize("size", [48, 64, 192])
def test_square_is_a_rendering_of_that_size(size: int) -> None:
    assert_close(transforms.square(ball(), size), ball(size=size), 1.5)
    assert transforms.square(ball(), size).intrinsics.fx == pytest.approx(ball(size=size).intrinsics.fx)


def test_square_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="0 px"):
        transforms.square(ball(), 0)


def test_square_is_the_middle() -> None:
    long = cut(ball(), 0, 20, 96, 48)
    middle = transforms.square(long, 24)
    assert middle.image.shape == (24, 24, 3)
    np.testing.assert_array_equal(middle.normals, long.normals[1::2, 25:72:2])
    k, full = middle.intrinsics, long.intrinsics
    assert (5.5 - k.cx) / k.fx == pytest.approx((24 + 11 - full.cx) / full.fx)
    assert (5.5 - k.cy) / k.fy == pytest.approx((11 - full.cy) / full.fy)
    same = ball()
    assert transforms.square(same, SIZE) is same


def test_roll_keeps_the_axis_where_the_camera_has_it() -> None:
    """With the axis off the middle and oblong pixels, it is still the rolled camera's picture."""

    def oblong(sample: Sample) -> Sample:
        part = cut(sample, 20, 30, 60, 50)
        return replace(
            part,
            image=transforms.resized(part.image, 60, 25),
            normals=transforms.nearest(part.normals, 60, 25),
            depth=transforms.nearest(part.depth, 60, 25),
            labels=transforms.nearest(part.labels, 60, 25),
            instances=transforms.nearest(part.instances, 60, 25),
            intrinsics=part.intrinsics.resize(60, 25),
        )

    turned, wanted = rolled(oblong(ball()), 25.0), oblong(ball(roll_deg=25.0))
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
