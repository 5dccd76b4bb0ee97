"""How each set stores its measured normals.

Every decoder takes a file and its photograph's size (H, W), and returns float32 (H, W, 3) in the OpenGL
camera, as long as stored, exactly zero where the set's own rule says invalid. What the sets have in common
is one frame: x left, y up, z toward the viewer (`dsine`), except DIODE's and OASIS's, see there.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablenormal.errors import DataError, NormalMapError
from stablenormal.evaluation.oasis import read_region
from stablenormal.evaluation.pairs import Normals
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import convert_frame, dequantise
from stablenormal.io import exr, png
from stablenormal.io.array_file import parse_array
from stablenormal.io.source import load_bytes

MEASURED_LENGTH = 0.5
"""Float vectors up to this length are invalid (DSINE's rule)."""


def decode_png8(path: Path, size: tuple[int, int]) -> Normals:
    """NYUv2, ScanNet: 8-bit RGB, n / 255 * 2 - 1, invalid where black."""
    return _to_opengl(_dequantised(path, np.uint8), "dsine")


def decode_png16(path: Path, size: tuple[int, int]) -> Normals:
    """Virtual KITTI: 16-bit RGB, n / 65535 * 2 - 1, invalid where black."""
    return _to_opengl(_dequantised(path, np.uint16), "dsine")


def decode_exr(path: Path, size: tuple[int, int]) -> Normals:
    """IBims-1, Sintel: float channels R, G, B, valid where longer than `MEASURED_LENGTH`."""
    if not load_bytes(path, NormalMapError).startswith(exr.SIGNATURE):
        raise DataError(f"{path}: not an EXR file; copy the set again")
    try:
        found = exr.find_picture(path, ("RGB",), exr.NORMALS)
    except ValueError as error:
        raise DataError(f"{path}: {error}; copy the set again") from error
    if found is None:
        there = ", ".join(exr.read(path)[0])
        raise DataError(f"{path}: no channels R, G, B among {there}; copy the set again")
    vectors = found.pixels.astype(np.float32)
    valid = np.linalg.norm(vectors, axis=-1) > MEASURED_LENGTH
    return _to_opengl(np.where(valid[..., None], vectors, np.float32(0)), "dsine")


def decode_oasis(path: Path, size: tuple[int, int]) -> Normals:
    """OASIS: a pickled box and the region in it; x and y times -1 give `dsine`; invalid where zero."""
    region = read_region(path)
    height, width = size
    rows, columns = region.normals.shape[:2]
    if region.top + rows > height or region.left + columns > width:
        raise DataError(
            f"{path}: its region ends at {(region.top + rows, region.left + columns)}, outside its "
            f"photograph {size}; "
            "copy the set again"
        )
    vectors = np.zeros((height, width, 3), dtype=np.float32)
    vectors[region.top : region.top + rows, region.left : region.left + columns] = region.normals
    _require_finite(path, vectors)
    return _to_opengl(vectors * np.array([-1, -1, 1], dtype=np.float32), "dsine")


def decode_diode(path: Path, size: tuple[int, int], frame: str) -> Normals:
    """DIODE: floats (H, W, 3), zero vectors invalid.

    Args:
        path: the file.
        size: of the photograph.
        frame: the frame of the file.
    """
    try:
        array = parse_array(load_bytes(path, NormalMapError))
    except ValueError as error:
        raise DataError(f"{path}: not a readable NPY file; copy the set again") from error
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind != "f":
        raise DataError(f"{path}: expected floats (H, W, 3), got {array.dtype} {array.shape}; check the file")
    vectors = array.astype(np.float32)
    _require_finite(path, vectors)
    return _to_opengl(vectors, frame)


def _dequantised(path: Path, kind: type[np.uint8] | type[np.uint16]) -> Normals:
    try:
        codes = png.decode(load_bytes(path, NormalMapError))
    except ValueError as error:
        raise DataError(f"{path}: not a readable PNG ({error}); copy the set again") from error
    if codes.dtype != kind or codes.ndim != 3 or codes.shape[2] != 3:
        raise DataError(
            f"{path}: this set's normals are {np.dtype(kind).name} with 3 channels, this file is "
            f"{codes.dtype.name} "
            f"{codes.shape}; check the benchmark's name and the file"
        )
    planes = channels_first(codes.astype(np.int32))[None]  # (1, 3, H, W)
    return channels_last(dequantise(planes, int(np.iinfo(kind).max))[0])


def _to_opengl(vectors: NDArray[np.float32], frame: str) -> Normals:
    planes = channels_first(vectors)[None]  # (1, 3, H, W)
    converted = convert_frame(planes, frame, "opengl")[0].permute(1, 2, 0)
    return np.ascontiguousarray(converted.numpy() + np.float32(0))  # no -0


def _require_finite(path: Path, vectors: NDArray[np.float32]) -> None:
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds NaN or infinite normals; copy the set again")
