"""Photographs as cameras and artists store them, in one form: sRGB-coded floats, upright, with a valid mask.

Rules, each in one place below (those of single formats are in `decode`):
    orientation    EXIF orientation is applied, to the picture and to everything that comes with it
    transparency   colours are laid over white; pixels that are less than half opaque are invalid
    mask file      pixels darker than middle grey, or less than half opaque, are invalid; one must be left
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stablenormal.errors import (
    ImageReadError,
    ImageShapeError,
    OutputError,
    SettingError,
    StableNormalError,
    argument,
)
from stablenormal.geometry.camera import Intrinsics, focal_px_from_exif
from stablenormal.io.atomic import write_bytes
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.io.decode import MAX_PIXELS, Floats, decode

HALF = 0.5
"""Opacity or brightness of a mask from which on a pixel is valid."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph, upright."""

    rgb: Floats
    """(H, W, 3) in [0, 1], sRGB coded."""
    valid: Flags
    """(H, W): opaque, and inside the mask if one was given."""
    intrinsics: Intrinsics | None
    """From EXIF, principal point in the middle; None if EXIF does not say."""
    path: Path
    """Where it came from."""
    bit_depth: int
    """Bits per channel in the file."""


def read_image(
    path: Path | str,
    mask: Path | str | None = None,
    choice: Choice = UNSAID,
    as_stored: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Photograph:
    """Read one photograph: JPEG, PNG, TIFF, WebP, HEIC, AVIF, EXR, GIF, BMP, PPM or JPEG 2000.

    The format is recognised by content, not by name. Of several frames of an animation the first is read.

    Args:
        path: the file.
        mask: a picture of the same size; dark or transparent pixels become invalid.
        choice: which layer, part or page is meant, where there are several.
        as_stored: leave EXIF orientation alone, in the mask too: the camera of a posed photograph belongs to
            the pixels as they lie in the file.
        max_pixels: a larger photograph is refused by its header, before anything is decoded.

    Raises:
        ImageReadError: if a file is missing, unreadable, truncated, no image, holds NaN, is smaller than 8 or
            larger than 16384 px a side, or the mask has another size.
        SettingError: if the mask leaves no pixel.
    """
    path = Path(path)
    decoded = decode(path, choice, max_pixels)
    tags: Mapping[str, Any] = {} if as_stored else decoded.tags
    rgb = _upright(decoded.rgb, tags)
    valid = np.ones(rgb.shape[:2], dtype=np.bool_)
    if decoded.alpha is not None:
        alpha = _upright(decoded.alpha, tags)
        rgb = rgb * alpha[..., None] + (1 - alpha[..., None])
        valid = alpha >= HALF
    if mask is not None:
        valid = valid & _fitting_mask(mask, path, valid.shape, as_stored)
        require_pixels(valid, path)
    height, width = rgb.shape[:2]
    focal_px = focal_px_from_exif(decoded.tags, width, height)
    camera = None if focal_px is None else Intrinsics.centred(focal_px, width, height)
    return Photograph(np.ascontiguousarray(rgb), valid, camera, path, decoded.bit_depth)


def write_image(path: Path | str, rgb: Floats | npt.NDArray[np.uint8], quality: int = 92) -> None:
    """Write an 8-bit picture, completely or not at all.

    Args:
        path: the file; .png, .jpg, .jpeg or .webp chooses the format.
        rgb: (H, W, 3), or (H, W) grey; floats in [0, 1] (clipped, rounded) or uint8.
        quality: of JPEG and WebP, 1 to 100; PNG is lossless.

    Raises:
        OutputError: if the ending is another, or the file cannot be written.
    """
    path = Path(path)
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    if path.suffix.lower() not in formats:
        raise OutputError(f"{path}: pictures are written as {', '.join(formats)}; change the ending")
    codes = rgb if rgb.dtype == np.uint8 else np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    options = {} if path.suffix.lower() == ".png" else {"quality": quality}
    Image.fromarray(codes).save(buffer, formats[path.suffix.lower()], **options)
    write_bytes(path, buffer.getvalue())


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture of any size, from its header.

    Raises:
        ImageReadError: if it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError as error:
        raise ImageReadError(f"{path}: its size cannot be read; copy or make it again") from error


def read_mask(mask: Path | str, as_stored: bool = False) -> Flags:
    """Read a mask (H, W): True where it is bright and opaque.

    Raises:
        ImageReadError: if it cannot be read.
    """
    decoded = decode(Path(mask))
    tags: Mapping[str, Any] = {} if as_stored else decoded.tags
    bright: Flags = _upright(decoded.rgb, tags).mean(axis=-1) >= HALF
    if decoded.alpha is not None:
        bright = bright & (_upright(decoded.alpha, tags) >= HALF)
    return bright


def require_pixels(valid: Flags, photograph: Path) -> None:
    """Refuse a mask or an opacity that leaves nothing of a photograph.

    Raises:
        SettingError: naming the photograph.
    """
    if not valid.any():
        raise SettingError(
            f"{photograph}: the mask leaves no pixel, so there is no valid pixel; check it, or leave out "
            f"{argument('mask')}: what counts is bright and opaque, so masks of 0 and 1 must become 0 and 255"
        )


def require_size(
    path: Path | str,
    shape: Sequence[int],
    other: Path | str,
    other_shape: Sequence[int],
    way_out: str = "make them the same size",
    error: type[StableNormalError] = ImageShapeError,
) -> None:
    """Refuse two maps (H, W) of different sizes.

    Raises:
        error: naming both files and sizes, and the way out.
    """
    if tuple(shape[:2]) != tuple(other_shape[:2]):
        raise error(
            f"{path}: is {shape[1]} x {shape[0]} px, {other} {other_shape[1]} x {other_shape[0]} px; "
            f"{way_out}"
        )


def _fitting_mask(mask: Path | str, path: Path, shape: tuple[int, ...], as_stored: bool) -> Flags:
    bright = read_mask(mask, as_stored)
    if bright.shape != shape:
        raise ImageReadError(
            f"{mask}: the mask is {bright.shape[1]} x {bright.shape[0]} px, {path} is "
            f"{shape[1]} x {shape[0]} px; make them the same size"
        )
    return bright


def _upright(pixels: Floats, tags: Mapping[str, Any]) -> Floats:
    """Apply the EXIF orientation to (H, W) or (H, W, 3); unknown values mean upright."""
    orientation = tags.get("Orientation", 1)
    if orientation not in range(2, 9):
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
