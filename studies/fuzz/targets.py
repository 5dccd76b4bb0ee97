"""Every reader that opens files of strangers, with good files to damage.

A target's seeds are files that the package reads; `read` puts damaged bytes where that file lay and reads it.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pillow_heif
import tifffile
from PIL import Image

from stablenormal.app.run_record import FileResult, earlier_results, write_record
from stablenormal.data.keep_list import read_keep_list
from stablenormal.data.mixture import read_sources
from stablenormal.data.sample import Sample
from stablenormal.data.shards import read_shard, write_shard
from stablenormal.data.synthetic.catalogues import entries
from stablenormal.data.synthetic.model_files import Beside, read_model
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io import exr
from stablenormal.io.camera_file import read_camera_matrix
from stablenormal.io.depth_map import read_depth_map, write_depth_map
from stablenormal.io.image import read_image
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.scene_formats import read_scene
from stablenormal.models.architecture import TOY_SPEC
from stablenormal.models.loading import is_model_folder
from stablenormal.models.spec import load_spec, save_spec
from stablenormal.training.settings_file import read_settings


@dataclass(frozen=True)
class Target:
    """A reader under attack."""

    name: str
    seeds: Callable[[Path], list[bytes]]
    """Makes the good files, in an empty folder that it may use."""
    read: Callable[[bytes, Path], object]
    """Reads damaged bytes, from a file in a folder that has what else is needed."""
    guided: bool = True
    """Whether our own code parses the format, so that atheris can look for paths; others are libraries'."""


def picture() -> np.ndarray:
    """A photograph of 24 by 32 pixels with an edge and a gradient, (24, 32, 3) uint8."""
    rows, columns = np.mgrid[:24, :32]
    return np.stack([rows * 10, columns * 7, 255 * (columns > 16)], axis=-1).astype(np.uint8)


