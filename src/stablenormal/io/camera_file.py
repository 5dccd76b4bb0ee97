"""Camera matrices as files."""

from pathlib import Path

import numpy as np

from stablenormal.errors import ImageReadError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io.array_file import parse_array
from stablenormal.io.source import load_bytes, text_of


def read_camera_matrix(path: Path | str, width: int, height: int, pixel_centre: float = 0.5) -> Intrinsics:
    """Read a 3 x 3 camera matrix: NPY, or text with blanks or commas.

    Args:
        path: the file.
        width: columns of the picture.
        height: rows of the picture.
        pixel_centre: as in `Intrinsics.from_matrix`.

    Raises:
        ImageReadError: if the file is missing or holds no numbers.
        SettingError: if the matrix is not that of a camera.
    """
    path = Path(path)
    data = load_bytes(path, ImageReadError)
    try:
        if path.suffix.lower() == ".npy":
            matrix = parse_array(data).astype(np.float64)
        else:
            matrix = np.loadtxt(text_of(data).replace(",", " ").splitlines(), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ImageReadError(f"{path}: not a camera matrix; write three rows of three numbers") from error
    try:
        camera = Intrinsics.from_matrix(matrix, width, height, pixel_centre).plausible()
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error
    other = camera.other_size()
    if other is not None:
        raise SettingError(
            f"{path}: its principal point is in the middle of {other[0]} x {other[1]} px, the picture is "
            f"{width} x {height} px; scale the matrix to the picture"
        )
    return camera
