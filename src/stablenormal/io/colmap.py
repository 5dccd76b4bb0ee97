"""COLMAP's sparse models, text and binary.

Source: COLMAP's documentation, "Output format": cameras (model, size, parameters), images (pose from world to
OpenCV camera, keypoints with their 3D points), points3D. COLMAP's own Python package brings its whole
reconstruction with it, and reading needs none of that.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from stablenormal.errors import SceneError, StableNormalError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import Array, Distortion, PosedCamera, pose_from_colmap
from stablenormal.io.scene import Indices, PosedScene, SceneView, result_names, without_ending
from stablenormal.io.search import named_path
from stablenormal.io.source import text_of

T = TypeVar("T")

_MODEL_NAMES = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV",
    "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE",
)  # fmt: skip
"""By the number that binary files use."""

_PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
}
"""What the parameters of each supported model mean, in order."""


@dataclass(frozen=True, eq=False)
class _Image:
    """One row of images.txt."""

    name: str
    camera: int
    pose: Array
    point_ids: Indices
    """(K,) of the matched points."""


_Cameras = dict[int, tuple[Intrinsics, Distortion]]
_Points = tuple[Indices, Array]
"""Identifiers (N,) and places (N, 3)."""


def colmap_folder(path: Path) -> Path | None:
    """The folder of the model in a scene's folder, or None."""
    for folder in (path, path / "sparse" / "0", path / "sparse", path / "colmap" / "sparse" / "0"):
        if any((folder / f"cameras{ending}").is_file() for ending in (".bin", ".txt")):
            return folder
    return None


def read_colmap(path: Path, model: Path, images: Path | None) -> PosedScene:
    """Read a model; `stablenormal.io.scene_formats.read_scene` does it for any scene.

    Args:
        path: the scene's folder.
        model: folder of the model's files.
        images: folder of the photographs; None: `images` in the scene's folder.

    Raises:
        SceneError: if a file is missing or damaged, or a camera model is not supported.
    """
    cameras: _Cameras = _read(model, "cameras", _cameras_from_text, _cameras_from_binary)
    rows: list[_Image] = _read(model, "images", _images_from_text, _images_from_binary)
    ids, places = _read(model, "points3D", _points_from_text, _points_from_binary, _no_points())
    folder = path / "images" if images is None else images
    order = np.argsort(ids)
    views = []
    for row, name in zip(rows, result_names([row.name for row in rows]), strict=True):
        if row.camera not in cameras:
            raise SceneError(f"{model}: image {row.name} has camera {row.camera}, which does not exist")
        intrinsics, distortion = cameras[row.camera]
        views.append(
            SceneView(
                name=without_ending(name),
                image=named_path(folder, row.name),
                camera=PosedCamera(intrinsics, row.pose),
                distortion=distortion,
                points=_rows_of(row.point_ids, ids, order) if len(ids) else None,
            )
        )
    files = tuple(
        file
        for stem in ("cameras", "images", "points3D")
        for ending in (".bin", ".txt")
        if (file := model / f"{stem}{ending}").is_file()
    )
    return PosedScene(path, "colmap", tuple(views), places if len(ids) else None, described_by=files)


def _rows_of(wanted: Indices, ids: Indices, order: Indices) -> Indices:
    place = np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)
    found = order[place]
    return np.unique(found[ids[found] == wanted])


def _no_points() -> _Points:
    return np.zeros(0, np.int64), np.zeros((0, 3))


def _read(
    model: Path,
    stem: str,
    from_text: Callable[[list[str]], T],
    from_binary: Callable[["_Cursor"], T],
    default: T | None = None,
) -> T:
    """The binary file if there is one, else the text file, else the default."""
    binary, text = model / f"{stem}.bin", model / f"{stem}.txt"
    path = binary if binary.is_file() else text
    if not path.is_file():
        if default is not None:
            return default
        raise SceneError(f"{model}: {stem}.bin and {stem}.txt are both missing; export the model again")
    try:
        if path == binary:
            return from_binary(_Cursor(binary.read_bytes()))
        return from_text(text_of(text.read_bytes()).splitlines())
    except StableNormalError as error:
        raise SceneError(f"{path}: {error}") from error
    except (ValueError, OverflowError, IndexError, KeyError, struct.error, OSError) as error:
        raise SceneError(f"{path}: damaged ({error}); export the model again") from error


