"""OpenEXR files as channels by name."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import OpenEXR

SIGNATURE = b"\x76\x2f\x31\x01"

Channels: TypeAlias = dict[str, npt.NDArray[Any]]


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of the data window, without reading pixels.

    Raises:
        ValueError: if the header is damaged.
    """
    low, high = _header(path)["dataWindow"]
    return int(high[0]) - int(low[0]) + 1, int(high[1]) - int(low[1]) + 1


def read(path: Path) -> tuple[Channels, dict[str, Any]]:
    """Channels (H, W) by name, in the file's own number type, and the header, of the first part.

    Raises:
        ValueError: if the file is truncated or damaged.
    """
    _header(path)
    # The library prints a warning and goes on with no pixels where a file is cut off.
    with redirect_stdout(io.StringIO()):
        try:
            with OpenEXR.File(str(path), separate_channels=True) as file:
                channels = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
                header = dict(file.header())
        except (RuntimeError, ValueError) as error:
            raise ValueError("the pixels are damaged or cut off") from error
    return channels, header


def find_channels(names: Sequence[str], spellings: Sequence[str]) -> list[str] | None:
    """Channels that spell one of `spellings`, such as "RGB", in no layer or the first layer that has all."""
    layers = ["", *sorted({name.rpartition(".")[0] + "." for name in names if "." in name})]
    for letters in spellings:
        for layer in layers:
            if all(layer + letter in names for letter in letters):
                return [layer + letter for letter in letters]
    return None


def write(path: Path, channels: Mapping[str, npt.NDArray[np.float32]], attributes: Mapping[str, str]) -> None:
    """Write float32 channels (H, W) by name, losslessly compressed (ZIP), with text attributes.

    Raises:
        OSError: if the file cannot be written.
    """
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    pixels = {name: np.ascontiguousarray(values, np.float32) for name, values in channels.items()}
    try:
        with OpenEXR.File(header, pixels) as file:
            file.write(str(path))
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _header(path: Path) -> dict[str, Any]:
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            return dict(file.header())
    except (RuntimeError, ValueError) as error:
        raise ValueError("the header is damaged or cut off") from error
