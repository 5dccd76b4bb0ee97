"""Photographs as cameras and artists store them, in one form: sRGB-coded floats, upright, with a valid mask.

Rules, each in one place below (those of single formats are in `decode`):
    orientation    EXIF orientation is applied, to the picture and to everything that comes with it
    transparency   colours are laid over white; pixels that are less than half opaque are invalid
    mask file      pixels darker than middle grey, or less than half opaque, are invalid
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stablenormal.errors import ImageReadError, OutputError
from stablenormal.geometry.camera import Intrinsics, focal_px_from_exif
from stablenormal.io.atomic import write_bytes
from stablenormal.io.decode import Floats, decode

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .tif .tiff .webp .heic .heif .avif .exr .bmp .gif .ppm .pgm .jp2".split()
)
"""Endings, in lower case, of the files that a folder is searched for; a file named directly may have any."""

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


@dataclass(frozen=True)
class ImageEntry:
    """One file that was asked for."""

    path: Path
    """The file."""
    relative: Path
    """Its place below the folder or glob that found it; no two entries share one."""


def read_image(path: Path | str, mask: Path | str | None = None) -> Photograph:
    """Read one photograph: JPEG, PNG, TIFF, WebP, HEIC, AVIF, EXR, GIF, BMP, PPM or JPEG 2000.

    The format is recognised by content, not by name. Of several frames or pages the first is read.

    Args:
        path: the file.
        mask: a picture of the same (upright) size; dark or transparent pixels become invalid.

    Raises:
        ImageReadError: if a file is missing, unreadable, truncated, no image, holds NaN, is smaller than 8 or
            larger than 16384 px a side, or the mask has another size.
    """
    path = Path(path)
    decoded = decode(path)
    rgb = _upright(decoded.rgb, decoded.tags)
    valid = np.ones(rgb.shape[:2], dtype=np.bool_)
    if decoded.alpha is not None:
        alpha = _upright(decoded.alpha, decoded.tags)
        rgb = rgb * alpha[..., None] + (1 - alpha[..., None])
        valid = alpha >= HALF
    if mask is not None:
        valid = valid & _fitting_mask(mask, path, valid.shape)
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


def read_mask(mask: Path | str) -> Flags:
    """Read a mask (H, W): True where it is bright and opaque.

    Raises:
        ImageReadError: if it cannot be read.
    """
    decoded = decode(Path(mask))
    bright: Flags = _upright(decoded.rgb, decoded.tags).mean(axis=-1) >= HALF
    if decoded.alpha is not None:
        bright = bright & (_upright(decoded.alpha, decoded.tags) >= HALF)
    return bright


def list_images(inputs: Sequence[Path | str]) -> list[ImageEntry]:
    """Find the files that inputs mean, each once, in the order of inputs and sorted within each.

    Where two inputs hold files of the same relative name, every relative name starts at the deepest folder
    that holds all the files.

    Args:
        inputs: files (taken whatever their ending), folders (searched recursively for `SUFFIXES`), and glob
            patterns (`**` searches recursively). Hidden files and folders are not searched.

    Raises:
        ImageReadError: if an input does not exist or has no image in it.
    """
    found: dict[Path, ImageEntry] = {}
    for entry in inputs:
        for image in _search(entry):
            found.setdefault(image.path.resolve(), image)
    images = list(found.values())
    if len({image.relative for image in images}) == len(images):
        return images
    top = Path(commonpath([image.path.resolve().parent for image in images]))
    return [ImageEntry(image.path, image.path.resolve().relative_to(top)) for image in images]


def _search(entry: Path | str) -> list[ImageEntry]:
    path = Path(entry)
    if path.is_dir():
        images = [ImageEntry(file, file.relative_to(path)) for file in _images_below(path)]
    elif path.exists():
        return [ImageEntry(path, Path(path.name))]
    elif has_magic(str(entry)):
        root = _fixed_part(path)
        matches = (Path(match) for match in sorted(glob(str(entry), recursive=True)))
        images = [ImageEntry(file, file.relative_to(root)) for file in matches if _is_image(file, root)]
    else:
        raise ImageReadError(f"{entry}: no such file or folder; check the path")
    if not images:
        raise ImageReadError(f"{entry}: no image in it; looked for {' '.join(sorted(SUFFIXES))}")
    return images


def _images_below(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if _is_image(file, folder)]


def _is_image(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and file.suffix.lower() in SUFFIXES and file.is_file()


def _fixed_part(pattern: Path) -> Path:
    """The folder in front of the first wildcard."""
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _fitting_mask(mask: Path | str, path: Path, shape: tuple[int, ...]) -> Flags:
    bright = read_mask(mask)
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
