"""Augmentation of samples and of plain arrays: geometry moves vectors with pixels, the rest images only.

Truth is sampled from the nearest pixel, so that no vector is a mixture of two surfaces. The functions of
arrays (H, W) or (H, W, C) are the ones that those of samples are made of; training calls them on packed
corpora.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from stablenormal.data.sample import Sample
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry import normals as geometry
from stablenormal.geometry.camera import Intrinsics, check_box, roll_rotation

Image = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Kind = TypeVar("Kind", np.uint8, np.uint16, np.float32)


def mirrored(values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Left and right exchanged."""
    return np.ascontiguousarray(values[:, ::-1])


def mirrored_vectors(vectors: Vectors) -> Vectors:
    """Normals of the mirrored scene: left and right change sides, and x changes its sign."""
    flipped = geometry.flip_horizontal(torch.from_numpy(vectors).permute(2, 0, 1)[None])
    return np.ascontiguousarray(flipped[0].permute(1, 2, 0).numpy())


def rolled(
    values: npt.NDArray[Kind], camera: Intrinsics, angle_deg: float, smooth: bool = False
) -> npt.NDArray[Kind]:
    """What a camera sees that is rolled so that the picture turns counter-clockwise; zero outside.

    Args:
        values: a map or picture of `camera`, uint8, uint16 or float32.
        camera: its intrinsics, which stay.
        angle_deg: degrees counter-clockwise as seen on the screen.
        smooth: interpolate; otherwise the nearest pixel is taken.
    """
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    stretch = camera.fx / camera.fy
    cx, cy = camera.cx - 0.5, camera.cy - 0.5  # OpenCV's first pixel centre is (0, 0)
    new_to_old = np.array(
        [
            [cosine, -sine * stretch, cx - cosine * cx + sine * stretch * cy],
            [sine / stretch, cosine, cy - sine / stretch * cx - cosine * cy],
        ]
    )
    how = (cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST) | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(values, new_to_old, (camera.width, camera.height), flags=how)
    return np.asarray(moved, values.dtype)


def rolled_vectors(vectors: Vectors, camera: Intrinsics, angle_deg: float) -> Vectors:
    """Normals that a rolled camera sees, in its own frame; as `rolled`."""
    rotation = roll_rotation(angle_deg).numpy().astype(np.float32)
    return rolled(vectors, camera, angle_deg) @ rotation.T


