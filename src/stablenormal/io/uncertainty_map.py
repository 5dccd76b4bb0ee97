"""Uncertainty maps as files."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablenormal.errors import OutputError
from stablenormal.io import png
from stablenormal.io.atomic import write_bytes

PNG_STEPS_PER_DEGREE = 100


def write_uncertainty_map(path: Path, uncertainty_deg: NDArray[np.float32]) -> None:
    """Write angles per pixel, as 16-bit grey PNG in hundredths of a degree or as NPY in degrees.

    Args:
        path: the file; its ending, `.png` or `.npy`, chooses the kind.
        uncertainty_deg: angles (H, W) in degrees, in [0, 180].

    Raises:
        OutputError: if the ending is another, or the file cannot be written.
    """
    if path.suffix == ".npy":
        buffer = BytesIO()
        np.save(buffer, uncertainty_deg.astype(np.float32))
        write_bytes(path, buffer.getvalue())
    elif path.suffix == ".png":
        steps = np.rint(np.clip(uncertainty_deg, 0, 180) * PNG_STEPS_PER_DEGREE).astype(np.uint16)
        write_bytes(path, png.encode(steps, {}))
    else:
        raise OutputError(f"{path}: an uncertainty map is .png or .npy; change the ending")