class _Cursor:
    """Little-endian numbers, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, layout: str) -> tuple[float, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._place)
        self._place += struct.calcsize("<" + layout)
        return values

    def count(self) -> int:
        return int(self.take("Q")[0])

    def text(self) -> str:
        end = self._data.index(b"\0", self._place)
        found = self._data[self._place : end].decode("utf-8", "surrogateescape")
        self._place = end + 1
        return found

    def records(self, dtype: np.dtype[np.void], count: int) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
        if count > (len(self._data) - self._place) // dtype.itemsize:
            raise ValueError(f"it announces {count} records, which it does not have")
        found = np.frombuffer(self._data, dtype, count, self._place)
        self._place += found.nbytes
        return found


def _camera(model: str, width: int, height: int, numbers: tuple[float, ...]) -> tuple[Intrinsics, Distortion]:
    if model not in _PARAMETERS:
        raise SceneError(
            f"camera model {model} is not supported, only {', '.join(_PARAMETERS)}; "
            "undistort the images with COLMAP's image_undistorter first"
        )
    meaning = _PARAMETERS[model]
    if len(numbers) != len(meaning):
        raise SceneError(f"a {model} camera has {len(meaning)} parameters, got {len(numbers)}")
    named = dict(zip(meaning, numbers, strict=True))
    fx, fy = named.get("fx", named.get("f")), named.get("fy", named.get("f"))
    assert fx is not None and fy is not None, "every model has focal lengths"
    bent = {name: value for name, value in named.items() if name[0] in "kp"}
    return Intrinsics(fx, fy, named["cx"], named["cy"], width, height), Distortion(**bent)


def _rows(lines: list[str]) -> Iterator[list[str]]:
    for line in lines:
        if line.strip() and not line.startswith("#"):
            yield line.split()


def _cameras_from_text(lines: list[str]) -> _Cameras:
    return {
        int(row[0]): _camera(row[1], int(row[2]), int(row[3]), tuple(float(word) for word in row[4:]))
        for row in _rows(lines)
    }


def _cameras_from_binary(cursor: _Cursor) -> _Cameras:
    cameras = {}
    for _ in range(cursor.count()):
        number, model, width, height = (int(value) for value in cursor.take("iiQQ"))
        name = _MODEL_NAMES[model] if 0 <= model < len(_MODEL_NAMES) else f"number {model}"
        count = len(_PARAMETERS.get(name, ()))
        cameras[number] = _camera(name, width, height, cursor.take(f"{count}d"))
    return cameras


def _images_from_text(lines: list[str]) -> list[_Image]:
    """Two lines an image; the second, of keypoints, may be empty."""
    content = [line for line in lines if not line.startswith("#")]
    while content and not content[0].strip():
        content.pop(0)
    images = []
    for place in range(0, len(content), 2):
        words = content[place].split(maxsplit=9)
        if not words:
            break
        numbers = np.array(words[1:8], np.float64)
        keypoints = content[place + 1].split() if place + 1 < len(content) else []
        ids = np.array(keypoints[2::3], np.int64)
        pose = pose_from_colmap(numbers[:4], numbers[4:])
        images.append(_Image(words[9].strip(), int(words[8]), pose, ids[ids >= 0]))
    return images


_KEYPOINT = np.dtype([("u", "<f8"), ("v", "<f8"), ("point", "<i8")])


def _images_from_binary(cursor: _Cursor) -> list[_Image]:
    images = []
    for _ in range(cursor.count()):
        _, *numbers, camera = cursor.take("i7di")
        name = cursor.text()
        ids = cursor.records(_KEYPOINT, cursor.count())["point"].astype(np.int64)
        pose = pose_from_colmap(np.array(numbers[:4]), np.array(numbers[4:]))
        images.append(_Image(name, int(camera), pose, ids[ids >= 0]))
    return images


def _points_from_text(lines: list[str]) -> _Points:
    rows = [row[:4] for row in _rows(lines)]
    if not rows:
        return _no_points()
    return np.array([int(row[0]) for row in rows]), np.array([row[1:4] for row in rows], np.float64)


def _points_from_binary(cursor: _Cursor) -> _Points:
    ids, places = [], []
    for _ in range(cursor.count()):
        number, x, y, z, *_ = cursor.take("Q3d3Bd")
        cursor.take(f"{2 * cursor.count()}i")
        ids.append(int(number))
        places.append((x, y, z))
    return np.array(ids, np.int64), np.array(places, np.float64).reshape(-1, 3)
