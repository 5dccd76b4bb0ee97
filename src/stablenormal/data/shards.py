"""WebDataset shards: tar files of samples, written one by one and whole, and read back.

A sample is a run of members with one key: `.image.jpg` or `.image.png`, `.normals.png` (16 bit), `.depth`
(zlib of little-endian float16 metres, shape in the meta data), `.labels.png`, `.instances.png` (16 bit) and
`.meta.json`.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.data.sample import CLASSES, UNLABELLED, Sample
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.normals import valid_pixels
from stablenormal.io.atomic import atomic_path
from stablenormal.io.plain_values import parse_json

_FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_PARTS = ("normals.png", "depth", "labels.png", "instances.png", "meta.json")


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` of a corpus lies."""
    return folder / f"shard-{number:06d}.tar"


def list_shards(folder: Path) -> list[Path]:
    """The finished shards of a folder in order.

    Raises:
        DataError: if there are none.
    """
    shards = sorted(path for path in folder.glob("*.tar") if not path.name.startswith("."))
    if not shards:
        raise DataError(
            f"{folder}: no shards (*.tar) found; write some with `stablenormal synth -o {folder}`"
        )
    return shards


def write_shard(path: Path, samples: Iterable[Sample], image_format: str = "jpg") -> None:
    """Write samples to a tar file that appears under its name only when it is whole.

    Args:
        path: the shard; a previous one is replaced.
        samples: each needs a unique meta["key"].
        image_format: "jpg" (quality 95) or "png" (lossless).

    Raises:
        OutputError: if it cannot be written.
    """
    with atomic_path(path) as unfinished, tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for suffix, data in encode_sample(sample, image_format).items():
                member = tarfile.TarInfo(f"{sample.meta['key']}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def encode_sample(sample: Sample, image_format: str) -> dict[str, bytes]:
    """The members of a sample: suffix -> bytes."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if image_format == "jpg" else _FAST_PNG
    meta = {**sample.meta, "intrinsics": asdict(sample.intrinsics), "shape": list(sample.depth.shape)}
    return {
        f"image.{image_format}": _image_bytes(f".{image_format}", sample.image[..., ::-1], options),
        "normals.png": _image_bytes(".png", _quantised(sample.normals)[..., ::-1], _FAST_PNG),
        "depth": zlib.compress(sample.depth.astype("<f2").tobytes(), 1),
        "labels.png": _image_bytes(".png", sample.labels, _FAST_PNG),
        "instances.png": _image_bytes(".png", sample.instances, _FAST_PNG),
        "meta.json": json.dumps(meta, sort_keys=True).encode(),
    }


def _quantised(normals: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """-1..1 as 1..65535; the zero vector as 0."""
    valid = valid_pixels(normals)[..., None]
    return np.where(valid, np.rint(normals * 32767) + 32768, 0).astype(np.uint16)


def _image_bytes(suffix: str, image: npt.NDArray[Any], options: list[int]) -> bytes:
    good, data = cv2.imencode(suffix, np.ascontiguousarray(image), options)
    assert good, suffix
    return bytes(data)


def require_end(path: Path) -> None:
    """Refuse a tar file without the empty blocks at its end: `tarfile` takes one cut in a header as whole.

    Raises:
        tarfile.ReadError: if they are missing.
    """
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 2 * tarfile.BLOCKSIZE))
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise tarfile.ReadError("unexpected end of data")


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of one shard, in order.

    Raises:
        DataError: if the shard is cut short or a sample is damaged.
    """
    try:
        require_end(path)
        with tarfile.open(path, "r:") as tar:  # never compressed, so what a bomb unpacks to is not looked for
            key, parts = "", dict[str, bytes]()
            for member in tar:
                name, _, suffix = member.name.partition(".")
                if name != key and parts:
                    yield decode_sample(parts, f"{path}, {key}")
                    parts = {}
                content = tar.extractfile(member)
                key, parts[suffix] = name, content.read() if content else b""
            if parts:
                yield decode_sample(parts, f"{path}, {key}")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: damaged shard ({error}); delete it and run synth again") from error


def is_ours(members: Iterable[str]) -> bool:
    """Whether the members of a key, named by suffix, are those that `encode_sample` writes."""
    return set(_PARTS) <= set(members)


def stored_normals(parts: Mapping[str, bytes], where: str) -> npt.NDArray[np.float32]:
    """Normals (H, W, 3) of a sample's members as they are stored, not normalised.

    Raises:
        DataError: if they are damaged.
    """
    return _vectors(_normal_codes(parts, where))


def decode_sample(parts: Mapping[str, bytes], where: str) -> Sample:
    """A sample from its members.

    Args:
        parts: suffix -> bytes, as `encode_sample` gives them.
        where: the shard and key, for messages.

    Raises:
        DataError: if a member is missing or damaged.
    """
    image_name = next((name for name in ("image.jpg", "image.png") if name in parts), None)
    missing = [name for name in _PARTS if name not in parts]
    if image_name is None or missing:
        raise DataError(
            f"{where}: lacks {', '.join(missing or ['image'])}; the shard is not one of ours or cut short"
        )
    try:
        meta = parse_json(parts["meta.json"])
        intrinsics = Intrinsics(**meta.pop("intrinsics"))
        depth = np.frombuffer(zlib.decompress(parts["depth"]), "<f2").reshape(meta.pop("shape"))
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise DataError(f"{where}: damaged depth or meta data ({error}); render the shard again") from error
    codes = _normal_codes(parts, where)
    labels = _image(parts["labels.png"], f"{where}.labels.png", cv2.IMREAD_UNCHANGED).astype(np.uint8)
    known = labels[labels != UNLABELLED]
    if known.size and known.max() >= len(CLASSES):
        raise DataError(f"{where}.labels.png: label {known.max()}, but there are only {len(CLASSES)} classes")
    return Sample(
        image=np.ascontiguousarray(
            _image(parts[image_name], f"{where}.{image_name}", cv2.IMREAD_COLOR)[..., ::-1]
        ),
        normals=_dequantised(codes),
        depth=depth.astype(np.float32),
        labels=labels,
        instances=_image(parts["instances.png"], f"{where}.instances.png", cv2.IMREAD_UNCHANGED).astype(
            np.uint16
        ),
        intrinsics=intrinsics,
        meta=meta,
    )


def _image(data: bytes, where: str, mode: int) -> npt.NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    if image is None:
        raise DataError(f"{where}: damaged image; render the shard again")
    return image


def _normal_codes(parts: Mapping[str, bytes], where: str) -> npt.NDArray[np.uint16]:
    codes = _image(parts["normals.png"], f"{where}.normals.png", cv2.IMREAD_UNCHANGED)
    if codes.dtype != np.uint16 or codes.ndim != 3:
        raise DataError(f"{where}.normals.png: not a 16-bit colour PNG; render the shard again")
    return np.asarray(codes[..., ::-1], np.uint16)


def _vectors(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """What `_quantised` coded, up to rounding."""
    return np.where(codes[..., :1] != 0, (codes.astype(np.float32) - 32768) / 32767, 0).astype(np.float32)


def _dequantised(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    valid = codes[..., :1] != 0
    vectors = codes.astype(np.float32) - 32768
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    return np.where(valid, vectors / np.maximum(length, 1), 0).astype(np.float32)


def iterate_samples(folder: Path) -> Iterator[Sample]:
    """Every sample of a folder of shards, in order.

    Raises:
        DataError: if there is no shard, or one is damaged.
    """
    for path in list_shards(folder):
        yield from read_shard(path)
