"""Arrays on disk: read with one kind of error, or written in place with their space reserved beforehand."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stablenormal.errors import OutputError
from stablenormal.io.atomic import reason


def parse_array(data: bytes) -> NDArray[Any]:
    """The array of an `.npy` file.

    Raises:
        ValueError: if the bytes are damaged, an archive, or hold Python objects.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # the header is parsed as Python: a damaged one raises what a parser raises
        raise ValueError(f"not a readable NPY file ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of arrays, not one array")
    return array


def map_array(path: Path) -> "np.memmap[Any, Any]":
    """The array of an `.npy` file, left on the disk.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is damaged.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # as above
        raise ValueError(f"{path.name}: not a readable NPY file ({error})") from error


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
