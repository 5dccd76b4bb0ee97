"""`transforms.json` of nerfstudio, instant-ngp and Blender exports: OpenGL camera-to-world matrices.

Intrinsics are fl_x, fl_y, cx, cy, w, h (a frame may override each), or camera_angle_x in radians. Images may
lack their ending, as Blender exports do.
"""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image

from stablenormal.errors import SceneError, StableNormalError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import Array, Distortion, PosedCamera
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image_files import SUFFIXES
from stablenormal.io.plain_values import parse_json
from stablenormal.io.scene import PosedScene, SceneView, result_names, without_ending
from stablenormal.io.search import named_path
from stablenormal.io.source import text_of

NAMES = ("transforms.json", "transforms_train.json")

_PINHOLE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
_UNSUPPORTED_COEFFICIENTS = ("k3", "k4", "k5", "k6")


def transforms_file(path: Path) -> Path | None:
    """The JSON file of a scene, or None."""
    if path.is_file():
        return path if path.suffix.lower() == ".json" else None
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def read_transforms(path: Path, images: Path | None) -> PosedScene:
    """Read a scene; `stablenormal.io.scene_formats.read_scene` does it for any scene.

    Args:
        path: the JSON file.
        images: folder of the photographs; None: paths count from the JSON file.

    Raises:
        SceneError: if the file is damaged, says too little, or its camera model is not supported.
    """
    try:
        content = parse_json(text_of(path.read_bytes()))
        frames = list(content["frames"])
        names = result_names([str(frame.get("file_path", "")) for frame in frames])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SceneError(f"{path}: not a transforms file with frames ({error}); export it again") from error
    views = []
    for place, frame in enumerate(frames):
        try:
            views.append(_view(path, {**content, **frame}, names[place], images))
        except StableNormalError as error:
            raise SceneError(f"{path}: frame {place}: {error}") from error
        except (KeyError, ValueError, TypeError) as error:
            raise SceneError(f"{path}: frame {place} is damaged ({error!r}); export it again") from error
    files = [path, *([] if (cloud := _named(path, content, "ply_file_path")) is None else [cloud])]
    points = _points(path, content)
    return PosedScene(path, "transforms", tuple(views), points, described_by=tuple(files))


