"""A picture of many samples at once, to look at before training on them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.data.sample import Sample
from stablenormal.data.shards import list_shards, read_shard
from stablenormal.geometry.normals import valid_pixels

Image = npt.NDArray[np.uint8]
STRIDE = 8
"""Samples from one to the next on a sheet of a large corpus: mostly another scene."""


def contact_sheet(samples: Sequence[Sample], columns: int = 4) -> Image:
    """Photograph, normals and depth side by side for each sample, in rows of `columns` samples."""
    tiles = [
        np.hstack([sample.image, normal_colours(sample.normals), depth_colours(sample.depth)])
        for sample in samples
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def normal_colours(normals: npt.NDArray[np.float32]) -> Image:
    """Normals (H, W, 3) as display colours: x, y, z as red, green, blue; black where they are zero."""
    valid = valid_pixels(normals)[..., None]
    return np.where(valid, np.rint((normals + 1) * 127.5), 0).astype(np.uint8)


def depth_colours(depth: npt.NDArray[np.float32]) -> Image:
    """Depth (H, W) as display colours, near yellow to far blue by its inverse; black where it is zero."""
    valid = depth > 0
    if not valid.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    nearness = np.zeros(depth.shape)
    nearness[valid] = 1 / depth[valid]
    low, high = np.percentile(nearness[valid], [1, 99])
    level = np.clip((nearness - low) / max(float(high - low), 1e-9), 0, 1)
    coloured = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_CIVIDIS)[..., ::-1]
    return np.where(valid[..., None], coloured, 0).astype(np.uint8)


def spread_samples(folder: Path, count: int) -> Iterator[Sample]:
    """Up to `count` samples from all over the shards of a folder, from as many scenes as possible.

    Raises:
        DataError: if there is no shard, or one is damaged.
    """
    shards = list_shards(folder)
    chosen = [shards[index] for index in np.unique(np.linspace(0, len(shards) - 1, count).astype(int))]
    left = count
    for number, shard in enumerate(chosen):
        wanted = -(-left // (len(chosen) - number))
        found = list(islice(read_shard(shard), STRIDE * wanted))
        step = max(1, min(STRIDE, len(found) // wanted))
        for sample in found[::step][:wanted]:
            left -= 1
            yield sample
