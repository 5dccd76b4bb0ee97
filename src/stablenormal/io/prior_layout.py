"""Where trainers of multi-view surfaces look for normals, and how they want them coded.

    layout        normals                          values                                space, by default
    plain         normals/NAME_normal.png          16-bit, as `stablenormal predict`     camera (opengl)
    2dgs          normals/NAME.npy                 float32 (H, W, 3)                     world
    gsplat        normals/NAME.npy                 float32 (H, W, 3)                     world
    dn-splatter   normals_from_pretrain/NAME.png   8-bit, (n + 1) / 2                    camera (opencv)
    nerfstudio    NAME_normal.npy, meta_data.json  float32 (3, H, W), (n + 1) / 2        camera (opencv)

All also have masks/NAME_mask.png (255 inside) and, where known, confidence/NAME_confidence.png (16 bit,
65535 is sure).
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from stablenormal.errors import SettingError, argument
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import convert_frame, encode_8bit
from stablenormal.geometry.posed import PosedCamera
from stablenormal.io import png
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import write_normal_map

Normals = npt.NDArray[np.float32]

META_NAME = "meta_data.json"

CONFIDENCE_STEPS = 65535


@dataclass(frozen=True)
class PriorLayout:
    """One way to lay out normals."""

    normals: str
    """Path of a view's normals, with {name}."""
    kind: str
    """`map` (with its frame recorded), `png8`, `npy` (H, W, 3) or `npy01` (3, H, W) in [0, 1]."""
    camera_frame: str
    """Frame of normals in camera space."""
    space: str
    """`camera` or `world`, unless the user chooses."""
    spaces: tuple[str, ...] = ("camera", "world")
    """What its readers can be told to take."""
    index: bool = False
    """Whether a `meta_data.json` goes with it."""


LAYOUTS = {
    "plain": PriorLayout("normals/{name}_normal.png", "map", "opengl", "camera"),
    "2dgs": PriorLayout("normals/{name}.npy", "npy", "opencv", "world"),
    "gsplat": PriorLayout("normals/{name}.npy", "npy", "opencv", "world"),
    "dn-splatter": PriorLayout("normals_from_pretrain/{name}.png", "png8", "opencv", "camera", ("camera",)),
    "nerfstudio": PriorLayout("{name}_normal.npy", "npy01", "opencv", "camera", ("camera",), index=True),
}


def check_layout(layout: str, space: str | None) -> str:
    """The space of a layout's normals: the wanted one, or its own.

    Raises:
        SettingError: if the layout or the space does not exist, or they do not go together.
    """
    if layout not in LAYOUTS:
        raise SettingError(f"unknown layout '{layout}'; choose one of {', '.join(LAYOUTS)}")
    chosen = space or LAYOUTS[layout].space
    if chosen not in LAYOUTS[layout].spaces:
        raise SettingError(
            f"layout {layout} has normals in {' or '.join(LAYOUTS[layout].spaces)} space, not '{chosen}'; "
            f"change {argument('space')} or {argument('layout')}"
        )
    return chosen


def prior_files(folder: Path, layout: str, name: str, confidence: bool) -> tuple[Path, ...]:
    """The files of one view: normals, mask, and confidence if there is any."""
    files = [folder / LAYOUTS[layout].normals.format(name=name), folder / f"masks/{name}_mask.png"]
    return (*files, folder / f"confidence/{name}_confidence.png") if confidence else tuple(files)


