"""Arrays on disk that are written in place, with their space reserved beforehand."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from stablenormal.errors import OutputError
from stablenormal.io.atomic import reason


def create_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """Make an `.npy` file of this shape, filled with zeros, as a writable memory map.

    The disk's space is taken at once: a memory map on a disk that fills up later would end the process.

    Raises:
        OutputError: if there is no space, or the file cannot be made.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        descriptor = os.open(path, os.O_RDWR)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, path.stat().st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    return array
