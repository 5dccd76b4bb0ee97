"""Hypersim (Roberts et al., ICCV 2021): path-traced rooms in HDF5.

    ROOT/ai_001_001/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5              (H, W, 3) linear light
    ROOT/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.normal_cam.hdf5      (H, W, 3)
                                                      frame.0000.normal_bump_cam.hdf5 (H, W, 3), with bumps
                                                      frame.0000.depth_meters.hdf5    (H, W)
                                                      frame.0000.render_entity_id.hdf5 (H, W), -1 is nothing
                                                      frame.0000.semantic.hdf5        (H, W), NYU40, optional
                                                      frame.0000.semantic_instance.hdf5 (H, W), optional
    ROOT/metadata_camera_parameters.csv           optional; or contrib/mikeroberts3000/ below ROOT
    ROOT/metadata_images_split_scene_v1.csv       optional; then only images of the public release are taken

Each HDF5 file has one array, `dataset`. Normals are in the camera's axes: x right, y up, z away from where it
looks. `depth_meters` is the distance to the camera's centre, not depth. Cameras of some scenes are shifted
and tilted: `M_cam_from_uv` of the table takes (u, v, 1), both in [-1, 1], v up, to a point on the pixel's
ray. It is factored into a rotation and an upper triangle (QR); the rotation turns normals into the axes of
the image plane, in which the camera is a pinhole. Without the table the release's usual camera is taken: 60
degrees wide, no tilt.
"""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stablenormal.data.readers.source import (
    Flags,
    Image,
    Source,
    View,
    distance_to_depth,
    first_existing,
    to_opengl,
)
from stablenormal.data.sample import CLASSES, UNLABELLED
from stablenormal.errors import DataError, SettingError
from stablenormal.geometry.camera import Intrinsics

USUAL_FOV_DEG = 60.0
"""Of a scene without a row in the camera table."""

_TABLES = ("metadata_camera_parameters.csv", "contrib/mikeroberts3000/metadata_camera_parameters.csv")
_SPLIT = "metadata_images_split_scene_v1.csv"
_NYU40 = {
    1: "wall", 2: "floor", 3: "cabinet", 4: "bed", 5: "chair", 6: "sofa", 7: "table", 8: "door", 9: "window",
    10: "shelf", 11: "picture", 12: "table", 13: "curtain", 14: "table", 15: "shelf", 16: "curtain",
    17: "cabinet", 18: "object", 20: "rug", 22: "ceiling", 23: "book", 24: "cabinet", 25: "object",
    27: "object", 28: "curtain", 29: "object", 30: "picture", 32: "cabinet", 33: "object", 34: "object",
    35: "lamp", 36: "object", 37: "object", 39: "object", 40: "object",
}  # fmt: skip
"""NYU40 class numbers in our words; those left out have none."""

# The release's tone mapping (dataset_generate_images_tonemap.py): the 90th percentile of brightness goes to
# 0.8 of full scale after a gamma of 1 / 2.2.
_BRIGHT_PERCENTILE, _BRIGHT_TARGET, _GAMMA, _DARKEST = 90, 0.8, 1 / 2.2, 1e-4
_LUMA = np.array([0.3, 0.59, 0.11], np.float32)


@dataclass(frozen=True)
class CameraModel:
    """A camera of the table as a pinhole, and how it is turned against the axes of the normals."""

    intrinsics: Intrinsics
    plane_from_camera: npt.NDArray[np.float64]
    """Rotation (3, 3) from the camera's axes to those of its image plane."""
    tilt_deg: float
    """Angle between the camera's axis and the image plane's."""
    skew: float
    """How far the pixel grid is from right angles, as a part of the focal length; a pinhole has none."""


@dataclass(frozen=True)
class _Frame:
    scene: str
    images: Path
    camera: str
    number: str

    def geometry(self, what: str) -> Path:
        return self.images / f"scene_{self.camera}_geometry_hdf5" / f"frame.{self.number}.{what}.hdf5"

    @property
    def color(self) -> Path:
        return self.images / f"scene_{self.camera}_final_hdf5" / f"frame.{self.number}.color.hdf5"