def vectors() -> np.ndarray:
    """Normals (24, 32, 3) of a bump, with a hole."""
    rows, columns = np.mgrid[-1:1:24j, -1:1:32j]
    normals = np.stack([columns, -rows, np.ones_like(rows)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:3, :3] = 0
    return normals.astype(np.float32)


def _photographs(ending: str, folder: Path) -> list[bytes]:
    found = []
    for number, image in enumerate((Image.fromarray(picture()), Image.fromarray(picture()).convert("L"))):
        path = folder / f"{number}{ending}"
        if ending == ".heic":
            pillow_heif.from_pillow(image.convert("RGB")).save(path, quality=90)
        elif ending == ".exr":
            channels = {
                name: (picture()[..., place] / 255).astype(np.float32) for place, name in enumerate("RGB")
            }
            exr.write(path, channels, {"comments": "seed"})
        else:
            exif = Image.Exif()
            exif[0x010E] = "a seed"
            exif[0x0112] = 6
            if ending == ".bmp":
                image.save(path)
            else:
                image.save(path, exif=exif)
        found.append(path.read_bytes())
    if ending == ".tif":
        path = folder / "deep.tif"
        tifffile.imwrite(path, picture().astype(np.uint16) * 257, compression="zlib", photometric="rgb")
        found.append(path.read_bytes())
    if ending == ".png":
        path = folder / "map.png"
        write_normal_map(path, vectors())
        found.append(path.read_bytes())
    return found


def _read_photograph(ending: str, data: bytes, folder: Path) -> None:
    path = folder / f"photo{ending}"
    path.write_bytes(data)
    read_image(path)


def _maps(format: str, ending: str, folder: Path) -> list[bytes]:
    path = folder / f"map{ending}"
    write_normal_map(path, vectors(), frame="directx", format=format)
    return [path.read_bytes()]


def _read_map(ending: str, data: bytes, folder: Path) -> None:
    path = folder / f"map{ending}"
    path.write_bytes(data)
    read_normal_map(path)


def _map_records(folder: Path) -> list[bytes]:
    _maps("npy", ".npy", folder)
    turn = np.eye(3)[[1, 2, 0]]
    write_normal_map(folder / "world.npy", vectors(), "world", "npy", turn)
    return [(folder / f"{name}.json").read_bytes() for name in ("map", "world")]


def _read_map_record(data: bytes, folder: Path) -> None:
    path = folder / "recorded.npy"
    if not path.exists():
        write_normal_map(path, vectors(), format="npy")
    path.with_suffix(".json").write_bytes(data)
    read_normal_map(path)


def _depths(folder: Path) -> list[bytes]:
    path = folder / "depth.npy"
    write_depth_map(path, np.linspace(1, 2, 24 * 32, dtype=np.float32).reshape(24, 32))
    return [path.read_bytes()]


def _read_depth(data: bytes, folder: Path) -> None:
    path = folder / "depth.npy"
    path.write_bytes(data)
    read_depth_map(path)


def _matrices(folder: Path) -> list[bytes]:
    return [b"50 0 16\n0 50 12\n0 0 1\n", b"50, 0, 16\n0, 50, 12\n0, 0, 1\n"]


def _read_matrix(data: bytes, folder: Path) -> None:
    path = folder / "camera.txt"
    path.write_bytes(data)
    read_camera_matrix(path, 32, 24)


_TEXTS = {
    "cameras": "# cameras\n1 PINHOLE 32 24 50 55 16 12\n2 OPENCV 32 24 50 55 16 12 0.01 0 0 0\n",
    "images": "1 1 0 0 0 0.1 0.2 4 1 a.png\n5 5 7 9 9 -1 3 3 3\n2 0.8 0.6 0 0 0 0 3 1 b.png\n1 2 3\n",
    "points3D": "7 0 0.1 0.2 9 9 9 0.5 1 0 2 1\n3 0.5 0.1 -0.2 1 2 3 0.1 1 2\n",
}


def _binaries() -> dict[str, bytes]:
    images = struct.pack("<Q", 2)
    for number, name in enumerate((b"a.png\0", b"b.png\0"), start=1):
        images += struct.pack("<i7di", number, 1, 0, 0, 0, 0.1, 0.2, 4, 1) + name
        images += struct.pack("<Q", 2) + struct.pack("<ddq", 5, 5, 7) + struct.pack("<ddq", 9, 9, -1)
    point = struct.pack("<Q3d3Bd", 7, 0, 0.1, 0.2, 9, 9, 9, 0.5) + struct.pack("<Q4i", 2, 1, 0, 2, 1)
    return {
        "cameras": struct.pack("<Q", 1) + struct.pack("<iiQQ4d", 1, 1, 32, 24, 50, 55, 16, 12),
        "images": images,
        "points3D": struct.pack("<Q", 1) + point,
    }


def _with_photographs(folder: Path) -> None:
    """The photographs that a scene names."""
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        if not (folder / name).exists():
            Image.fromarray(picture()).save(folder / name)


def _read_colmap(name: str, ending: str, data: bytes, folder: Path) -> None:
    model = folder / f"colmap{ending}"
    model.mkdir(exist_ok=True)
    _with_photographs(folder)
    good = {key: value.encode() for key, value in _TEXTS.items()} if ending == ".txt" else _binaries()
    for other, content in good.items():
        (model / f"{other}{ending}").write_bytes(data if other == name else content)
    read_scene(model, folder)


def _transforms(folder: Path) -> list[bytes]:
    turn = np.eye(4).tolist()
    frames = [{"file_path": f"images/{name}", "transform_matrix": turn} for name in ("a.png", "b.png")]
    nerfstudio = {"fl_x": 50.0, "fl_y": 55.0, "cx": 16.0, "cy": 12.0, "w": 32, "h": 24, "k1": 0.01}
    return [json.dumps(one | {"frames": frames}).encode() for one in (nerfstudio, {"camera_angle_x": 0.8})]


def _read_transforms(data: bytes, folder: Path) -> None:
    path = folder / "transforms.json"
    _with_photographs(folder / "images")
    path.write_bytes(data)
    read_scene(path)


def _shards(folder: Path) -> list[bytes]:
    sample = Sample(
        image=picture(),
        normals=vectors(),
        depth=np.ones((24, 32), np.float32),
        labels=np.zeros((24, 32), np.uint8),
        instances=np.zeros((24, 32), np.uint16),
        intrinsics=Intrinsics(50, 50, 16, 12, 32, 24),
        meta={"key": "000000"},
    )
    path = folder / "shard-000000.tar"
    write_shard(path, [sample])
    return [path.read_bytes()]


def _read_shard(data: bytes, folder: Path) -> None:
    path = folder / "shard-000001.tar"
    path.write_bytes(data)
    list(read_shard(path))


def _keep_lists(folder: Path) -> list[bytes]:
    return [b"# stablenormal keep-list\n# reader: folder\na/1\nb/2\n"]


def _read_keep_list(data: bytes, folder: Path) -> None:
    path = folder / "keep.txt"
    path.write_bytes(data)
    read_keep_list(path, "folder", ("a/1", "b/2", "c/3"))


def _mixtures(folder: Path) -> list[bytes]:
    return [b"sources:\n- {reader: folder, root: a, weight: 2, keep: k.txt}\n- {reader: shards, root: b}\n"]


def _read_mixture(data: bytes, folder: Path) -> None:
    path = folder / "mixture.yaml"
    path.write_bytes(data)
    read_sources(path)


def _settings(folder: Path) -> list[bytes]:
    return [
        b"part: yoso\nbase: new\ndata: corpus\nheldout: held\nstages:\n- {size: 64, steps: 5, batch: 8}\n"
        b"learning_rate: 1.0e-3\nseed: 3\n"
    ]


def _read_settings(data: bytes, folder: Path) -> None:
    path = folder / "settings.yaml"
    path.write_bytes(data)
    read_settings(path)


def _specs(folder: Path) -> list[bytes]:
    save_spec(TOY_SPEC, folder)
    return [(folder / "spec.json").read_bytes()]


def _read_spec(data: bytes, folder: Path) -> None:
    (folder / "spec.json").write_bytes(data)
    is_model_folder(folder)
    load_spec(folder)


def _records(folder: Path) -> list[bytes]:
    path = folder / "run.json"
    result = FileResult("a.jpg", "a", "done", outputs=("a_normal.png",), width=32, height=24)
    write_record(
        path, status="complete", started="2026-01-01T00:00:00", seconds=1.0, computed_with={"seed": 0},
        settings={"mode": "full"}, spec=asdict(TOY_SPEC), device="cpu", results=[result],
    )  # fmt: skip
    return [path.read_bytes()]


def _read_record(data: bytes, folder: Path) -> None:
    path = folder / "run.json"
    path.write_bytes(data)
    earlier_results(path)


_CUBE = (
    "mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1\n"
    "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl paint\nf 4/1 3/2 2/3 1/4\nf 5/1 6/2 7/3 8/4\nf 1/1 2/2 6/3 5/4\n"
)
_PAINT = "newmtl paint\nKd 0.8 0.2 0.1\nd 1.0\nmap_Kd p.png\n"


def _png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG")
    return stream.getvalue()


def _objs(folder: Path) -> list[bytes]:
    return [_CUBE.encode(), b"# quads\no a\n" + _CUBE.replace("/", "//").encode()]


def _read_obj(data: bytes, folder: Path) -> None:
    beside = {"m.mtl": _PAINT.encode(), "p.png": _png()}
    read_model("m.obj", data, Beside("", beside.__getitem__))


def _mtls(folder: Path) -> list[bytes]:
    return [_PAINT.encode(), b"newmtl paint\nKa 1 1 1\nKs 0 0 0\nNs 10\nTr 0.2\nillum 2\n"]


def _read_mtl(data: bytes, folder: Path) -> None:
    beside = {"m.mtl": data, "p.png": _png()}
    read_model("m.obj", _CUBE.encode(), Beside("", beside.__getitem__))


def _glbs(folder: Path) -> list[bytes]:
    import trimesh

    found: bytes = trimesh.creation.box().export(file_type="glb")
    return [found]


def _read_glb(data: bytes, folder: Path) -> None:
    read_model("m.glb", data, Beside("", dict[str, bytes]().__getitem__))


_PROPERTIES = (
    "license=CC0\nname#1=Box\ncategory#1=Boxes\nmodel#1=/box/m.obj\nwidth#1=40\ndepth#1=30\nheight#1=20\n"
    "elevation#1=5\nmodelRotation#1=1 0 0 0 1 0 0 0 1\ndropOnTopElevation#1=10\ncreator#1=Nobody\n"
)


def _zipped(properties: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties)
        archive.writestr("box/m.obj", _CUBE)
    return stream.getvalue()


def _read_catalogue(data: bytes, folder: Path) -> None:
    path = folder / "catalogue.sh3f"
    path.write_bytes(data)
    for entry in entries([path]):
        try:
            entry.read(entry.path)
        except (KeyError, OSError):  # what it says it raises
            continue


def _read_properties(data: bytes, folder: Path) -> None:
    _read_catalogue(_zipped(data), folder)


PHOTOGRAPHS = (".jpg", ".png", ".tif", ".exr", ".heic", ".webp", ".avif", ".bmp", ".jp2")
"""Endings of the photographs that are damaged."""

TARGETS = {
    target.name: target
    for target in (
        *(
            Target(
                f"photograph{ending}", partial(_photographs, ending), partial(_read_photograph, ending), False
            )
            for ending in PHOTOGRAPHS
        ),
        *(
            Target(f"normal_map.{format}", partial(_maps, format, ending), partial(_read_map, ending))
            for format, ending in (("png16", ".png"), ("png8", ".png"), ("exr", ".exr"), ("npy", ".npy"))
        ),
        Target("normal_map_record", _map_records, _read_map_record),
        Target("depth_map", _depths, _read_depth),
        Target("camera_matrix", _matrices, _read_matrix),
        *(
            Target(
                f"colmap_{name}.txt",
                lambda folder, text=text: [text.encode()],  # type: ignore[misc]
                partial(_read_colmap, name, ".txt"),
            )
            for name, text in _TEXTS.items()
        ),
        *(
            Target(
                f"colmap_{name}.bin",
                lambda folder, data=data: [data],  # type: ignore[misc]
                partial(_read_colmap, name, ".bin"),
            )
            for name, data in _binaries().items()
        ),
        Target("transforms", _transforms, _read_transforms),
        Target("shard", _shards, _read_shard),
        Target("keep_list", _keep_lists, _read_keep_list),
        Target("mixture", _mixtures, _read_mixture),
        Target("settings", _settings, _read_settings),
        Target("spec", _specs, _read_spec),
        Target("run_record", _records, _read_record),
        Target("obj", _objs, _read_obj),
        Target("mtl", _mtls, _read_mtl),
        Target("glb", _glbs, _read_glb),
        Target(
            "catalogue",
            lambda folder: [_zipped(_PROPERTIES.encode())],
            _read_catalogue,
        ),
        Target("catalogue_properties", lambda folder: [_PROPERTIES.encode()], _read_properties),
    )
}
