"""Depth maps as files.

    ending   values                                                   unknown
    .exr     float32 channel Z                                        0
    .npy     float32 (H, W)                                           0
    .png     16-bit grey; depth = value * scale, scale in a text      0

The PNG's text is named `stablenormal:depth_scale`.
"""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.errors import ImageReadError, OutputError, SettingError
from stablenormal.io import exr, png
from stablenormal.io.array_file import parse_array
from stablenormal.io.atomic import atomic_path, write_bytes
from stablenormal.io.source import load_bytes

SCALE_KEY = "stablenormal:depth_scale"
DEPTH_SUFFIXES = (".exr", ".npy", ".png")

Depth = npt.NDArray[np.float32]


def write_depth_map(path: Path | str, depth: Depth) -> None:
    """Write depth, completely or not at all.

    Args:
        path: the file; its ending chooses the kind. PNG keeps 16 bits up to the largest depth.
        depth: (H, W), not negative; 0 is unknown.

    Raises:
        OutputError: if the ending is another, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".exr":
        with atomic_path(path) as temporary:
            exr.write(temporary, {"Z": depth}, {})
    elif path.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, depth.astype(np.float32))
        write_bytes(path, buffer.getvalue())
    elif path.suffix == ".png":
        scale = (float(depth.max()) or 1.0) / 65535
        codes = np.rint(depth / scale)
        codes = np.where(depth > 0, np.maximum(codes, 1), 0).astype(np.uint16)
        write_bytes(path, png.encode(codes, {SCALE_KEY: repr(scale)}))
    else:
        raise OutputError(f"{path}: a depth map is {', '.join(DEPTH_SUFFIXES)}; change the ending")


def read_depth_map(path: Path | str, scale: float | None = None) -> Depth:
    """Read depth, (H, W), 0 where unknown (not positive or not finite).

    Args:
        path: .exr (channel Z, in no layer or one named after depth, or the only channel, or grey as equal R,
            G and B), .npy (H, W), or .png (16-bit grey).
        scale: unit of the values: depth = value * scale. None: 1, or what a PNG says; PNGs of other programs
            need it.

    Raises:
        ImageReadError: if the file is missing, damaged, or no depth map.
        SettingError: if a PNG does not say its scale and none is given, or the scale is not positive.
    """
    path = Path(path)
    if scale is not None and not scale > 0:
        raise SettingError(f"a depth scale of {scale} is out of range; choose a positive one")
    readers = {".exr": _read_exr, ".npy": _read_npy, ".png": _read_png}
    if path.suffix.lower() not in readers:
        raise ImageReadError(f"{path}: a depth map is {', '.join(DEPTH_SUFFIXES)}; convert it first")
    values, recorded = readers[path.suffix.lower()](path, load_bytes(path, ImageReadError))
    if values.ndim != 2:
        raise ImageReadError(f"{path}: expected depth (H, W), got shape {values.shape}")
    if path.suffix.lower() == ".png" and scale is None and recorded is None:
        raise SettingError(f"{path}: the file does not say its depth scale; give one, 0.001 for millimetres")
    depth = values.astype(np.float64) * (scale or recorded or 1.0)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def _read_exr(path: Path, data: bytes) -> tuple[npt.NDArray[np.generic], float | None]:
    try:
        # X, Y and Z together are a position or normals.
        found = exr.find_picture(path, ("XYZ", "Z", "V"), exr.DEPTH)
        if found is not None and found.letters != "XYZ":
            return found.pixels[..., 0], None
        grey = exr.find_picture(path, ("RGB", "rgb"), exr.PHOTOGRAPH)
        if grey is not None and (grey.pixels == grey.pixels[..., :1]).all():
            return grey.pixels[..., 0], None
        channels, _ = exr.read(path)
    except ValueError as error:
        raise ImageReadError(f"{path}: {error}; copy or make it again") from error
    if len(channels) > 1:
        raise ImageReadError(f"{path}: has channels {', '.join(channels)} but no Z; write depth as Z")
    return next(iter(channels.values())), None


def _read_npy(path: Path, data: bytes) -> tuple[npt.NDArray[np.generic], float | None]:
    try:
        values = parse_array(data)
    except ValueError as error:
        raise ImageReadError(f"{path}: not a readable NPY file; copy or make it again") from error
    if values.dtype.kind not in "fiu":
        raise ImageReadError(f"{path}: expected numbers, got {values.dtype}; save depth as float32")
    return values, None


def _read_png(path: Path, data: bytes) -> tuple[npt.NDArray[np.generic], float | None]:
    try:
        values, recorded = png.decode(data), png.texts(data).get(SCALE_KEY)
        return values, None if recorded is None else float(recorded)
    except ValueError as error:
        raise ImageReadError(f"{path}: {error}; copy or make it again") from error
