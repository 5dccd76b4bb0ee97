"""Decoders: a picture of any kind as sRGB-coded floats with opacity and EXIF, oriented as stored.

Rules, each in one place below:
    one picture    of several layers, parts or pages: what `Choice` says, else the only one that can be meant,
                   else the file is refused with what there is; thumbnails and overviews never count
    colour         an ICC profile, or a PNG's gamma and primaries, is converted to sRGB (`colour`); none means
                   sRGB; CMYK without one is inverted
    linear light   EXR and floating-point TIFF without a profile: divided by the 99th percentile of the
                   brightest channel if that is above 1, clipped to [0, 1], sRGB coded
    premultiplied  EXR, and TIFF that says so: divided by alpha
    further bands  of a TIFF are opacity only where it says so; others are left out, and that is said
    raw            photographs that are not developed are refused, whatever previews they hold
    sizes          8 to 16384 px a side, at most 179 megapixels
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image, UnidentifiedImageError

from stablenormal.errors import ImageReadError, argument
from stablenormal.io import exr, png
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.io.colour import png_to_srgb, primaries_to_rec709, profile_to_srgb, srgb_coded
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
_RAW_PHOTOMETRICS = (32803, 34892)
"""A sensor's colour filter mosaic, and linear raw."""

_TIFF_KINDS = ("RGB", "MINISBLACK", "MINISWHITE")
"""Read here, at any depth from 8 bits on; Pillow reads the others, at 8 bits."""

_ALPHA_KINDS = (1, 2)
"""What ExtraSamples calls opacity, premultiplied or not."""

_OVERVIEW = 0.55
"""Size against the largest page, at the same proportions, up to which a page is a smaller copy of it."""


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


