"""OASIS's ground-truth files: a pickled dictionary of a box and the normals in it, read without running code.

    min_y, max_y, min_x, max_x   first and last row and column of the box, in pixels of the photograph
    normal                       float (rows, columns, 3)

A pickle can name any function and have it called. Ours may name only what numpy needs to rebuild plain
arrays.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray
from numpy.typing import NDArray

from stablenormal.errors import DataError, NormalMapError
from stablenormal.io.source import load_bytes

_BOX = ("min_y", "max_y", "min_x", "max_x")


@dataclass(frozen=True, eq=False)
class Region:
    """A rectangle of normals."""

    top: int
    """First row."""
    left: int
    """First column."""
    normals: NDArray[np.float32]
    """(rows, columns, 3) as stored."""


def read_region(path: Path) -> Region:
    """Read a ground-truth file.

    Raises:
        DataError: if it is no pickle of plain arrays and numbers, or box and region do not fit each other.
    """
    content = _load(path)
    if not isinstance(content, dict) or not {*_BOX, "normal"} <= content.keys():
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: expected {', '.join(_BOX)} and normal, found {found}; copy the set again")
    try:
        top, bottom, left, right = (int(content[key]) for key in _BOX)
        normals = np.asarray(content["normal"], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: its box or region holds no numbers; copy the set again") from error
    # The last row and column belong to the box.
    if min(top, left) < 0 or normals.shape != (bottom - top + 1, right - left + 1, 3):
        raise DataError(
            f"{path}: a region {normals.shape} does not fit its box, rows {top} to {bottom}, "
            f"columns {left} to {right}; copy the set again"
        )
    return Region(top, left, normals)


def _load(path: Path) -> object:
    data = load_bytes(path, NormalMapError)
    try:
        return _PlainUnpickler(
            io.BytesIO(data), encoding="latin1"
        ).load()  # Python 2 wrote arrays as such text
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        EOFError,
    ) as error:
        raise DataError(
            f"{path}: not a pickle of plain arrays ({error}); it was not opened further"
        ) from error


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` does in pickles of protocol 2: bytes written as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding}")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, kind: np.dtype[Any], shape: tuple[int, ...], order: str) -> NDArray[Any]:
    """What numpy's function of this name does in pickles of protocol 5."""
    if order not in ("C", "F"):
        raise pickle.UnpicklingError(f"order {order}")
    return np.frombuffer(buffer, kind).reshape(shape, order="C" if order == "C" else "F")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): multiarray._reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): multiarray.scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Refuse every name that plain arrays do not need."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]
