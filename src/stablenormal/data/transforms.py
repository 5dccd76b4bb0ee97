"""Changes of training images, arrays (H, W) or (H, W, C).

Geometry moves vectors with pixels, the rest changes images only. Truth is sampled from the nearest pixel, so
that no vector is a mixture of two surfaces.
"""

from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.data.sample import Sample
from stablenormal.errors import SettingError
from stablenormal.geometry import normals as geometry
from stablenormal.geometry.camera import Intrinsics, roll_rotation
from stablenormal.geometry.layout import channels_first, channels_last

Image = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Kind = TypeVar("Kind", np.uint8, np.uint16, np.float32)


def mirrored(values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Left and right exchanged."""
    return np.ascontiguousarray(values[:, ::-1])


def mirrored_vectors(vectors: Vectors) -> Vectors:
    """Normals of the mirrored scene: left and right change sides, and x changes its sign."""
    flipped = geometry.flip_horizontal(channels_first(vectors)[None])
    return channels_last(flipped[0])


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


def square(sample: Sample, size: int) -> Sample:
    """The middle square of a sample, `size` px wide; depth stays metric, vectors stay as they are.

    Raises:
        SettingError: if the size is not positive.
    """
    if size < 1:
        raise SettingError(f"cannot resize a sample to {size} px; give 1 or more")
    width, height = sample.intrinsics.width, sample.intrinsics.height
    if (width, height) == (size, size):
        return sample
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    middle = (slice(top, top + side), slice(left, left + side))
    return replace(
        sample,
        image=resized(np.ascontiguousarray(sample.image[middle]), size, size),
        normals=nearest(sample.normals[middle], size, size),
        depth=nearest(sample.depth[middle], size, size),
        labels=nearest(sample.labels[middle], size, size),
        instances=nearest(sample.instances[middle], size, size),
        intrinsics=sample.intrinsics.crop(left, top, side, side).resize(size, size),
    )


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
