"""MPI Sintel (Butler et al., ECCV 2012) with its depth; normals are computed from it.

    ROOT/training/final/alley_1/frame_0001.png           or clean/
    ROOT/training/depth/alley_1/frame_0001.dpt           from MPI-Sintel-depth-training
    ROOT/training/camdata_left/alley_1/frame_0001.cam

A `.dpt` is the float32 202021.25, width and height as int32, and float32 depth in rows, all little-endian. A
`.cam` is the same float32, then the 3 x 3 camera matrix and the 3 x 4 pose as float64. The depth release may
be unpacked over the images or into `MPI-Sintel-depth-training` beside `training`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.data.readers.source import (
    Depth,
    Source,
    View,
    derived_vectors,
    first_existing,
    picture,
)
from stablenormal.errors import DataError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.normals import valid_pixels

PASSES = ("final", "clean")
_TAG = np.float32(202021.25)
_DEPTH_ROOTS = ("training", "MPI-Sintel-depth-training/training")


@dataclass(frozen=True)
class _Frame:
    image: Path
    clip: str
    name: str


@dataclass(eq=False, kw_only=True)
class Sintel(Source[_Frame]):
    """MPI Sintel; its root is the folder that holds `training`."""

    reader = "sintel"
    layout = "training/final/*/frame_*.png"

    rendering: str = "final"
    """`final` (blur, haze) or `clean`."""
    window: int = 5
    """Side in pixels of the plane fits."""
    far: float = 1000.0
    """Depth from which on there is only sky and backdrop."""

    def prepare(self) -> None:
        """Refuse what is no pass, and a window without a middle."""
        if self.rendering not in PASSES:
            raise SettingError(f"Sintel has no pass '{self.rendering}'; choose one of {', '.join(PASSES)}")
        if self.window < 3 or self.window % 2 == 0:
            raise SettingError(f"Sintel's window is {self.window}; choose an odd number of 3 or more")

    def find(self, root: Path) -> dict[str, _Frame]:
        """Every frame of every clip."""
        images = sorted((root / "training" / self.rendering).glob("*/frame_*.png"))
        return {
            f"{path.parent.name}/{path.stem}": _Frame(path, path.parent.name, path.stem) for path in images
        }

    def read(self, entry: _Frame) -> View:
        """Fit planes to the depth."""
        image, _ = picture(entry.image)
        depth = read_dpt(self._file(entry, "depth", ".dpt"))
        depth = np.where(np.isfinite(depth) & (depth > 0) & (depth < self.far), depth, 0).astype(np.float32)
        height, width = depth.shape
        matrix = read_cam(self._file(entry, "camdata_left", ".cam"))
        intrinsics = Intrinsics.from_matrix(matrix, width, height, self.convention.pixel_centre)
        vectors = derived_vectors(depth, intrinsics, self.window)
        return View(
            image=image,
            vectors=vectors,
            valid=valid_pixels(vectors),
            depth=depth,
            intrinsics=intrinsics,
            meta={"scene": entry.clip},
        )

    def _file(self, entry: _Frame, what: str, ending: str) -> Path:
        candidates = [
            self.root / folder / what / entry.clip / f"{entry.name}{ending}" for folder in _DEPTH_ROOTS
        ]
        found = first_existing(*candidates)
        if found is None:
            raise DataError(f"{candidates[0]}: missing; unpack MPI-Sintel-depth-training too")
        return found


def read_dpt(path: Path) -> Depth:
    """Depth (H, W) of a `.dpt` file, in metres.

    Raises:
        DataError: if it is not one, or cut short.
    """
    data = _tagged(path)
    width, height = (int(number) for number in np.frombuffer(data, "<i4", 2))
    if min(width, height) < 1 or len(data) != 8 + 4 * width * height:
        raise DataError(f"{path}: not as long as its {width} x {height} px need; copy it again")
    return np.frombuffer(data, "<f4", offset=8).reshape(height, width).copy()


def read_cam(path: Path) -> npt.NDArray[np.float64]:
    """The 3 x 3 camera matrix of a `.cam` file.

    Raises:
        DataError: if it is not one, or cut short.
    """
    data = _tagged(path)
    if len(data) != 8 * (9 + 12):
        raise DataError(f"{path}: holds {len(data)} bytes, not a camera matrix and a pose; copy it again")
    return np.frombuffer(data, "<f8", 9).reshape(3, 3).copy()


def _tagged(path: Path) -> bytes:
    """What follows the format's tag."""
    data = path.read_bytes()
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != _TAG:
        raise DataError(f"{path}: does not begin with Sintel's tag {float(_TAG)}; copy it again")
    return data[4:]
