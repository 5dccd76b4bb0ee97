"""Decoders: one picture of any kind as sRGB-coded floats with opacity and EXIF, as it lies in the file.

Rules, each in one place below:
    colour         an ICC profile is converted to sRGB; no profile means sRGB; CMYK without one is inverted
    linear light   EXR and floating-point TIFF: divided by the 99th percentile of the brightest channel if
                   that is above 1, clipped to [0, 1], sRGB coded
    premultiplied  EXR, and TIFF that says so: divided by alpha
    sizes          8 to 16384 px a side, at most 179 megapixels
"""

import io
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from stablenormal.errors import ImageReadError
from stablenormal.io import exr, png
from stablenormal.io.source import load_bytes

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

MIN_SIDE = 8
"""Smallest width and height in pixels: one latent pixel."""

MAX_SIDE = 16384
"""Largest width and height in pixels."""

MAX_PIXELS = 2 * 89_478_485
"""Largest picture, 179 megapixels: where Pillow, too, speaks of a decompression bomb."""

_PILLOW_FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "PPM", "JPEG2000")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LINES = {"RGB": "rgb", "CMYK": "cmyk", "L": "gray"}


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture as it lies in the file, before it is turned upright."""

    rgb: Floats
    """(H, W, 3) in [0, 1], sRGB coded."""
    alpha: Floats | None
    """(H, W) in [0, 1]; None if opaque."""
    bit_depth: int
    tags: Mapping[str, Any] = field(default_factory=dict)
    """EXIF tags by name."""


def decode(path: Path) -> Decoded:
    """Read a picture of any kind, recognised by content.

    Raises:
        ImageReadError: if the file is missing, damaged, no image, holds NaN, or is too small or too large.
    """
    data = load_bytes(path, ImageReadError)
    try:
        if data.startswith(exr.SIGNATURE):
            return _decode_exr(path)
        if data.startswith(png.SIGNATURE) and png.bit_depth(data) == 16:
            return _decode_deep_png(path, data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _decode_tiff(path, data)
        return _decode_with_pillow(path, data)
    except ImageReadError:
        raise
    except UnidentifiedImageError as error:
        raise ImageReadError(
            f"{path}: not an image, or of an unknown kind; convert it to PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageReadError(
            f"{path}: more than {MAX_PIXELS // 10**6} megapixels; shrink it first"
        ) from error
    except MemoryError as error:
        raise ImageReadError(f"{path}: too large for the memory; shrink it first") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more at damaged files
        raise ImageReadError(
            f"{path}: the file is damaged or cut off ({_first_line(error)}); copy it again"
        ) from error


def _decode_with_pillow(path: Path, data: bytes) -> Decoded:
    """8-bit files of every kind, and the 16-bit grey ones that Pillow reads as such."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()  # all of Pillow's own formats; naming one that is not registered is a KeyError
    formats = [name for name in _PILLOW_FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # limits are ours, damaged EXIF is not used
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            _check_size(path, *picture.size)
            picture.load()
            tags = _exif_tags(picture)
            profile = picture.info.get("icc_profile")
            if picture.mode.startswith("I"):  # 16-bit grey
                grey = np.asarray(picture).astype(np.uint16)
                return Decoded(_coloured(_to_srgb(grey, "L", profile, path)), None, 16, tags)
            if picture.mode == "F":
                return Decoded(_expose(path, _coloured(np.asarray(picture))), None, 32, tags)
            colour, alpha = _split_alpha(picture)
            pixels = _to_srgb(np.asarray(colour), colour.mode, profile, path)
            return Decoded(_coloured(pixels), None if alpha is None else _unit_range(alpha), 8, tags)


def _split_alpha(picture: Image.Image) -> tuple[Image.Image, npt.NDArray[np.uint8] | None]:
    """The colours as L, RGB or CMYK, and the opacity (H, W) if there is any."""
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.replace("a", "A"))
    if picture.mode == "PA" or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode in ("LA", "RGBA"):
        return picture.convert(picture.mode[:-1]), np.asarray(picture.getchannel("A"))
    if picture.mode in ("1", "L"):
        return picture.convert("L"), None
    return (picture if picture.mode == "CMYK" else picture.convert("RGB")), None


def _exif_tags(picture: Image.Image) -> dict[str, Any]:
    """EXIF by tag name; empty where it is damaged."""
    try:
        exif = picture.getexif()
        numbered = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception as error:  # a photograph with broken EXIF is still a photograph
        logger.warning("EXIF is damaged and ignored: %s", error)
        return {}
    return {ExifTags.TAGS[number]: value for number, value in numbered.items() if number in ExifTags.TAGS}


def _decode_deep_png(path: Path, data: bytes) -> Decoded:
    """16-bit PNG, which Pillow would cut down to 8 bits."""
    _check_size(path, *png.size(data))
    pixels = np.atleast_3d(png.decode(data))  # (H, W, 1 to 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            tags, profile = _exif_tags(picture), picture.info.get("icc_profile")
    channels = pixels.shape[2]
    alpha = _unit_range(pixels[..., -1]) if channels in (2, 4) else None
    colour = pixels[..., :3] if channels >= 3 else pixels[..., 0]
    return Decoded(
        _coloured(_to_srgb(colour, "RGB" if channels >= 3 else "L", profile, path)), alpha, 16, tags
    )


