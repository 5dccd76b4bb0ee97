"""Augmentation of samples. Geometry moves vectors with pixels; colour, blur and noise touch the image only.

Truth is sampled from the nearest pixel, so that no vector is a mixture of two surfaces.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from stablenormal.data.sample import Sample
from stablenormal.errors import SettingError
from stablenormal.geometry import normals as geometry
from stablenormal.geometry.camera import check_box, roll_rotation, warp_grid

Image = npt.NDArray[np.uint8]


def flip(sample: Sample) -> Sample:
    """The sample of the mirrored scene: left and right change sides, and x changes its sign."""
    vectors = torch.from_numpy(sample.normals).permute(2, 0, 1)[None]
    return replace(
        sample,
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        normals=_channels_last(geometry.flip_horizontal(vectors)),
        depth=np.ascontiguousarray(sample.depth[:, ::-1]),
        labels=np.ascontiguousarray(sample.labels[:, ::-1]),
        instances=np.ascontiguousarray(sample.instances[:, ::-1]),
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
    rotation = roll_rotation(angle_deg)
    grid = warp_grid(sample.intrinsics, sample.intrinsics, rotation)

    def moved(values: npt.NDArray[Any], mode: str) -> npt.NDArray[Any]:
        planes = torch.from_numpy(np.atleast_3d(values).astype(np.float32)).permute(2, 0, 1)[None]
        sampled = functional.grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)
        return _channels_last(sampled).reshape(values.shape)

    return replace(
        sample,
        image=np.rint(moved(sample.image, "bilinear")).astype(np.uint8),
        normals=(moved(sample.normals, "nearest") @ rotation.numpy().T).astype(np.float32),
        depth=moved(sample.depth, "nearest"),
        labels=moved(sample.labels, "nearest").astype(np.uint8),
        instances=moved(sample.instances, "nearest").astype(np.uint16),
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


def zoom(sample: Sample, width: int, height: int) -> Sample:
    """The sample at another size; after a crop this is a zoom. Depth stays metric, vectors stay as they are.

    Raises:
        SettingError: if a side is not positive.
    """
    if min(width, height) < 1:
        raise SettingError(f"cannot resize a sample to {width} x {height}; both must be 1 or more")
    shrinks = width < sample.intrinsics.width
    rows = ((np.arange(height) + 0.5) * sample.intrinsics.height / height).astype(int)[:, None]
    columns = ((np.arange(width) + 0.5) * sample.intrinsics.width / width).astype(int)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return replace(
        sample,
        image=np.asarray(cv2.resize(sample.image, (width, height), interpolation=method), np.uint8),
        normals=sample.normals[rows, columns],
        depth=sample.depth[rows, columns],
        labels=sample.labels[rows, columns],
        instances=sample.instances[rows, columns],
        intrinsics=sample.intrinsics.resize(width, height),
    )


def _channels_last(planes: torch.Tensor) -> npt.NDArray[np.float32]:
    """(1, C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(planes[0].permute(1, 2, 0).numpy())


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

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 < self.smallest_crop <= 1):
            raise SettingError(
                f"flip {self.flip} must lie in [0, 1] and smallest_crop {self.smallest_crop} in (0, 1]"
            )
        if min(self.roll_deg, self.colour, self.blur_px, self.noise) < 0:
            raise SettingError(f"{self}: strengths must not be negative")


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
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 1) * settings.blur_px), np.uint8)
    if settings.noise and rng.random() < 0.4:
        image = noisy(image, rng, rng.uniform(0, settings.noise))
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


def noisy(image: Image, rng: np.random.Generator, deviation: float) -> Image:
    """The image (H, W, 3) with Gaussian noise, its deviation a part of full scale."""
    return _coded(image / 255.0 + rng.normal(0, deviation, image.shape))


def _coded(light: npt.NDArray[np.float64]) -> Image:
    return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