def nearest(values: npt.NDArray[Kind], width: int, height: int) -> npt.NDArray[Kind]:
    """A map resized to `width` x `height` by taking the nearest pixel."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(np.int64)
    return np.asarray(values[rows][:, columns], values.dtype)


def resized(image: Image, width: int, height: int) -> Image:
    """A picture resized to `width` x `height`: averaged where it shrinks, interpolated where it grows."""
    how = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def flip(sample: Sample) -> Sample:
    """The sample of the mirrored scene."""
    return replace(
        sample,
        image=mirrored(sample.image),
        normals=mirrored_vectors(sample.normals),
        depth=mirrored(sample.depth),
        labels=mirrored(sample.labels),
        instances=mirrored(sample.instances),
        intrinsics=sample.intrinsics.flip_horizontal(),
    )


def roll(sample: Sample, angle_deg: float) -> Sample:
    """The sample of a camera rolled about its axis, so that the picture turns counter-clockwise.

    Args:
        sample: any sample.
        angle_deg: degrees counter-clockwise as seen on the screen.

    Returns:
        A sample of the same size; corners that were not in the picture are black and have no surface.
    """
    camera = sample.intrinsics
    return replace(
        sample,
        image=rolled(sample.image, camera, angle_deg, smooth=True),
        normals=rolled_vectors(sample.normals, camera, angle_deg),
        depth=rolled(sample.depth, camera, angle_deg),
        labels=rolled(sample.labels, camera, angle_deg),
        instances=rolled(sample.instances, camera, angle_deg),
    )


def crop(sample: Sample, left: int, top: int, width: int, height: int) -> Sample:
    """A rectangle of the sample; the vectors keep their camera, whose principal point moves.

    Raises:
        ImageShapeError: if the rectangle is empty or reaches outside.
    """
    check_box(left, top, width, height, sample.intrinsics.width, sample.intrinsics.height)
    window = (slice(top, top + height), slice(left, left + width))
    return replace(
        sample,
        image=np.ascontiguousarray(sample.image[window]),
        normals=np.ascontiguousarray(sample.normals[window]),
        depth=np.ascontiguousarray(sample.depth[window]),
        labels=np.ascontiguousarray(sample.labels[window]),
        instances=np.ascontiguousarray(sample.instances[window]),
        intrinsics=sample.intrinsics.crop(left, top, width, height),
    )


def pad(sample: Sample, left: int, top: int, right: int, bottom: int) -> Sample:
    """The sample with a black border without surfaces, of so many pixels at each side.

    Raises:
        ImageShapeError: if a number is negative.
    """
    if min(left, top, right, bottom) < 0:
        raise ImageShapeError(f"a border of {(left, top, right, bottom)} px; give 0 or more, or crop")
    camera = sample.intrinsics

    def bordered(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.pad(values, ((top, bottom), (left, right), (0, 0))[: values.ndim])

    return replace(
        sample,
        image=bordered(sample.image),
        normals=bordered(sample.normals),
        depth=bordered(sample.depth),
        labels=bordered(sample.labels),
        instances=bordered(sample.instances),
        intrinsics=replace(
            camera,
            cx=camera.cx + left,
            cy=camera.cy + top,
            width=camera.width + left + right,
            height=camera.height + top + bottom,
        ),
    )


def zoom(sample: Sample, width: int, height: int) -> Sample:
    """The sample at another size; after a crop this is a zoom. Depth stays metric, vectors stay as they are.

    Raises:
        SettingError: if a side is not positive.
    """
    if min(width, height) < 1:
        raise SettingError(f"cannot resize a sample to {width} x {height}; both must be 1 or more")
    return replace(
        sample,
        image=resized(sample.image, width, height),
        normals=nearest(sample.normals, width, height),
        depth=nearest(sample.depth, width, height),
        labels=nearest(sample.labels, width, height),
        instances=nearest(sample.instances, width, height),
        intrinsics=sample.intrinsics.resize(width, height),
    )


def square(sample: Sample, size: int) -> Sample:
    """The middle square of a sample, `size` px wide."""
    width, height = sample.intrinsics.width, sample.intrinsics.height
    side = min(width, height)
    if (width, height) == (size, size):
        return sample
    return zoom(crop(sample, (width - side) // 2, (height - side) // 2, side, side), size, size)


@dataclass(frozen=True)
class Augmentation:
    """How strongly `augment` changes samples; zero switches a change off."""

    flip: float = 0.5
    """Share of samples that are mirrored."""
    roll_deg: float = 10.0
    """Standard deviation of the roll."""
    smallest_crop: float = 0.6
    """Crops take between this share of each side and all of it."""
    colour: float = 1.0
    """Strength of changes of brightness, contrast, saturation and white balance."""
    blur_px: float = 1.0
    """Largest standard deviation of the blur, which one sample in five gets."""
    noise: float = 0.03
    """Largest standard deviation of the noise, which two samples in five get, as a part of full scale."""
    jpeg_loss: float = 60.0
    """How far below 100 JPEG quality may go, which one sample in three gets."""

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 < self.smallest_crop <= 1):
            raise SettingError(
                f"flip {self.flip} must lie in [0, 1] and smallest_crop {self.smallest_crop} in (0, 1]"
            )
        if min(self.roll_deg, self.colour, self.blur_px, self.noise, self.jpeg_loss) < 0:
            raise SettingError(f"{self}: strengths must not be negative")
        if self.jpeg_loss > 99:
            raise SettingError(f"jpeg_loss {self.jpeg_loss} leaves no quality; give 99 or less")


def augment(sample: Sample, rng: np.random.Generator, settings: Augmentation) -> Sample:
    """A random variation of a sample, of the same size."""
    width, height = sample.intrinsics.width, sample.intrinsics.height
    if rng.random() < settings.flip:
        sample = flip(sample)
    if settings.roll_deg:
        sample = roll(sample, rng.normal(0, settings.roll_deg))
    share = rng.uniform(settings.smallest_crop, 1)
    wide, tall = max(1, round(width * share)), max(1, round(height * share))
    left, top = rng.integers(0, width - wide + 1), rng.integers(0, height - tall + 1)
    sample = zoom(crop(sample, int(left), int(top), wide, tall), width, height)
    image = recoloured(sample.image, rng, settings.colour)
    if settings.blur_px and rng.random() < 0.2:
        image = blurred(image, rng.uniform(0.2, 1) * settings.blur_px)
    if settings.noise and rng.random() < 0.4:
        image = noisy(image, rng, rng.uniform(0, settings.noise))
    if settings.jpeg_loss and rng.random() < 1 / 3:
        image = compressed(image, round(100 - rng.uniform(0, settings.jpeg_loss)))
    return replace(sample, image=image)


def recoloured(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """The image (H, W, 3) with other gamma, contrast, saturation and white balance; strength 0: none."""
    light = (image / 255.0) ** np.exp(rng.uniform(-0.4, 0.4) * strength)
    mean = light.mean()
    light = mean + (light - mean) * np.exp(rng.uniform(-0.35, 0.35) * strength)
    grey = light.mean(-1, keepdims=True)
    light = grey + (light - grey) * np.exp(rng.uniform(-0.7, 0.4) * strength)
    light = light * np.exp(rng.uniform(-0.1, 0.1, 3) * strength)
    return _coded(light)


def blurred(image: Image, deviation_px: float) -> Image:
    """The image (H, W, 3) blurred by a Gaussian."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation_px), np.uint8)


def compressed(image: Image, quality: int) -> Image:
    """The image (H, W, 3) after JPEG of a quality in [1, 100]."""
    good, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if good else None
    assert decoded is not None, "JPEG takes every 8-bit picture"
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)


def noisy(image: Image, rng: np.random.Generator, deviation: float) -> Image:
    """The image (H, W, 3) with Gaussian noise, its deviation a part of full scale."""
    return _coded(image / 255.0 + rng.normal(0, deviation, image.shape))


def _coded(light: npt.NDArray[np.float64]) -> Image:
    return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