def _decode_tiff(path: Path, data: bytes) -> Decoded:
    """TIFF: 16 and 32 bits and floats here, 8 bits by Pillow, which knows all its colour spaces."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _check_size(path, page.imagewidth, page.imagelength)
        if page.dtype is None or page.dtype.itemsize == 1:
            return _decode_with_pillow(path, data)
        kind = tifffile.PHOTOMETRIC(page.photometric).name
        if kind not in ("RGB", "MINISBLACK", "MINISWHITE") or page.dtype.kind not in "uf":
            raise ImageReadError(
                f"{path}: a {page.dtype} TIFF of kind {kind} is not supported; convert it to RGB"
            )
        pixels = np.atleast_3d(page.asarray())
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
            pixels = np.moveaxis(pixels, 0, -1)
        tags = {"Orientation": page.tags.valueof(274, 1)}
        profile = page.tags.valueof(34675)
        bits, premultiplied = page.bitspersample, 1 in page.extrasamples
    colours = 3 if kind == "RGB" else 1
    alpha = None
    if pixels.dtype.kind == "u":
        highest = 2**bits - 1
        pixels = (pixels.astype(np.float64) * (65535 / highest)).round().astype(np.uint16)
        if pixels.shape[2] > colours:
            alpha = _unit_range(pixels[..., colours])
        colour = pixels[..., :3] if colours == 3 else pixels[..., 0]
        colour = 65535 - colour if kind == "MINISWHITE" else colour
        rgb = _coloured(_to_srgb(colour, "RGB" if colours == 3 else "L", profile, path))
        rgb = _undo_premultiplied(rgb, alpha) if premultiplied else rgb
    else:
        pixels = pixels.astype(np.float32)
        if pixels.shape[2] > colours:
            alpha = np.clip(pixels[..., colours], 0, 1)
        linear = _coloured(pixels[..., :colours])
        rgb = _expose(path, _undo_premultiplied(linear, alpha) if premultiplied else linear)
    return Decoded(rgb, alpha, bits, tags)


def _decode_exr(path: Path) -> Decoded:
    """EXR: R, G, B or Y, of no layer or of the first that has them, and A; colours are premultiplied by A."""
    _check_size(path, *exr.read_size(path))
    channels, _ = exr.read(path)
    names = exr.find_channels(list(channels), ("RGB", "rgb", "Y"))
    if names is None:
        raise ImageReadError(
            f"{path}: no channels R, G, B or Y among {', '.join(channels)}; export it with colour"
        )
    if len({channels[name].shape for name in names}) > 1:
        raise ImageReadError(f"{path}: its channels differ in size; export it without chroma subsampling")
    linear = _coloured(np.stack([channels[name].astype(np.float32) for name in names], axis=-1))
    layer = names[0][: -len(names[0].rpartition(".")[2])]
    alpha = channels.get(layer + "A")
    if alpha is not None:
        alpha = np.clip(_finite(path, alpha.astype(np.float32)), 0, 1)
        linear = _undo_premultiplied(linear, alpha)
    bits = channels[names[0]].dtype.itemsize * 8
    return Decoded(_expose(path, linear), alpha, bits)


def _to_srgb(pixels: npt.NDArray[Any], mode: str, profile: bytes | None, path: Path) -> npt.NDArray[Any]:
    """Colours (H, W, 3) or grey (H, W), uint8 or uint16, in sRGB by the file's ICC profile.

    A profile that is damaged or made for other channels is ignored, as browsers do.
    """
    if profile:
        try:
            known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            described = known.profile.profile_description or ""
            if "sRGB" not in described:
                converted: npt.NDArray[Any] = imagecodecs.cms_transform(
                    np.ascontiguousarray(pixels),
                    profile,
                    imagecodecs.cms_profile("srgb"),
                    colorspace=_LINES[mode],
                    outcolorspace="rgb",
                    intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
                )
                return converted
        except (OSError, ImageCms.PyCMSError, RuntimeError, ValueError) as error:
            logger.warning("%s: its colour profile cannot be used and is ignored: %s", path, error)
    if mode == "CMYK":
        ink = pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
        light = (1 - ink[..., :3]) * (1 - ink[..., 3:])
        return np.rint(light * np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    return pixels


def _expose(path: Path, linear: Floats) -> Floats:
    """Linear light (H, W, 3) to sRGB-coded values: see the rule at the top."""
    linear = np.maximum(_finite(path, linear), 0)
    brightest = float(np.percentile(linear.max(axis=-1), 99))
    exposed = np.clip(linear / max(brightest, 1.0), 0, 1)
    coded = np.where(
        exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** (1 / 2.4) - 0.055
    )  # IEC 61966-2-1
    result: Floats = coded.astype(np.float32)
    return result


def _finite(path: Path, values: Floats) -> Floats:
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        row, column = broken[0][:2]
        raise ImageReadError(
            f"{path}: {len(broken)} values are NaN or infinite, the first at column {column}, row {row}; "
            "repair them or render it again"
        )
    return values


def _undo_premultiplied(colour: Floats, alpha: Floats | None) -> Floats:
    if alpha is None:
        return colour
    opacity = alpha[..., None]
    return np.where(opacity > 0, colour / np.maximum(opacity, 1e-6), 0).astype(np.float32)


def _coloured(pixels: npt.NDArray[Any]) -> Floats:
    """Grey or colour, integer or float, as float32 (H, W, 3); integers are scaled to [0, 1]."""
    values = np.atleast_3d(_unit_range(pixels))
    return values if values.shape[2] == 3 else np.repeat(values[..., :1], 3, axis=2)


def _unit_range(pixels: npt.NDArray[Any]) -> Floats:
    values: Floats = pixels.astype(np.float32)
    if pixels.dtype.kind != "f":
        values /= np.float32(np.iinfo(pixels.dtype).max)
    return values


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageReadError(
            f"{path}: {width} x {height} px is too small; at least {MIN_SIDE} px a side are needed"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageReadError(f"{path}: {width} x {height} px is too large; shrink it to {MAX_SIDE} px a side")
    if width * height > MAX_PIXELS:
        raise ImageReadError(f"{path}: more than {MAX_PIXELS // 10**6} megapixels; shrink it first")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
