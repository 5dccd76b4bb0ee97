"""A folder of photographs with measured normals: `NAME_rgb.jpg` beside `NAME_normal.png`."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablenormal.errors import DataError
from stablenormal.io.image import read_image
from stablenormal.io.normal_map import read_normal_map


@dataclass(frozen=True)
class Pair:
    """A photograph and its measured normals.

    Attributes:
        name: what stands before `_rgb`.
        source: the set it comes from; its name where the folder's `index.csv` has none.
        image: (H, W, 3) in [0, 1].
        normals: (H, W, 3), OpenGL, unit length or zero where nothing was measured.
    """

    name: str
    source: str
    image: NDArray[np.float32]
    normals: NDArray[np.float32]


def read_pairs(root: Path, frame: str = "opengl") -> Iterator[Pair]:
    """Read every pair of a folder, in the order of names.

    Args:
        root: the folder; an `index.csv` with columns `id` and `source` groups the pairs.
        frame: the frame in which the normal maps are coded.

    Raises:
        DataError: if there is no pair, a partner is missing or the sizes differ.
    """
    photographs = sorted(root.glob("*_rgb.*"))
    if not photographs:
        raise DataError(f"{root}: no NAME_rgb.jpg in it; give a folder of NAME_rgb.jpg and NAME_normal.png")
    sources: dict[str, str] = {}
    if (root / "index.csv").exists():
        with (root / "index.csv").open(newline="") as file:
            sources = {row["id"]: row["source"] for row in csv.DictReader(file)}
    for photograph in photographs:
        name = photograph.stem.removesuffix("_rgb")
        truth = root / f"{name}_normal.png"
        if not truth.exists():
            raise DataError(f"{truth}: missing; every photograph needs its normals")
        image, normals = read_image(photograph).rgb, read_normal_map(truth, frame=frame).normals
        if image.shape != normals.shape:
            raise DataError(
                f"{truth}: is {normals.shape[:2]}, its photograph {image.shape[:2]}; they must agree"
            )
        yield Pair(name, sources.get(name, name), image, normals)
