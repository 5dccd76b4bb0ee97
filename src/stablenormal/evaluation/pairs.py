"""Photographs with measured normals, and the plain folder of them."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablenormal.errors import DataError
from stablenormal.io.image import read_image
from stablenormal.io.normal_map import read_normal_map

Normals = NDArray[np.float32]

Decoder = Callable[[Path, tuple[int, int]], Normals]
"""Ground-truth file and size (H, W) of its photograph -> normals (H, W, 3), OpenGL, as long as stored, or
zero."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A photograph and its measured normals."""

    name: str
    """Path below the set's common folder, without what tells photograph and normals apart."""
    source: str
    """The group that the photograph belongs to, such as its scene."""
    image: NDArray[np.float32]
    """(H, W, 3) in [0, 1]."""
    normals: Normals
    """(H, W, 3), OpenGL, as long as they are stored (about one), zero where nothing was measured."""
    stored_8bit: bool = False
    """Whether `normals` are decoded 8-bit codes that were not normalised."""


@dataclass(frozen=True)
class Entry:
    """Where a pair lies; nothing of it is in memory."""

    name: str
    source: str
    photograph: Path
    truth: Path
    decode: Decoder
    stored_8bit: bool = False
    below_root: Path = Path()
    """Folder of the photograph below the set's root; `name` starts at the folder that all photographs
    share."""

    def load(self) -> Pair:
        """Read both files.

        Raises:
            ImageReadError, NormalMapError, DataError: if one cannot be read, the sizes differ, or nothing
            was measured.
        """
        image = read_image(self.photograph).rgb
        normals = self.decode(self.truth, image.shape[:2])
        if image.shape != normals.shape:
            raise DataError(
                f"{self.truth}: is {normals.shape[:2]}, its photograph {image.shape[:2]}; they must agree"
            )
        if not normals.any():
            raise DataError(f"{self.truth}: has no valid pixel; take the image out of the set")
        return Pair(self.name, self.source, image, normals, self.stored_8bit)


def list_folder(root: Path, frame: str = "opengl") -> list[Entry]:
    """Pairs of a plain folder: `NAME_rgb.jpg` beside `NAME_normal.png` (or .exr, .npy).

    Args:
        root: the folder; an `index.csv` with columns `id` and `source` groups the pairs.
        frame: the frame in which the normal maps are coded; a map that records another one is an error.

    Raises:
        DataError: if there is no pair, a partner is missing, or the index is damaged.
    """
    photographs = sorted(root.glob("*_rgb.*"))
    if not photographs:
        raise DataError(f"{root}: no NAME_rgb.jpg in it; give a folder of NAME_rgb.jpg and NAME_normal.png")
    sources = _read_index(root / "index.csv")
    entries = []
    for photograph in photographs:
        name = photograph.stem.removesuffix("_rgb")
        choices = [root / f"{name}_normal{ending}" for ending in (".png", ".exr", ".npy")]
        truth = next((path for path in choices if path.exists()), None)
        if truth is None:
            raise DataError(f"{choices[0]}: missing; every photograph needs its normals")
        entries.append(Entry(name, sources.get(name, name), photograph, truth, partial(_decode, frame=frame)))
    return entries


def read_pairs(root: Path, frame: str = "opengl") -> Iterator[Pair]:
    """Read every pair of a plain folder, in the order of names; see `list_folder` and `Entry.load`."""
    for entry in list_folder(root, frame):
        yield entry.load()


def _decode(path: Path, size: tuple[int, int], frame: str) -> Normals:
    return read_normal_map(path, frame=frame).normals


def _read_index(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"id", "source"} <= rows[0].keys():
        raise DataError(f"{path}: lacks the columns id and source; add them or take the file away")
    return {row["id"]: row["source"] for row in rows}
