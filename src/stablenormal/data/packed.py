"""A corpus unpacked into memory-mapped arrays, so that training never waits for decoding."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablenormal.data.sample import Sample
from stablenormal.errors import DataError
from stablenormal.io.array_file import create_array, map_array
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.plain_values import parse_json

_NORMAL_SCALE = 32767.0
_ARRAYS = ("images", "normals", "labels")
_FOCAL = "focal_lengths"
_OFF_CENTRE = 0.02
"""Share of the side by which a principal point may miss the middle, and by which pixels may be no squares."""


@dataclass(frozen=True)
class PackedCorpus:
    """Images, normals and labels of one size, as memory maps.

    Attributes:
        images: (N, S, S, 3) uint8, sRGB.
        normals_coded: (N, S, S, 3) int16, normal x 32767 in the OpenGL frame, zero where invalid.
        labels: (N, S, S) uint8 class ids.
        kinds: (N,) the scene kind of each sample.
        focal_lengths: (N,) float32, over the side of the image; None in corpora of earlier versions.
    """

    images: NDArray[np.uint8]
    normals_coded: NDArray[np.int16]
    labels: NDArray[np.uint8]
    kinds: tuple[str, ...]
    focal_lengths: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[1])

    def normals(self, index: Any) -> NDArray[np.float32]:
        """Normals (..., 3) of any numpy index into (N, S, S, 3): unit length to 1e-4, or exactly zero."""
        return np.asarray(self.normals_coded[index], np.float32) / _NORMAL_SCALE

    def view(
        self, sample: int | np.int64, window: tuple[slice, slice]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
        """Image, normals and labels in rows and columns of one sample."""
        place = (sample, *window)
        return self.images[place], self.normals(place), self.labels[place]


def pack_corpus(samples: Iterable[Sample], folder: Path, count: int) -> PackedCorpus:
    """Write `count` samples of one size into `folder` and open them.

    Args:
        samples: square samples, all of the first one's size.
        folder: target; complete once `corpus.json` is in it.
        count: how many samples to take.

    Raises:
        DataError: if a sample has another size, or fewer than `count` arrive.
        OutputError: if the disk has no space for them, or files there are not of an earlier corpus.
    """
    written = OutputFolder(folder, chosen_by="out")
    index, arrays = folder / "corpus.json", [folder / f"{name}.npy" for name in (*_ARRAYS, _FOCAL)]
    if not (_is_corpus(index) or written.made(index)):
        written.check([index, *arrays])
    for file in (index, *arrays):  # of an earlier corpus
        file.unlink(missing_ok=True)
    try:
        with written.writing([index]):
            return _pack(samples, folder, count)
    except BaseException:
        for file in arrays:
            file.unlink(missing_ok=True)
        raise


def _is_corpus(index: Path) -> bool:
    """Whether this is what `pack_corpus` writes last."""
    try:
        return set(parse_json(index.read_text())) == {"count", "kinds"}
    except (OSError, ValueError, TypeError):
        return False


def _pack(samples: Iterable[Sample], folder: Path, count: int) -> PackedCorpus:
    kinds, focal = list[str](), list[float]()
    images = normals = labels = None
    for sample in samples:
        size = sample.image.shape[0]
        if images is None or normals is None or labels is None:
            images = create_array(folder / "images.npy", np.uint8, (count, size, size, 3))
            normals = create_array(folder / "normals.npy", np.int16, (count, size, size, 3))
            labels = create_array(folder / "labels.npy", np.uint8, (count, size, size))
        if sample.image.shape != images.shape[1:]:
            raise DataError(f"sample {len(kinds)} is {sample.image.shape}, the corpus is {images.shape[1:]}")
        images[len(kinds)] = sample.image
        normals[len(kinds)] = np.round(sample.normals * _NORMAL_SCALE)
        labels[len(kinds)] = sample.labels
        kinds.append(str(sample.meta.get("kind", "")))
        focal.append(_focal_length(sample))
        if len(kinds) == count:
            break
    if images is None or normals is None or labels is None or len(kinds) < count:
        raise DataError(f"{folder}: wanted {count} samples, the source gave {len(kinds)}")
    for array in (images, normals, labels):
        array.flush()
    np.save(folder / f"{_FOCAL}.npy", np.array(focal, np.float32))
    (folder / "corpus.json").write_text(json.dumps({"count": count, "kinds": kinds}))
    return open_corpus(folder)


def _focal_length(sample: Sample) -> float:
    """Over the image's side, of a camera whose axis meets the middle of the picture; NaN of another one."""
    camera, side = sample.intrinsics, sample.image.shape[0]
    off = max(abs(camera.cx / camera.width - 0.5), abs(camera.cy / camera.height - 0.5))
    if off > _OFF_CENTRE or abs(camera.fx / camera.fy - 1) > _OFF_CENTRE:
        return float("nan")
    return float(camera.fx / side)


def open_corpus(folder: Path) -> PackedCorpus:
    """Open a folder written by `pack_corpus`.

    Raises:
        DataError: if the folder is not a complete packed corpus.
    """
    try:
        kinds = parse_json((folder / "corpus.json").read_text())["kinds"]
        images, normals, labels = (map_array(folder / f"{name}.npy") for name in _ARRAYS)
        has_focal = (folder / f"{_FOCAL}.npy").is_file()
        focal_lengths = np.array(map_array(folder / f"{_FOCAL}.npy")) if has_focal else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: not a packed corpus ({error}); write it with `stablenormal pack`"
        ) from error
    lengths = [len(array) for array in (images, normals, labels, focal_lengths) if array is not None]
    if any(length != len(kinds) for length in lengths):
        raise DataError(f"{folder}: its arrays differ in length; pack it again")
    return PackedCorpus(images, normals, labels, tuple(kinds), focal_lengths)
