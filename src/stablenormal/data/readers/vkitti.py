"""Virtual KITTI 2 (Cabon et al., 2020): rendered streets; their normals are computed from depth.

    ROOT/Scene01/clone/frames/rgb/Camera_0/rgb_00001.jpg
    ROOT/Scene01/clone/frames/depth/Camera_0/depth_00001.png                      16-bit grey, centimetres
    ROOT/Scene01/clone/frames/classSegmentation/Camera_0/classgt_00001.png        optional, colours
    ROOT/Scene01/clone/intrinsic.txt                    frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]
    ROOT/Scene01/clone/colors.txt                       optional: Category r g b

The archives unpack into one tree; where each was unpacked into a folder of its own name
(`vkitti_2.0.3_rgb`, `vkitti_2.0.3_depth`, ...) that is found too. Depth is capped at 655.35 m, the sky.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.data.readers.source import (
    Source,
    View,
    derived_vectors,
    first_existing,
    picture,
)
from stablenormal.data.sample import CLASSES, UNLABELLED
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.normals import valid_pixels
from stablenormal.io.depth_map import read_depth_map

_PACKAGES = ("", "vkitti_2.0.3_{}", "vkitti_2.0.3_{}/vkitti_2.0.3_{}")
_WORDS = {
    "road": "road", "building": "building", "terrain": "ground", "tree": "plant", "vegetation": "plant",
    "guardrail": "object", "trafficsign": "object", "trafficlight": "object", "pole": "object",
    "misc": "object", "truck": "object", "car": "object", "van": "object", "sky": "background",
}  # fmt: skip
"""The set's classes, in lower case, in our words."""


@dataclass(frozen=True)
class _Frame:
    variant: str
    """Such as `Scene01/clone`."""
    camera: int
    number: str


@dataclass(eq=False, kw_only=True)
class VirtualKitti(Source[_Frame]):
    """Virtual KITTI 2; its root is the folder with `Scene01` and so on, or with the archives' folders."""

    reader = "vkitti"
    layout = "Scene*/*/frames/rgb/Camera_*/rgb_*.jpg"

    window: int = 7
    """Side in pixels of the plane fits; larger is smoother against the steps of 1 cm."""
    far_m: float = 200.0
    """Depth beyond which a centimetre and a pixel say nothing of the surface."""

    def find(self, root: Path) -> dict[str, _Frame]:
        """Every picture of every scene, weather and camera."""
        found = {}
        for folder in _folders(root, "rgb"):
            for path in sorted(folder.glob("Scene*/*/frames/rgb/Camera_*/rgb_*.jpg")):
                variant = path.parents[3].relative_to(folder).as_posix()
                camera, number = int(path.parent.name.removeprefix("Camera_")), path.stem[len("rgb_") :]
                found[f"{variant}/Camera_{camera}/{number}"] = _Frame(variant, camera, number)
        return found

    def read(self, entry: _Frame) -> View:
        """Fit planes to the depth."""
        image, _ = picture(self._file(entry, "rgb", f"rgb_{entry.number}.jpg"))
        depth = read_depth_map(
            self._file(entry, "depth", f"depth_{entry.number}.png"), self.convention.depth_unit_m
        )
        depth = np.where(depth < self.far_m, depth, 0).astype(np.float32)
        height, width = depth.shape
        intrinsics = self._intrinsics(entry, width, height)
        vectors = derived_vectors(depth, intrinsics, self.window)
        return View(
            image=image,
            vectors=vectors,
            valid=valid_pixels(vectors),
            depth=depth,
            labels=self._labels(entry),
            intrinsics=intrinsics,
            meta={"scene": entry.variant},
        )

    def _file(self, entry: _Frame, what: str, name: str) -> Path:
        below = f"{entry.variant}/frames/{what}/Camera_{entry.camera}/{name}"
        candidates = [folder / below for folder in _folders(self.root, what)]
        found = first_existing(*candidates)
        if found is None:
            raise DataError(f"{self.root / below}: missing; unpack vkitti_2.0.3_{what} too")
        return found

    def _text(self, entry: _Frame, name: str) -> Path | None:
        return first_existing(*(folder / entry.variant / name for folder in _folders(self.root, "textgt")))

    def _intrinsics(self, entry: _Frame, width: int, height: int) -> Intrinsics:
        path = self._text(entry, "intrinsic.txt")
        if path is None:
            raise DataError(
                f"{self.root / entry.variant}/intrinsic.txt: missing; unpack vkitti_2.0.3_textgt too"
            )
        try:
            fx, fy, cx, cy = _read_intrinsics(path)[int(entry.number), entry.camera]
        except KeyError as error:
            raise DataError(
                f"{path}: has no row of frame {int(entry.number)}, camera {entry.camera}; copy it again"
            ) from error
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return Intrinsics.from_matrix(matrix, width, height, self.convention.pixel_centre)

    def _labels(self, entry: _Frame) -> npt.NDArray[np.uint8] | None:
        below = f"frames/classSegmentation/Camera_{entry.camera}/classgt_{entry.number}.png"
        folders = _folders(self.root, "classSegmentation")
        path = first_existing(*(folder / entry.variant / below for folder in folders))
        colours = self._text(entry, "colors.txt")
        if path is None or colours is None:
            return None
        codes = picture(path)[0].astype(np.int32) @ [65536, 256, 1]
        labels = np.full(codes.shape, UNLABELLED, np.uint8)
        for colour, label in _read_colours(colours).items():
            labels[codes == colour] = label
        return labels


def _folders(root: Path, what: str) -> list[Path]:
    """Where the archive of one kind of files may have been unpacked."""
    folders = [root / package.format(what, what) for package in _PACKAGES]
    return [folder for folder in folders if folder.is_dir()]


@cache
def _read_intrinsics(path: Path) -> dict[tuple[int, int], tuple[float, float, float, float]]:
    """Frame and camera to fx, fy, cx, cy."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()[1:] if line.strip()]
        return {
            (int(row[0]), int(row[1])): (float(row[2]), float(row[3]), float(row[4]), float(row[5]))
            for row in rows
        }
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: not rows of frame, camera and four numbers; copy it again") from error


@cache
def _read_colours(path: Path) -> dict[int, int]:
    """Colour as a number to label."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()[1:] if line.strip()]
        return {
            int(row[1]) * 65536 + int(row[2]) * 256 + int(row[3]): CLASSES.index(_WORDS[row[0].lower()])
            for row in rows
            if row[0].lower() in _WORDS
        }
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: not rows of a name and a colour; copy it again") from error