def write_prior(
    folder: Path,
    layout: str,
    name: str,
    normals: Normals,
    camera: PosedCamera,
    valid: npt.NDArray[np.bool_],
    confidence: npt.NDArray[np.float32] | None,
    space: str,
) -> None:
    """Write one view; the normals come last, so that a view with normals is complete.

    Args:
        folder: of all views.
        layout: a key of `LAYOUTS`.
        name: of the view.
        normals: (H, W, 3), OpenGL camera, unit length or zero.
        camera: for its rotation.
        valid: (H, W).
        confidence: (H, W) in [0, 1], or None.
        space: `camera` or `world`.

    Raises:
        OutputError: if a file cannot be written.
    """
    chosen = LAYOUTS[layout]
    path, mask, *sure = prior_files(folder, layout, name, confidence is not None)
    write_image(mask, valid.astype(np.float32))
    if confidence is not None:
        steps = np.rint(np.clip(confidence, 0, 1) * CONFIDENCE_STEPS).astype(np.uint16)
        write_bytes(sure[0], png.encode(steps, {}))
    frame = "world" if space == "world" else chosen.camera_frame
    rotation = camera.rotation if space == "world" else None
    if chosen.kind == "map":
        write_normal_map(path, normals, frame=frame, camera_to_world=rotation)
        return
    vectors = channels_first(normals.copy())[None]  # (1, 3, H, W)
    turn = None if rotation is None else torch.from_numpy(rotation.copy())
    turned = convert_frame(vectors, "opengl", frame, turn)
    if chosen.kind == "png8":
        codes = channels_last(encode_8bit(turned)[0])
        write_bytes(path, png.encode(codes, {}))
        return
    values = turned[0].numpy() if chosen.kind == "npy01" else channels_last(turned[0])
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray((values + 1) / 2 if chosen.kind == "npy01" else values))
    write_bytes(path, buffer.getvalue())


def read_confidence(path: Path) -> npt.NDArray[np.float32]:
    """Confidence (H, W) in [0, 1] as `write_prior` writes it.

    Raises:
        SettingError: if it is no 16-bit grey PNG.
    """
    try:
        codes = png.decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: not a confidence map ({error}); make it again") from error
    if codes.ndim != 2 or codes.dtype != np.uint16:
        raise SettingError(f"{path}: a confidence map is 16-bit grey; make it again")
    return (codes / np.float32(CONFIDENCE_STEPS)).astype(np.float32)


def check_one_size(cameras: Sequence[PosedCamera], layout: str) -> tuple[int, int]:
    """Width and height of all views, for a layout that has one size for all.

    Raises:
        SettingError: if the views differ in size.
    """
    sizes = {(camera.intrinsics.width, camera.intrinsics.height) for camera in cameras}
    if len(sizes) != 1:
        raise SettingError(
            f"layout {layout} needs photographs of one size, got {len(sizes)}; resize them first"
        )
    return sizes.pop()


def index_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files that `write_index` writes for views of these names."""
    return [folder / META_NAME, *(folder / f"{name}_depth.npy" for name in names)]


def write_index(
    folder: Path,
    cameras: Mapping[str, PosedCamera],
    images: Mapping[str, str],
    bounds: Sequence[Sequence[float]],
) -> None:
    """Write `meta_data.json` as nerfstudio's SDFStudio reader takes it, and an empty depth for each view.

    That reader loads normals only of frames that also have a depth, and all views must have one size.

    Args:
        folder: of the priors.
        cameras: of each view by name.
        images: path of each view's photograph, absolute or counted from the folder.
        bounds: lowest and highest corner of the scene's box.

    Raises:
        SettingError: if the views differ in size.
        OutputError: if a file cannot be written.
    """
    width, height = check_one_size(list(cameras.values()), "nerfstudio")
    frames = []
    for name, camera in cameras.items():
        depth = f"{name}_depth.npy"
        buffer = io.BytesIO()
        np.save(buffer, np.zeros((height, width), np.float32))
        write_bytes(folder / depth, buffer.getvalue())
        matrix = np.eye(4)
        matrix[:3, :3] = camera.intrinsics.matrix()
        frames.append(
            {
                "rgb_path": images[name],
                "camtoworld": (camera.camera_to_world @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist(),
                "intrinsics": matrix.tolist(),
                "mono_normal_path": f"{name}_normal.npy",
                "mono_depth_path": depth,
                "foreground_mask": f"masks/{name}_mask.png",
            }
        )
    content = {
        "camera_model": "OPENCV",
        "height": height,
        "width": width,
        "has_mono_prior": True,
        "has_foreground_mask": True,
        "worldtogt": np.eye(4).tolist(),
        "scene_box": {
            "aabb": [list(corner) for corner in bounds],
            "near": 0.05,
            "far": 1000.0,
            "radius": 1.0,
        },
        "frames": frames,
    }
    write_bytes(folder / META_NAME, (json.dumps(content, indent=1) + "\n").encode())
