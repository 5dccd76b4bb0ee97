"""Wonder3D's six views: `rgb_000_<view>.png` and `normals_000_<view>.png`, masks in the alpha channel."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.errors import ImageReadError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import convert_frame, encode_8bit, valid_pixels
from stablenormal.io import png
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import read_image, require_size
from stablenormal.io.normal_map import read_normal_map

VIEWS = ("front", "front_right", "right", "back", "left", "front_left")


@dataclass(frozen=True, eq=False)
class View:
    """One view of a set."""

    rgb: npt.NDArray[np.float32]
    """(H, W, 3) in [0, 1], over white."""
    normals: npt.NDArray[np.float32]
    """(H, W, 3) unit or zero, axes as in the file turned to OpenGL: x right, y up, z toward the viewer."""


def read_views(folder: Path, frame: str = "opengl") -> dict[str, View]:
    """Every view of a folder that has a normal map, in Wonder3D's order.

    Args:
        folder: holds the files.
        frame: of the axes that the normals are coded in.

    Raises:
        ImageReadError, NormalMapError: if there is no view, or a file is missing or damaged.
        ImageShapeError: if a photograph and its normals differ in size.
    """
    views = {}
    for name in VIEWS:
        picture, path = view_files(folder, name)
        if not path.is_file():
            continue
        photograph = read_image(picture)
        normals = read_normal_map(path, frame, any_length=True).normals
        require_size(picture, photograph.valid.shape, path, normals.shape)
        views[name] = View(photograph.rgb, np.where(photograph.valid[..., None], normals, 0))
    if not views:
        raise ImageReadError(f"{folder}: no normals_000_<view>.png in it; name a folder that Wonder3D wrote")
    return views


def view_files(folder: Path, name: str) -> list[Path]:
    """The two files of a view."""
    return [folder / f"rgb_000_{name}.png", folder / f"normals_000_{name}.png"]


def write_view(folder: Path, name: str, view: View, frame: str = "opengl") -> list[Path]:
    """Write the two files of a view, 8 bit with the mask in the alpha channel; returns them."""
    valid = valid_pixels(view.normals)
    alpha = (valid * np.uint8(255))[..., None]
    vectors = channels_first(view.normals)[None]  # (1, 3, H, W)
    codes = channels_last(encode_8bit(convert_frame(vectors, "opengl", frame))[0])
    rgb = np.rint(np.clip(view.rgb, 0, 1) * 255).astype(np.uint8)
    files = view_files(folder, name)
    for path, colours in zip(files, (rgb, codes), strict=True):
        write_bytes(path, png.encode(np.ascontiguousarray(np.concatenate([colours, alpha], axis=-1)), {}))
    return files
