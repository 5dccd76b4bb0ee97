"""Renders of single objects, such as Objaverse's, with cameras in `transforms.json` (as NeRF and Blender).

    ROOT/OBJECT/transforms.json           or transforms_train.json and so on; searched in all folders
    ROOT/OBJECT/r_0.png                   RGBA: transparent is no surface
    ROOT/OBJECT/r_0_normal.exr            or .png (8 or 16 bit), .npy; also r_0_normal_0001.*
    ROOT/OBJECT/r_0_depth.exr             optional, grey, along the axis; also r_0_depth_0001.exr

    transforms.json: {"camera_angle_x": radians, or "fl_x", "fl_y", "cx", "cy", "w", "h";
      "frames": [{"file_path": "./r_0", "transform_matrix": 4 x 4 camera-to-world, OpenGL camera axes;
                  optional "normal_path", "depth_path"}, ...]}

Normals are in world axes unless `frame` says otherwise. There is no standard: other exporters need other
names, which `normal_path` and `depth_path` can give.
"""

from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stablenormal.data.readers.source import (
    MeasuredSource,
    View,
    first_existing,
    picture,
    stored_vectors,
    surface_flags,
)
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io.plain_values import parse_json
from stablenormal.io.search import files_below

_IMAGE_ENDINGS = ("", ".png", ".jpg", ".webp")
_NORMAL_ENDINGS = (".exr", ".png", ".npy")


@dataclass(frozen=True)
class _Frame:
    folder: Path
    image: Path
    facts: dict[str, Any] = field(hash=False)
    """The frame's entry."""
    camera: dict[str, Any] = field(hash=False)
    """What all frames of the file share."""


@dataclass(eq=False, kw_only=True)
class Objaverse(MeasuredSource[_Frame]):
    """Object renders; their root is searched for `transforms*.json`."""

    reader = "objaverse"
    layout = "**/transforms*.json with frames"

    def find(self, root: Path) -> dict[str, _Frame]:
        """Every frame of every `transforms*.json`."""
        found = {}
        for path in files_below(root, "transforms*.json"):
            try:
                content = dict(parse_json(path.read_text()))
                frames = [dict(frame) for frame in content.pop("frames")]
                stems = [path.parent / frame["file_path"] for frame in frames]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}: not cameras with frames and file_path; export it again") from error
            for stem, facts in zip(stems, frames, strict=True):
                image = first_existing(*(Path(f"{stem}{ending}") for ending in _IMAGE_ENDINGS))
                image = image or stem.with_suffix(".png")  # missing: reading it says so
                key = Path(relpath(image.with_suffix(""), root)).as_posix()  # it may lie anywhere
                found[key] = _Frame(path.parent, image, facts, content)
        return found

    def read(self, entry: _Frame) -> View:
        """Picture, normals turned into the camera's axes, and depth."""
        image, opaque = picture(entry.image)
        rotation = _rotation(entry) if self.frame == "world" else None
        turn = None if rotation is None else torch.from_numpy(rotation)
        vectors = stored_vectors(self._normals(entry), self.frame, turn)
        return View(
            image=image,
            vectors=vectors,
            valid=surface_flags(vectors, opaque, None),
            depth=self.depth(_named(entry, "depth", (".exr", ".npy"))),
            intrinsics=_intrinsics(entry, image.shape[1], image.shape[0]),
            meta={"scene": entry.folder.name, "kind": "object"},
        )

    def _normals(self, entry: _Frame) -> Path:
        path = _named(entry, "normal", _NORMAL_ENDINGS)
        if path is None:
            raise DataError(
                f"{entry.image.with_suffix('')}_normal.exr: missing (also .png, .npy, or normal_path in the "
                "transforms); export the normals too"
            )
        return path


def _named(entry: _Frame, what: str, endings: tuple[str, ...]) -> Path | None:
    """The file of normals or depth: named by the frame, or beside the picture."""
    if f"{what}_path" in entry.facts:
        return entry.folder / str(entry.facts[f"{what}_path"])
    stem = entry.image.with_suffix("")
    return first_existing(
        *(Path(f"{stem}_{what}{number}{ending}") for number in ("", "_0001") for ending in endings)
    )


def _rotation(entry: _Frame) -> npt.NDArray[np.float64]:
    """Camera-to-world without its scale."""
    matrix = np.asarray(entry.facts["transform_matrix"], np.float64)[:3, :3]
    rotation: npt.NDArray[np.float64] = matrix / np.linalg.norm(matrix, axis=0)
    return rotation


def _intrinsics(entry: _Frame, width: int, height: int) -> Intrinsics | None:
    facts = entry.camera | entry.facts
    if "fl_x" in facts:
        focal_x, focal_y = float(facts["fl_x"]), float(facts.get("fl_y", facts["fl_x"]))
        full_width, full_height = int(facts.get("w", width)), int(facts.get("h", height))
        cx, cy = float(facts.get("cx", full_width / 2)), float(facts.get("cy", full_height / 2))
        return Intrinsics(focal_x, focal_y, cx, cy, full_width, full_height).resize(width, height)
    if "camera_angle_x" in facts:
        return Intrinsics.from_fov(float(np.degrees(facts["camera_angle_x"])), width, height)
    return None
