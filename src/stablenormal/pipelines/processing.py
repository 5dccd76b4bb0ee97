"""Photographs to what the networks take, and what they give back to normal maps."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.normals import convert_frame, flip_horizontal, unit_length


class Prepared(NamedTuple):
    """An image at the networks' size, and what undoes the change."""

    image: Tensor
    """(1, 3, h, w) in [-1, 1], replicate-padded on the right and at the bottom."""
    inner: tuple[int, int]
    """Height and width without the padding."""
    size: tuple[int, int]
    """Height and width of the input."""


def check_image(image: Tensor, place: str) -> None:
    """Refuse what is no image (3, H, W) of finite floats in [0, 1].

    Args:
        image: the candidate.
        place: what the message calls it.

    Raises:
        ImageShapeError: for another shape or no pixels.
        SettingError: for another dtype, or values that are not finite or outside [0, 1].
    """
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ImageShapeError(f"{place}: expected a tensor (3, H, W), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise SettingError(f"{place}: expected floats in [0, 1], got {image.dtype}; divide bytes by 255")
    if not bool(torch.isfinite(image).all()):
        raise SettingError(f"{place}: has NaN or infinite values; replace them and mark those pixels invalid")
    if float(image.min()) < 0 or float(image.max()) > 1:
        low, high = float(image.min()), float(image.max())
        raise SettingError(f"{place}: values from {low:.3g} to {high:.3g}, expected [0, 1]; rescale or clip")


def working_size(size: tuple[int, int], processing_resolution: int) -> tuple[int, int]:
    """Height and width with the longer side at `processing_resolution`, or as they are for 0."""
    longer = max(size)
    if processing_resolution == 0:
        return size
    height, width = (max(1, side * processing_resolution // longer) for side in size)
    return height, width


def prepare(image: Tensor, processing_resolution: int, multiple: int) -> Prepared:
    """Resize (bilinear, antialias), pad by replication until `multiple` divides the sides, scale to [-1, 1].

    Args:
        image: (3, H, W) in [0, 1].
        processing_resolution: pixels of the longer side; 0 keeps the size.
        multiple: what must divide height and width.
    """
    size = (image.shape[1], image.shape[2])
    inner = working_size(size, processing_resolution)
    resized = image.float()[None]
    if inner != size:
        resized = functional.interpolate(resized, size=inner, mode="bilinear", antialias=True)
    return Prepared(_pad(resized * 2 - 1, multiple), inner, size)


def mirrored(prepared: Prepared) -> Prepared:
    """The same image with left and right exchanged; the padding stays on the right and at the bottom."""
    inner = unpad(prepared.image, prepared).flip(-1)
    return prepared._replace(image=_pad_as(inner, prepared.image))


def mirrored_start(start: Tensor, prepared: Prepared) -> Tensor:
    """A coarse normal map from `prepare_start`, (1, 3, h, w), of the mirrored scene."""
    return _pad_as(flip_horizontal(unpad(start, prepared)), start)


def prepare_start(normals: Tensor, prepared: Prepared, native_frame: str) -> Tensor:
    """Bring a normal map (3, H, W), OpenGL, to the form of `prepared.image`, (1, 3, h, w), native frame."""
    resized = functional.interpolate(
        normals.float()[None], size=prepared.inner, mode="bilinear", antialias=True
    )
    native = convert_frame(unit_length(resized), "opengl", native_frame)
    return _pad_as(native, prepared.image)


def unpad(decoded: Tensor, prepared: Prepared) -> Tensor:
    """Cut the padding off a decoded map (1, C, h, w)."""
    return decoded[..., : prepared.inner[0], : prepared.inner[1]]


def restore(vectors: Tensor, prepared: Prepared, native_frame: str, valid: Tensor | None = None) -> Tensor:
    """Resize vectors to the input once, to unit length, in the OpenGL frame.

    Args:
        vectors: (1, 3, h, w) without padding, native frame, any length.
        prepared: from `prepare`.
        native_frame: a name in `geometry.frames.FRAMES`.
        valid: (H, W) bool; pixels that are not become the zero vector.

    Returns:
        Unit normals (3, H, W), float32, OpenGL camera.
    """
    resized = resize_to_input(vectors.float(), prepared)
    normals = convert_frame(unit_length(resized), native_frame, "opengl")[0]
    return normals if valid is None else torch.where(valid.to(normals.device), normals, 0.0)


def resize_to_input(values: Tensor, prepared: Prepared) -> Tensor:
    """Resize a map (1, C, h, w) to the input's size, bilinearly."""
    if tuple(values.shape[2:]) == prepared.size:
        return values
    return functional.interpolate(values, size=prepared.size, mode="bilinear", align_corners=False)


def _pad(image: Tensor, multiple: int) -> Tensor:
    below, right = (-side % multiple for side in image.shape[2:])
    return functional.pad(image, (0, right, 0, below), mode="replicate")


def _pad_as(image: Tensor, like: Tensor) -> Tensor:
    below, right = (there - here for there, here in zip(like.shape[2:], image.shape[2:], strict=True))
    return functional.pad(image, (0, right, 0, below), mode="replicate")
