"""Images as people have them: paths, PIL images, arrays, photographs and tensors, to tensors with a mask."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.layout import channels_first
from stablenormal.io.image import HALF, Photograph, read_image

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any] | Photograph | Tensor
"""A path, a PIL image, an array (H, W, 3), a `Photograph`, or a tensor (3, H, W) in [0, 1]."""

_OPAQUE_MODES = ("RGB", "L", "1", "CMYK", "YCbCr", "HSV", "LAB")
_SEEN_THROUGH = ("RGBA", "LA", "PA", "P", "La", "RGBa")


class ImageInput(NamedTuple):
    """One image, as the pipeline takes it."""

    image: Tensor
    """(3, H, W) in [0, 1], sRGB coded."""
    valid: Tensor | None
    """(H, W) bool: what is opaque; None where nothing is said of it."""


def as_inputs(images: ImageLike | Sequence[ImageLike]) -> list[ImageInput]:
    """One image or several, each on its own terms.

    Args:
        images: one `ImageLike`, a list of them, or a batch: a tensor (B, 3, H, W) or an array (B, H, W, 3).

    Raises:
        ImageReadError: if a file cannot be read.
        ImageShapeError: for an array or tensor of another shape.
        SettingError: for an empty list, another type, or an array of another kind of numbers.
    """
    if isinstance(images, Tensor | np.ndarray):
        several = list(images) if images.ndim == 4 else [images]
    elif isinstance(images, str | os.PathLike | Image.Image | Photograph):
        several = [images]
    elif isinstance(images, Sequence):
        several = list(images)
    else:
        raise SettingError(f"images: {_what_is_taken(images)}")
    if not several:
        raise SettingError("images: the list is empty; give at least one image")
    return [_as_input(one, f"image {index}") for index, one in enumerate(several)]


def _as_input(image: object, place: str) -> ImageInput:
    if isinstance(image, Tensor):
        return ImageInput(image, None)
    if isinstance(image, np.ndarray):
        return ImageInput(_of_array(image, place), None)
    if isinstance(image, Image.Image):
        return _of_pil(image, place)
    if isinstance(image, str | os.PathLike):
        image = read_image(Path(image))
    if isinstance(image, Photograph):
        valid = None if image.valid.all() else torch.from_numpy(image.valid.copy())
        return ImageInput(channels_first(image.rgb), valid)
    raise SettingError(f"{place}: {_what_is_taken(image)}")


def _of_array(image: NDArray[Any], place: str) -> Tensor:
    """(3, H, W) in [0, 1] from (H, W, 3) uint8 or float."""
    if image.ndim == 2:
        raise ImageShapeError(
            f"{place}: a grey array {image.shape}; repeat it: numpy.repeat(grey[..., None], 3, axis=-1)"
        )
    if image.ndim == 3 and image.shape[-1] == 4:
        raise ImageShapeError(
            f"{place}: has four channels {image.shape}; give colours alone, array[..., :3], and the opaque "
            "pixels as valid"
        )
    if image.ndim != 3 or image.shape[-1] != 3:
        hint = "; channels come last: array.transpose(1, 2, 0)" if image.shape[:1] == (3,) else ""
        raise ImageShapeError(f"{place}: expected an array (H, W, 3), got {image.shape}{hint}")
    if image.dtype == np.uint8:
        colours = image.astype(np.float32) / 255
    elif np.issubdtype(image.dtype, np.floating):
        colours = image.astype(np.float32)
    else:
        raise SettingError(f"{place}: an array of {image.dtype}; give uint8, or floats in [0, 1]")
    return channels_first(colours)


def _of_pil(image: Image.Image, place: str) -> ImageInput:
    """As `io.image.read_image` reads a file: laid over white, and invalid where less than half opaque."""
    if image.mode in _OPAQUE_MODES and "transparency" not in image.info:
        return ImageInput(_of_array(np.asarray(image.convert("RGB")), place), None)
    if image.mode not in (*_OPAQUE_MODES, *_SEEN_THROUGH):
        raise SettingError(
            f"{place}: a PIL image of mode {image.mode}; convert it to RGB first, in the range that you mean"
        )
    pixels = np.asarray(image.convert("RGBA"), np.float32) / 255
    opacity = pixels[..., 3:]
    colours = pixels[..., :3] * opacity + (1 - opacity)
    valid = opacity[..., 0] >= HALF
    return ImageInput(_of_array(colours, place), None if valid.all() else torch.from_numpy(valid))


def _what_is_taken(given: object) -> str:
    return (
        f"cannot take {type(given).__name__}; give a path, a PIL image, an array (H, W, 3), a Photograph, "
        "a tensor (3, H, W), or a list of these"
    )