@dataclass(eq=False, kw_only=True)
class Hypersim(Source[_Frame]):
    """Hypersim; its root is the folder with the scenes, `ai_VVV_NNN`."""

    reader = "hypersim"
    layout = "ai_*/images/scene_cam_*_final_hdf5/frame.*.color.hdf5"

    bump: bool = False
    """Take `normal_bump_cam`, the shading normals with bump maps, in place of `normal_cam`."""
    split: str | None = None
    """`train`, `val` or `test` of the split table."""
    cameras: Path | str | None = None
    """The table of cameras, if it lies elsewhere."""

    def prepare(self) -> None:
        """Read the table of cameras."""
        usual = first_existing(*(self.root / name for name in _TABLES))
        table = Path(self.cameras) if self.cameras else usual
        self._cameras = _read_cameras(table) if table else {}

    def find(self, root: Path) -> dict[str, _Frame]:
        """Frames of every scene and camera; of the split if one was asked for."""
        listed = _read_split(root / _SPLIT, self.split)
        found = {}
        for color in sorted(root.glob("*/images/scene_cam_*_final_hdf5/frame.*.color.hdf5")):
            scene, camera = color.parents[2].name, color.parent.name[len("scene_") : -len("_final_hdf5")]
            number = color.name.split(".")[1]
            if listed is None or (scene, camera, int(number)) in listed:
                key = f"{scene}/{camera}/frame.{number}"
                found[key] = _Frame(scene, color.parents[1], camera, number)
        return found

    def read(self, entry: _Frame) -> View:
        """Tone map the colours, turn the normals to the image plane, and the distances to depth."""
        entities = _array(entry.geometry("render_entity_id"))
        linear, valid = _array(entry.color).astype(np.float32), entities != -1
        vectors = _array(entry.geometry("normal_bump_cam" if self.bump else "normal_cam"))
        distance = _array(entry.geometry("depth_meters")).astype(np.float32)
        height, width = linear.shape[:2]
        camera = self._camera(entry.scene, width, height)
        turned = to_opengl(vectors.astype(np.float32), self.frame) @ camera.plane_from_camera.T.astype(
            np.float32
        )
        known = np.where(np.isfinite(distance) & (distance > 0), distance, 0).astype(np.float32)
        labels, instances = self._objects(entry, entities)
        return View(
            image=tone_mapped(linear, valid),
            vectors=turned,
            valid=valid & (known > 0) if valid.shape == known.shape else valid,
            depth=distance_to_depth(known, camera.intrinsics),
            labels=labels,
            instances=instances,
            intrinsics=camera.intrinsics,
            meta={"scene": entry.scene, "tilt_deg": camera.tilt_deg, "skew": camera.skew},
        )

    def _camera(self, scene: str, width: int, height: int) -> CameraModel:
        if scene in self._cameras:
            return camera_model(self._cameras[scene], width, height)
        return CameraModel(Intrinsics.from_fov(USUAL_FOV_DEG, width, height), np.eye(3), 0.0, 0.0)

    def _objects(
        self, entry: _Frame, entities: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.uint8] | None, npt.NDArray[np.uint16]]:
        """Labels, where the set has them, and object numbers."""
        instances = np.where(entities < 0, 0, entities % 65535 + 1).astype(np.uint16)
        path = entry.geometry("semantic")
        if not path.is_file():
            return None, instances
        words = np.full(256, UNLABELLED, np.uint8)
        for number, word in _NYU40.items():
            words[number] = CLASSES.index(word)
        return words[np.clip(_array(path), 0, 255).astype(np.int64)], instances


def camera_model(m_cam_from_uv: npt.NDArray[np.float64], width: int, height: int) -> CameraModel:
    """A pinhole camera from the release's matrix.

    Args:
        m_cam_from_uv: (3, 3), takes (u, v, 1) in [-1, 1], v up, to a point on the ray in the camera's axes.
        width: columns of the picture.
        height: rows of the picture.

    Raises:
        DataError: if the matrix has no inverse or mirrors.
    """
    if not np.isfinite(m_cam_from_uv).all() or np.linalg.det(m_cam_from_uv) >= 0:
        raise DataError(f"M_cam_from_uv {m_cam_from_uv.tolist()} is no camera; check the table of cameras")
    rotation, triangle = np.linalg.qr(m_cam_from_uv)
    signs = np.sign(np.diag(triangle)) * [1, 1, -1]  # u right, v up, the picture in front: z < 0
    rotation, triangle = rotation * signs, triangle * signs[:, None]
    (a, skew, b), (_, c, d), (_, _, e) = triangle / -triangle[2, 2]
    assert e == -1, "the triangle was scaled to it"
    # x = a u + skew v + b and y = c v + d on the plane z = -1, with u = 2 px / W - 1 and v = 1 - 2 py / H.
    intrinsics = Intrinsics(
        fx=float(width / (2 * a)),
        fy=float(height / (2 * c)),
        cx=float(width / 2 * (1 - b / a)),
        cy=float(height / 2 * (1 + d / c)),
        width=width,
        height=height,
    )
    tilt = math.degrees(math.acos(min(1.0, rotation[2, 2])))
    return CameraModel(intrinsics, rotation.T, tilt, float(skew / a))


def tone_mapped(linear: npt.NDArray[np.float32], valid: Flags) -> Image:
    """8-bit colours of linear light (H, W, 3), as the release's own script makes its previews."""
    scale = 1.0
    if valid.any():
        brightness = float(np.percentile((linear @ _LUMA)[valid], _BRIGHT_PERCENTILE))
        scale = 0.0 if brightness < _DARKEST else _BRIGHT_TARGET ** (1 / _GAMMA) / brightness
    coded = np.maximum(scale * np.nan_to_num(linear), 0) ** _GAMMA
    return np.asarray(np.rint(np.clip(coded, 0, 1) * 255), np.uint8)


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise SettingError("reading Hypersim needs h5py; pip install 'stablenormal[data]'") from error
    try:
        with h5py.File(path) as file:
            return np.asarray(file["dataset"])
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing; download it, or check which parts of the set you have") from error
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: damaged, or without the array 'dataset'; copy it again") from error


@cache
def _read_cameras(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """M_cam_from_uv of every scene in the table."""
    rows = _rows(path)
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    try:
        return {
            row["scene_name"]: np.array([float(row[name]) for name in names]).reshape(3, 3) for row in rows
        }
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: lacks {error}; take the table of the ml-hypersim repository") from error


def _read_split(path: Path, split: str | None) -> set[tuple[str, str, int]] | None:
    """Scene, camera and number of the images to take; None takes all."""
    if not path.is_file():
        if split is not None:
            raise DataError(f"{path}: missing, so split '{split}' is not known; get it or leave split out")
        return None
    rows = [row for row in _rows(path) if row["included_in_public_release"].strip().lower() == "true"]
    splits = sorted({row["split_partition_name"] for row in rows})
    if split is not None and split not in splits:
        raise SettingError(f"{path}: has no split '{split}'; choose one of {', '.join(splits)}")
    return {
        (row["scene_name"], row["camera_name"], int(row["frame_id"]))
        for row in rows
        if split in (None, row["split_partition_name"])
    }


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
