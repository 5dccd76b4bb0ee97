"""Normal maps as files: 8- and 16-bit PNG, OpenEXR and NPY, each with its frame recorded.

    format   file   values                                            frame and rotation are recorded in
    png16    .png   round((n + 1) / 2 * 65535), invalid (0, 0, 0)     text chunks
    png8     .png   round((n + 1) / 2 * 255), invalid (0, 0, 0)       text chunks
    exr      .exr   float32 channels R, G, B = x, y, z                header attributes
    npy      .npy   float32 (H, W, 3)                                 NAME.json beside it

The records are named `stablenormal:frame` and, for the frame `world`, `stablenormal:camera_to_world`.
"""

import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stablenormal.errors import FrameError, ImageShapeError, NormalMapError, SettingError
from stablenormal.geometry.frames import FRAMES, check_frame
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normal_map import NormalMap, opengl_vectors
from stablenormal.geometry.normals import (
    convert_frame,
    dequantise,
    encode_8bit,
    encode_16bit,
    unit_length,
    vector_length,
)
from stablenormal.io import exr, png
from stablenormal.io.array_file import parse_array
from stablenormal.io.atomic import atomic_path, write_bytes
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.io.map_formats import MAP_FORMATS
from stablenormal.io.plain_values import parse_json
from stablenormal.io.source import load_bytes, text_of

logger = logging.getLogger(__name__)

FRAME_KEY = "stablenormal:frame"
ROTATION_KEY = "stablenormal:camera_to_world"

_OWN_RECORDS = frozenset([FRAME_KEY, ROTATION_KEY, "values", "shape", "type", "name", "view"])
"""Written anew with every file: the frame, and what EXR and the JSON beside an NPY say of themselves."""

LENGTH_TOLERANCE = 1e-3
"""How far from one a vector to be written may be; more is a mistake of the caller, not rounding."""

_ROWS = 128
"""Rows of a large map that are worked on together: what fits the cache, not six copies of the whole."""

NO_DIRECTION = 0.1
"""Shorter vectors are read as invalid: "no normal" painted as middle grey decodes to about 0.007."""

GENERATED_TOLERANCE, GENERATED_SHARE = 0.3, 0.4
"""Of maps by image generators: how far lengths may be off, and of what share they may be off by more.

Of five in six sample photographs more than 0.48 of the vectors are off so far, of maps by generators few.
"""

_READ_TOLERANCES = {8: 0.05, 16: 0.01, 32: 0.01}
"""How far from one a length read may be, by bits per channel; rounding alone explains 0.007 at 8 bits."""

_DAMAGED_SHARE = 0.01
"""Share of the valid vectors that may be off before the map is refused: edges of resized maps are."""