def write_transforms(
    path: Path | str, cameras: Mapping[str, PosedCamera], extra: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Write a scene that `read_transforms` and nerfstudio read.

    Args:
        path: the JSON file.
        cameras: by path of the image, relative to the JSON file.
        extra: further entries of each frame, such as `depth_file_path`.

    Raises:
        OutputError: if it cannot be written.
    """
    frames = []
    for image, camera in cameras.items():
        lens = camera.intrinsics
        numbers = {
            "fl_x": lens.fx,
            "fl_y": lens.fy,
            "cx": lens.cx,
            "cy": lens.cy,
            "w": lens.width,
            "h": lens.height,
        }
        frames.append(
            {
                "file_path": image,
                **(extra or {}).get(image, {}),
                **numbers,
                "transform_matrix": camera.camera_to_world.tolist(),
            }
        )
    content = {"camera_model": "PINHOLE", "frames": frames}
    write_bytes(Path(path), (json.dumps(content, indent=1) + "\n").encode())


def _view(path: Path, entry: Mapping[str, Any], name: str, images: Path | None) -> SceneView:
    given = str(entry["file_path"])
    image = _existing(named_path(path.parent, given)) if images is None else _below(images, Path(name))
    flat = images is not None and image.parent == images
    entry = {**entry, **_listed_coefficients(entry)}
    bent = [key for key in _UNSUPPORTED_COEFFICIENTS if float(entry.get(key, 0.0))]
    model = _model(entry)
    if model not in _PINHOLE_MODELS or bent:
        raise SceneError(
            f"camera model {model}{' with ' + ', '.join(bent) if bent else ''} is not supported, only "
            f"{', '.join(_PINHOLE_MODELS)} with k1, k2, p1, p2; undistort the images first"
        )
    pose = np.array(entry["transform_matrix"], np.float64)
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0, 0, 0, 1]])
    return SceneView(
        name=_result_name(Path(name).name if flat else name),
        image=image,
        camera=PosedCamera(_intrinsics(entry, image), _rigid(pose)),
        distortion=Distortion(*(float(entry.get(key, 0.0)) for key in ("k1", "k2", "p1", "p2"))),
        mask=_named(path, entry, "mask_path"),
        depth=_named(path, entry, "depth_file_path"),
    )


def _rigid(pose: Array) -> Array:
    """Without the rounding of printed matrices; a scale or mirror is left for the camera to refuse."""
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        return pose
    left, stretch, right = np.linalg.svd(pose[:3, :3])
    if np.abs(stretch - 1).max() < 1e-2:
        pose = pose.copy()
        pose[:3, :3] = left @ right
    return pose


def _model(entry: Mapping[str, Any]) -> str:
    """The camera model, whichever of its spellings the file uses."""
    flagged = {
        "is_fisheye": "fisheye (is_fisheye)",
        "latlong": "panorama (latlong)",
        "equirectangular": "panorama (equirectangular)",
        **{f"ftheta_p{number}": "f-theta" for number in range(5)},
    }
    for flag, model in flagged.items():
        if entry.get(flag):
            return model
    kind = str(entry.get("camera_type", "perspective"))
    return kind if kind.lower() != "perspective" else str(entry.get("camera_model", "OPENCV"))


def _listed_coefficients(entry: Mapping[str, Any]) -> dict[str, float]:
    """Distortion as nerfstudio's list `distortion_params` has it, by name."""
    listed = entry.get("distortion_params") or ()
    return dict(zip(("k1", "k2", "k3", "k4", "p1", "p2"), map(float, listed), strict=False))


def _result_name(image: str) -> str:
    """A name without ending and without a leading `images` folder."""
    parts = without_ending(image).split("/")
    return "/".join(parts[1:] if len(parts) > 1 and parts[0].startswith("images") else parts)


def _below(images: Path, name: Path) -> Path:
    """The photograph in another folder: at its path below the scene's image folder, or by its name alone."""
    parts = name.parts
    inner = Path(*(parts[1:] if len(parts) > 1 and parts[0].startswith("images") else parts))
    nested = _existing(images / inner)
    return nested if nested.is_file() else _existing(images / name.name)


def _unended(image: Path) -> bool:
    return image.suffix.lower() not in SUFFIXES


def _existing(image: Path) -> Path:
    if image.is_file() or not _unended(image):
        return image
    candidates = (image.with_name(image.name + ending) for ending in (".png", ".jpg", ".jpeg", ".exr"))
    return next((path for path in candidates if path.is_file()), image.with_name(image.name + ".png"))


def _named(path: Path, entry: Mapping[str, Any], key: str) -> Path | None:
    return named_path(path.parent, str(entry[key])) if entry.get(key) else None


def _intrinsics(entry: Mapping[str, Any], image: Path) -> Intrinsics:
    if "w" in entry and "h" in entry:
        width, height = int(entry["w"]), int(entry["h"])
    else:
        width, height = _size_of(image)
    if "fl_x" in entry:
        fx = float(entry["fl_x"])
    elif "camera_angle_x" in entry:
        fx = Intrinsics.from_fov(math.degrees(float(entry["camera_angle_x"])), width, height).fx
    else:
        raise SceneError("neither fl_x nor camera_angle_x; add the focal length")
    fy = float(entry.get("fl_y", fx))
    return Intrinsics(
        fx, fy, float(entry.get("cx", width / 2)), float(entry.get("cy", height / 2)), width, height
    )


def _size_of(image: Path) -> tuple[int, int]:
    try:
        with Image.open(image) as picture:
            return picture.size
    except OSError as error:
        raise SceneError(
            f"{image}: its size is not in the file and it cannot be read; add w and h"
        ) from error


def _points(path: Path, content: Mapping[str, Any]) -> Array | None:
    """The sparse points that nerfstudio names, if they are there."""
    cloud = _named(path, content, "ply_file_path")
    if cloud is None or not cloud.is_file():
        return None
    try:
        loaded = trimesh.load(io.BytesIO(cloud.read_bytes()), file_type=cloud.suffix[1:].lower())
        return np.asarray(loaded.vertices, np.float64).reshape(-1, 3)
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise SceneError(
            f"{cloud}: not a point cloud ({error}); export it again or drop ply_file_path"
        ) from error