def decode(path: Path, choice: Choice = UNSAID, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Read a picture of any kind, recognised by content.

    Args:
        path: the file.
        choice: which of several pictures in it.
        max_pixels: a larger picture is refused by its header, before anything is decoded.

    Raises:
        ImageReadError: if the file is missing, damaged, no image, holds NaN, is too small or too large, or
            holds several pictures that may be meant.
    """
    data = load_bytes(path, ImageReadError)
    try:
        if data.startswith(exr.SIGNATURE):
            return _decode_exr(path, choice, max_pixels)
        if data.startswith(png.SIGNATURE) and png.bit_depth(data) == 16:
            return _decode_deep_png(path, data, max_pixels)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _decode_tiff(path, data, choice, max_pixels)
        return _decode_with_pillow(path, data, choice, max_pixels)
    except ImageReadError:
        raise
    except UnidentifiedImageError as error:
        raise ImageReadError(
            f"{path}: not an image, or of an unknown kind; convert it to PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageReadError(
            f"{path}: more than {max_pixels // 10**6} megapixels; shrink it first"
        ) from error
    except MemoryError as error:
        raise ImageReadError(f"{path}: too large for the memory; shrink it first") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more at damaged files
        raise ImageReadError(
            f"{path}: the file is damaged or cut off ({_first_line(error)}); copy it again"
        ) from error


def _decode_with_pillow(path: Path, data: bytes, choice: Choice, max_pixels: int) -> Decoded:
    """8-bit files of every kind, and the 16-bit grey ones that Pillow reads as such."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()  # all of Pillow's own formats; naming one that is not registered is a KeyError
    formats = [name for name in _PILLOW_FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # limits are ours, damaged EXIF is not used
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            _choose_frame(path, picture, choice)
            _check_size(path, *picture.size, max_pixels)
            picture.load()
            tags = _exif_tags(picture.getexif)
            profile = picture.info.get("icc_profile")
            if picture.mode.startswith("I"):  # 16-bit grey
                grey = np.asarray(picture).astype(np.uint16)
                rgb = _coloured(_to_srgb(grey, "L", profile, path))
                return Decoded(_png_colours(rgb, picture), None, 16, tags)
            if picture.mode == "F":
                return Decoded(_expose(path, _coloured(np.asarray(picture))), None, 32, tags)
            colour, alpha = _split_alpha(picture)
            rgb = _coloured(_to_srgb(np.asarray(colour), colour.mode, profile, path))
            return Decoded(_png_colours(rgb, picture), None if alpha is None else _unit_range(alpha), 8, tags)


def _choose_frame(path: Path, picture: Image.Image, choice: Choice) -> None:
    """Go to the frame that was chosen; without a choice the one that the file shows first."""
    frames = getattr(picture, "n_frames", 1)
    if choice.part is not None and frames > 1:
        picture.seek(_chosen_number(path, choice, frames, "frames") - 1)
    elif frames > 1:
        logger.warning(
            "%s: holds %d frames, read the first; %s chooses another", path, frames, argument("part")
        )


def _chosen_number(path: Path, choice: Choice, count: int, what: str) -> int:
    if choice.part is None or not choice.part.isdecimal() or not 1 <= int(choice.part) <= count:
        raise ImageReadError(f"{path}: has {count} {what}; choose one with {argument('part')} 1 to {count}")
    return int(choice.part)


def _png_colours(rgb: Floats, picture: Image.Image) -> Floats:
    return png_to_srgb(rgb, picture.info) if picture.format == "PNG" else rgb


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


def _exif_tags(read: Callable[[], Image.Exif]) -> dict[str, Any]:
    """EXIF by tag name; empty where it is damaged."""
    try:
        exif = read()
        numbered = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception as error:  # a photograph with broken EXIF is still a photograph
        logger.warning("EXIF is damaged and ignored: %s", error)
        return {}
    return {ExifTags.TAGS[number]: value for number, value in numbered.items() if number in ExifTags.TAGS}


def _decode_deep_png(path: Path, data: bytes, max_pixels: int) -> Decoded:
    """16-bit PNG, which Pillow would cut down to 8 bits."""
    _check_size(path, *png.size(data), max_pixels)
    pixels = np.atleast_3d(png.decode(data))  # (H, W, 1 to 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            tags, info = _exif_tags(picture.getexif), dict(picture.info)
    channels = pixels.shape[2]
    alpha = _unit_range(pixels[..., -1]) if channels in (2, 4) else None
    colour = pixels[..., :3] if channels >= 3 else pixels[..., 0]
    rgb = _coloured(_to_srgb(colour, "RGB" if channels >= 3 else "L", info.get("icc_profile"), path))
    return Decoded(png_to_srgb(rgb, info), alpha, 16, tags)


def _decode_tiff(path: Path, data: bytes, choice: Choice, max_pixels: int) -> Decoded:
    """TIFF: grey and RGB of 8 to 32 bits and floats here, other colour spaces by Pillow at 8 bits."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        _refuse_raw(path, file, data)
        page = _chosen_page(path, file, choice)
        _check_size(path, page.imagewidth, page.imagelength, max_pixels)
        kind = tifffile.PHOTOMETRIC(page.photometric).name
        kinds, depth = ("", 1) if page.dtype is None else (page.dtype.kind, page.dtype.itemsize)
        if depth == 1 and (kind not in _TIFF_KINDS or page.bitspersample != 8):
            return _decode_with_pillow(path, data, Choice(part=str(page.index + 1)), max_pixels)
        if kind not in _TIFF_KINDS or kinds not in ("u", "f") or page.imagedepth > 1:
            raise ImageReadError(
                f"{path}: a {page.dtype} TIFF of kind {kind} is not supported; convert it to RGB"
            )
        pixels = np.atleast_3d(page.asarray())
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
            pixels = np.moveaxis(pixels, 0, -1)
        tags = {**_exif_tags(lambda: _exif_of(data)), "Orientation": page.tags.valueof(274, 1)}
        profile = page.tags.valueof(34675)
        bits, extras = page.bitspersample, tuple(page.extrasamples)
    colours = 3 if kind == "RGB" else 1
    opacity = _opacity_band(path, pixels.shape[2], colours, extras)
    premultiplied = opacity is not None and extras[opacity - colours] == 1
    alpha = None
    if pixels.dtype.kind == "u":
        highest = 2**bits - 1
        pixels = (pixels.astype(np.float64) * (65535 / highest)).round().astype(np.uint16)
        if opacity is not None:
            alpha = _unit_range(pixels[..., opacity])
        colour = pixels[..., :3] if colours == 3 else pixels[..., 0]
        colour = 65535 - colour if kind == "MINISWHITE" else colour
        rgb = _coloured(_to_srgb(colour, "RGB" if colours == 3 else "L", profile, path))
        rgb = _undo_premultiplied(rgb, alpha) if premultiplied else rgb
        return Decoded(rgb, alpha, bits, tags)
    pixels = pixels.astype(np.float32)
    if opacity is not None:
        alpha = np.clip(pixels[..., opacity], 0, 1)
    values = _finite(path, pixels[..., :3] if colours == 3 else pixels[..., 0])
    if premultiplied and alpha is not None:
        values = _undo_premultiplied(np.atleast_3d(values), alpha)
    if profile:  # its curve says what the numbers are
        coded = _coloured(
            _to_srgb(np.clip(np.squeeze(values), 0, 1), "RGB" if colours == 3 else "L", profile, path)
        )
        return Decoded(np.clip(coded, 0, 1), alpha, bits, tags)
    return Decoded(_expose(path, _coloured(values)), alpha, bits, tags)


def _refuse_raw(path: Path, file: tifffile.TiffFile, data: bytes) -> None:
    """Raw photographs hold developed previews too, of any size; none of them is the photograph."""
    pages = [sub for page in file.pages for sub in (page, *(page.pages or ()))]
    if data[8:10] == b"CR" or any(page.tags.valueof(262) in _RAW_PHOTOMETRICS for page in pages):
        shown = file.pages.first
        raise ImageReadError(
            f"{path}: is a raw photograph of a camera (with a preview of {shown.imagewidth} x "
            f"{shown.imagelength} px); develop it to a 16-bit TIFF or PNG first"
        )


def _chosen_page(path: Path, file: tifffile.TiffFile, choice: Choice) -> Any:
    """The page that is meant: not a thumbnail, an overview or a mask of another one."""
    pages: list[Any] = []
    everything: Iterable[Any] = file.pages
    for page in everything:
        pages += [page, *(page.pages or ())] if page.subfiletype & 1 else [page]
    largest = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    pictures = [page for page in pages if not page.subfiletype & 5 and not _is_overview(page, largest)]
    pictures = pictures or [largest]
    if choice.part is not None:
        return pictures[_chosen_number(path, choice, len(pictures), "pages") - 1]
    if len(pictures) > 1:
        raise ImageReadError(
            f"{path}: has {len(pictures)} pages; choose one with {argument('part')} 1 to {len(pictures)}, "
            "or save it as a file of its own"
        )
    return pictures[0]


def _is_overview(page: Any, largest: Any) -> bool:
    across, down = page.imagewidth / largest.imagewidth, page.imagelength / largest.imagelength
    return bool(max(across, down) <= _OVERVIEW and abs(across / down - 1) < 0.03)


def _exif_of(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def _opacity_band(path: Path, bands: int, colours: int, extras: Sequence[int]) -> int | None:
    """Which band (counted from 0) is opacity.

    Raises:
        ImageReadError: if the bands cannot be told apart.
    """
    further = bands - colours
    known = [colours + place for place, kind in enumerate(extras[:further]) if kind in _ALPHA_KINDS]
    if known or not further:
        return known[0] if known else None
    if colours == 1:
        raise ImageReadError(
            f"{path}: has {bands} bands and does not say which are colours; export red, green and blue as RGB"
        )
    logger.warning("%s: of %d bands, those after red, green and blue are not used", path, bands)
    return None


def _decode_exr(path: Path, choice: Choice, max_pixels: int) -> Decoded:
    """EXR: R, G, B or Y of the layer that is meant, and A; colours are premultiplied by A."""
    try:
        _check_size(path, *exr.read_size(path), max_pixels)
        found = exr.find_picture(path, ("RGB", "rgb", "Y"), exr.PHOTOGRAPH, choice)
        there = ", ".join(exr.read(path)[0]) if found is None else ""
    except ImageReadError:
        raise
    except ValueError as error:
        raise ImageReadError(f"{path}: {error}") from error
    if found is None:
        raise ImageReadError(f"{path}: no channels R, G, B or Y among {there}; export it with colour")
    if found.letters == "Y" and {"RY", "BY"} & {channel.name for channel in found.header["channels"]}:
        raise ImageReadError(f"{path}: has luminance and chroma (Y, RY, BY); export it with R, G and B")
    if found.label:
        logger.warning("%s: read %s of several", path, found.label)
    linear = _coloured(found.pixels.astype(np.float32))
    alpha = found.alpha
    if alpha is not None:
        alpha = np.clip(_finite(path, alpha.astype(np.float32)), 0, 1)
        linear = _undo_premultiplied(linear, alpha)
    if not found.inside.all():
        alpha = found.inside.astype(np.float32) if alpha is None else alpha * found.inside
    primaries = found.header.get("chromaticities")
    if primaries is not None:
        linear = primaries_to_rec709(linear, np.ravel(primaries).tolist())
    return Decoded(_expose(path, linear), alpha, found.pixels.dtype.itemsize * 8)


def _to_srgb(pixels: npt.NDArray[Any], mode: str, profile: bytes | None, path: Path) -> npt.NDArray[Any]:
    """Colours (H, W, 3) or grey (H, W) in sRGB by the file's ICC profile, if there is one of use."""
    converted = profile_to_srgb(pixels, mode, profile, path)
    if converted is not None:
        return converted
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
    return srgb_coded(exposed)


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


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageReadError(
            f"{path}: {width} x {height} px is too small; at least {MIN_SIDE} px a side are needed"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageReadError(f"{path}: {width} x {height} px is too large; shrink it to {MAX_SIDE} px a side")
    if width * height > max_pixels:
        raise ImageReadError(f"{path}: more than {max_pixels // 10**6} megapixels; shrink it first")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