def write_normal_map(
    path: Path | str,
    normals: npt.NDArray[np.float32] | NormalMap,
    frame: str = "opengl",
    format: str = "png16",
    camera_to_world: npt.ArrayLike | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a normal map, completely or not at all, with its frame recorded in or beside it.

    Args:
        path: the file; its ending must be the one of `format`.
        normals: (H, W, 3) or a `NormalMap`, OpenGL camera, unit length or exactly zero (invalid).
        frame: frame to convert to, a name in `geometry.frames.FRAMES`.
        format: "png16", "png8", "exr" or "npy".
        camera_to_world: rotation (3, 3) of the OpenGL camera; needed by the frame `world`, an error with
            any other.
        texts: what else the file shall say, such as `NormalMap.texts`.

    Raises:
        NormalMapError: if the shape is not (H, W, 3), or a vector is not finite or neither unit length nor
            zero.
        FrameError: if the frame does not exist or lacks its rotation, or the map is in another one.
        SettingError: if the format does not exist or the ending is that of another one.
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    write = _chosen_format(path, format)
    check_frame(frame)
    if camera_to_world is not None and frame != "world":
        raise FrameError(f"camera_to_world is only for frame 'world', not '{frame}'; leave it out")
    rotation = None if camera_to_world is None else np.asarray(camera_to_world, dtype=np.float64)
    turn = None if rotation is None else torch.from_numpy(rotation)
    converted = convert_frame(_to_tensor(path, opengl_vectors(normals)), "opengl", frame, turn)
    record = {**(texts or {}), FRAME_KEY: frame}
    if rotation is not None:
        record[ROTATION_KEY] = json.dumps(rotation.tolist())
    write(path, _exact_length(converted), record)


def read_normal_map(
    path: Path | str,
    frame: str | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
    any_length: bool = False,
    choice: Choice = UNSAID,
    camera_to_world: Tensor | None = None,
) -> NormalMap:
    """Read a normal map into the OpenGL camera frame.

    Args:
        path: .png (8 or 16 bit, alpha 0 is invalid), .exr (channels R, G, B or X, Y, Z, in any layer) or .npy
            ((H, W, 3), its record in NAME.json).
        frame: the frame of files that carry none; a record in the file must agree.
        mask: (H, W), False where whatever the file holds is no normal; None is everywhere valid.
        any_length: take vectors of other lengths too, as image generators write them, and normalise them.
        choice: which layer and part of an EXR; by default the one that is named after normals.
        camera_to_world: rotation (3, 3) of the OpenGL camera, for files in the frame `world` without one.

    Raises:
        ImageShapeError: if the mask has another size.
        NormalMapError: if the file is missing, truncated, not a normal map, or its vectors are not unit
            length.
        FrameError: if the frame is missing, unknown, or contradicts the file.
    """
    path = Path(path)
    stored = read_stored_normals(path, frame, camera_to_world, choice)
    vectors = _masked(path, stored.vectors, mask)
    _check_finite(path, vectors)
    length = vector_length(vectors)
    valid = length >= NO_DIRECTION
    if any_length:
        _check_generated(path, length[valid])
    else:
        _check_length(path, length[valid], _READ_TOLERANCES[stored.bits])
    known = torch.where(valid, vectors, torch.zeros_like(vectors))
    normals = convert_frame(known, stored.frame, "opengl", stored.camera_to_world)
    turn = stored.camera_to_world
    return NormalMap(
        _to_numpy(_exact_length(normals)),
        valid[0, 0].numpy(),
        stored_frame=stored.frame,
        format=f"png{stored.bits}" if path.suffix.lower() == ".png" else path.suffix.lower()[1:],
        camera_to_world=None if turn is None else turn.double().numpy(),
        texts=stored.texts,
    )


@dataclass(frozen=True, eq=False)
class StoredNormals:
    """What a file holds, before anything is checked or changed."""

    vectors: Tensor
    """(1, 3, H, W) in `frame`, of any length, NaN and all."""
    frame: str
    """A name in `geometry.frames.FRAMES`."""
    camera_to_world: Tensor | None
    """Rotation (3, 3) that the file records; only with the frame `world`."""
    bits: int
    """Per channel: 8, 16 or 32."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What else the file says, text by name."""


def read_stored_normals(
    path: Path | str,
    frame: str | None = None,
    camera_to_world: Tensor | None = None,
    choice: Choice = UNSAID,
) -> StoredNormals:
    """Read the vectors of a normal map as they are stored, to look at what is wrong with them.

    Args:
        path: .png (8 or 16 bit), .exr or .npy, as for `read_normal_map`.
        frame: the frame of files that carry none; a record in the file must agree.
        camera_to_world: rotation (3, 3) of the OpenGL camera, for files in the frame `world` without one.
        choice: which layer and part of an EXR.

    Raises:
        NormalMapError: if the file is missing, truncated or not a normal map.
        FrameError: if the frame is missing, unknown, or contradicts the file.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise NormalMapError(f"{path}: a normal map is one of {', '.join(_READERS)}; convert it first")
    if frame is not None:
        check_frame(frame)
    vectors, bits, record = reader(path, choice)  # (1, 3, H, W)
    declared = _declared_frame(path, record, frame)
    if declared != "world" or camera_to_world is None:
        camera_to_world = _recorded_rotation(path, record, declared)
    others = {name: text for name, text in record.items() if name not in _OWN_RECORDS}
    return StoredNormals(vectors, declared, camera_to_world, bits, others)


def _masked(path: Path, vectors: Tensor, mask: npt.NDArray[np.bool_] | None) -> Tensor:
    if mask is None:
        return vectors
    height, width = vectors.shape[2:]
    if mask.shape != (height, width):
        raise ImageShapeError(
            f"{path}: the mask is {mask.shape[-1]} x {mask.shape[0]} px, the normal map {width} x {height} "
            "px; make them the same size"
        )
    return torch.where(torch.from_numpy(mask), vectors, torch.zeros_like(vectors))


def _chosen_format(path: Path, format: str) -> "Callable[[Path, Tensor, Mapping[str, str]], None]":
    if format not in MAP_FORMATS:
        raise SettingError(f"unknown normal map format '{format}'; choose one of {', '.join(MAP_FORMATS)}")
    ending = MAP_FORMATS[format]
    if path.suffix.lower() != ending:
        raise SettingError(f"{path}: format {format} has the ending {ending}; change one of them")
    return _WRITERS[format]


def _to_tensor(path: Path, normals: npt.NDArray[np.floating]) -> Tensor:
    if normals.ndim != 3 or normals.shape[2] != 3 or not normals.size:
        raise NormalMapError(f"{path}: expected normals (H, W, 3), got shape {normals.shape}; transpose them")
    vectors = channels_first(np.array(normals, dtype=np.float32))[None]  # (1, 3, H, W)
    _check_finite(path, vectors)
    length = vector_length(vectors)
    wrong = int(((length != 0) & ((length - 1).abs() > LENGTH_TOLERANCE)).sum())
    if wrong:
        raise NormalMapError(
            f"{path}: {wrong} normals are neither unit length nor zero; apply unit_length first"
        )
    return vectors


def _exact_length(vectors: Tensor) -> Tensor:
    """Unit length to the last bit that float32 has, from what is within tolerance."""
    exact = torch.empty_like(vectors)
    for some, result in zip(_by_rows(vectors), _by_rows(exact), strict=True):
        result.copy_(unit_length(some.double()))
    return exact


def _by_rows(vectors: Tensor) -> list[Tensor]:
    return [vectors[:, :, first : first + _ROWS] for first in range(0, vectors.shape[2], _ROWS)]


def _to_numpy(vectors: Tensor) -> npt.NDArray[np.float32]:
    return channels_last(vectors[0])


def _codes(vectors: Tensor, encode: Callable[[Tensor], Tensor]) -> png.Pixels:
    pixels: png.Pixels = np.concatenate([channels_last(encode(some)[0]) for some in _by_rows(vectors)])
    return pixels


def _write_png16(path: Path, vectors: Tensor, record: Mapping[str, str]) -> None:
    write_bytes(path, png.encode(_codes(vectors, encode_16bit), record))


def _write_png8(path: Path, vectors: Tensor, record: Mapping[str, str]) -> None:
    write_bytes(path, png.encode(_codes(vectors, encode_8bit), record))


def _write_exr(path: Path, vectors: Tensor, record: Mapping[str, str]) -> None:
    x, y, z = vectors[0].numpy()
    with atomic_path(path) as temporary:
        exr.write(temporary, {"R": x, "G": y, "B": z}, record)


def _write_npy(path: Path, vectors: Tensor, record: Mapping[str, str]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, _to_numpy(vectors))
    facts = {**record, "shape": [*vectors.shape[2:], 3], "values": "unit normals, zero if invalid"}
    # Record first: an array whose frame nobody knows is worse than a record without its array.
    write_bytes(path.with_suffix(".json"), (json.dumps(facts, indent=2) + "\n").encode())
    write_bytes(path, buffer.getvalue())


def _read_png(path: Path, choice: Choice) -> tuple[Tensor, int, dict[str, str]]:
    data = load_bytes(path, NormalMapError)
    try:
        pixels, record = png.decode(data), png.texts(data)
    except ValueError as error:
        raise NormalMapError(f"{path}: not a readable PNG ({error}); copy or make it again") from error
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise NormalMapError(
            f"{path}: a normal map has three channels, this one is grey; choose another file"
        )
    codes = channels_first(pixels.astype(np.int32))[None]  # (1, C, H, W)
    bits = pixels.dtype.itemsize * 8
    vectors = dequantise(codes[:, :3], 2**bits - 1)
    if codes.shape[1] == 4:
        vectors = torch.where(codes[:, 3:] > 0, vectors, torch.zeros_like(vectors))
    return vectors, bits, record


def _read_exr(path: Path, choice: Choice) -> tuple[Tensor, int, dict[str, str]]:
    if not load_bytes(path, NormalMapError).startswith(exr.SIGNATURE):
        raise NormalMapError(f"{path}: not an EXR file; check the ending")
    try:
        found = exr.find_picture(path, ("RGB", "XYZ", "rgb", "xyz"), exr.NORMALS, choice)
        if found is None:
            there = ", ".join(exr.read(path)[0])
            raise NormalMapError(f"{path}: no channels R, G, B or X, Y, Z among {there}; name the normals so")
    except NormalMapError:
        raise
    except ValueError as error:
        raise NormalMapError(f"{path}: {error}; copy or make it again") from error
    if found.label:
        logger.warning("%s: read %s of several", path, found.label)
    vectors = np.ascontiguousarray(np.moveaxis(found.pixels.astype(np.float32), -1, 0))
    record = {name: value for name, value in found.header.items() if isinstance(value, str)}
    return torch.from_numpy(vectors)[None], 32, record


def _read_npy(path: Path, choice: Choice) -> tuple[Tensor, int, dict[str, str]]:
    data = load_bytes(path, NormalMapError)
    try:
        array = parse_array(data)
    except ValueError as error:
        raise NormalMapError(f"{path}: not a readable NPY file; copy or make it again") from error
    if array.dtype.kind != "f":
        raise NormalMapError(f"{path}: expected floats (H, W, 3); choose a normal map or convert it first")
    if array.ndim == 3 and array.shape[0] == 3 != array.shape[2]:  # as many programs keep them, (3, H, W)
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[2] != 3:
        raise NormalMapError(
            f"{path}: expected floats (H, W, 3) or (3, H, W), got shape {array.shape}; "
            "choose a normal map or convert it first"
        )
    vectors = channels_first(array.astype(np.float32))[None]  # (1, 3, H, W)
    return vectors, 32, _record_beside(path)


def _record_beside(path: Path) -> dict[str, str]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    text = load_bytes(beside, NormalMapError)
    try:
        facts = parse_json(text_of(text))
    except ValueError as error:
        raise NormalMapError(f"{beside}: not readable JSON; mend it, or delete it and give frame=") from error
    return {k: v for k, v in facts.items() if isinstance(v, str)} if isinstance(facts, dict) else {}


def _declared_frame(path: Path, record: Mapping[str, str], frame: str | None) -> str:
    declared = record.get(FRAME_KEY)
    choices = ", ".join(FRAMES)
    if declared is None and frame is None:
        raise FrameError(f"{path}: the file does not say its frame; give frame= one of {choices}")
    if declared is not None and declared not in FRAMES and frame is None:
        raise FrameError(f"{path}: records the unknown frame '{declared}'; give frame= one of {choices}")
    if declared in FRAMES and frame is not None and declared != frame:
        raise FrameError(f"{path}: records frame '{declared}', not '{frame}'; leave frame= out")
    return frame or declared or ""


def _recorded_rotation(path: Path, record: Mapping[str, str], frame: str) -> Tensor | None:
    if frame != "world":
        return None
    if ROTATION_KEY not in record:
        raise FrameError(f"{path}: is in frame 'world' but lacks {ROTATION_KEY}; write it again with one")
    try:
        return torch.tensor(parse_json(record[ROTATION_KEY]), dtype=torch.float64)
    except (ValueError, TypeError) as error:
        raise FrameError(f"{path}: its {ROTATION_KEY} is not a 3 x 3 matrix; write it again") from error


def _check_finite(path: Path, vectors: Tensor) -> None:
    if bool(torch.isfinite(vectors.sum())):  # which one broken value would spoil
        return
    broken = int((~torch.isfinite(vectors)).any(dim=1).sum())
    if broken:
        raise NormalMapError(
            f"{path}: {broken} normals are NaN or infinite; invalid pixels must be zero vectors"
        )


def _check_generated(path: Path, lengths: Tensor) -> None:
    """Refuse what is a photograph rather than a map that somebody's generator drew."""
    off = ((lengths - 1).abs() > GENERATED_TOLERANCE).float()
    if len(off) and float(off.mean()) > GENERATED_SHARE:
        raise NormalMapError(
            f"{path}: {100 * float(off.mean()):.0f} % of its vectors are far from unit length; this is no "
            "normal map: choose another file"
        )


def _check_length(path: Path, lengths: Tensor, tolerance: float) -> None:
    """Refuse a map with many wrong lengths, note one with few."""
    if not len(lengths):
        return
    off = (lengths - 1).abs()
    wrong = int((off > tolerance).sum())
    if wrong > _DAMAGED_SHARE * len(lengths):
        worst = float(lengths[off.argmax()])
        raise NormalMapError(
            f"{path}: {wrong} of {len(lengths)} vectors are not unit length (worst {worst:.3f}); this is "
            "no normal map, or it was resized, compressed or colour-managed: export it again"
        )
    if wrong:
        logger.warning(
            "%s: %d of %d vectors had another length and were normalised", path, wrong, len(lengths)
        )


_WRITERS: dict[str, Callable[[Path, Tensor, Mapping[str, str]], None]] = {
    "png16": _write_png16,
    "png8": _write_png8,
    "exr": _write_exr,
    "npy": _write_npy,
}

_READERS: dict[str, Callable[[Path, Choice], tuple[Tensor, int, dict[str, str]]]] = {
    ".png": _read_png,
    ".exr": _read_exr,
    ".npy": _read_npy,
}
