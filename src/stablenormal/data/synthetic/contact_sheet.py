"""A picture of many samples at once, to look at before training on them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stablenormal.data.sample import Sample


def contact_sheet(samples: Sequence[Sample], columns: int = 8) -> npt.NDArray[np.uint8]:
    """Photographs over their normals (x, y, z as red, green, blue; black without a surface), in rows."""
    tiles = [np.vstack([sample.image, normal_colours(sample.normals)]) for sample in samples]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def normal_colours(normals: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Normals (H, W, 3) as display colours, black where they are zero."""
    valid = (normals != 0).any(-1, keepdims=True)
    return np.where(valid, np.rint((normals + 1) * 127.5), 0).astype(np.uint8)
