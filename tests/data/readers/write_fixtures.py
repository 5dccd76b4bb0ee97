"""Write tiny sets in the true layout of each training set, with known answers.

    python tests/data/readers/write_fixtures.py FOLDER

Nothing of the package is used: a mistake in its readers must not be mirrored here. Every set shows the same
scene through a camera of its own: a ball of radius 1 before a slanted plane, ray traced at the pixel centres.
`SETS` has the camera of each set and how far its files are from the truth.
"""

import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
import OpenEXR
import webdataset

WIDTH, HEIGHT = 96, 72
PLANE = np.array([0.35, 0.55, 0.758])
PLANE = PLANE / np.linalg.norm(PLANE)
PLANE_AT = np.array([0.0, 0.0, -5.5])
BALL = np.array([0.55, 0.25, -3.4])
OPENCV, DSINE = np.array([1, -1, -1]), np.array([-1, 1, 1])
LIGHT = np.array([-0.5, 0.7, 0.5]) / np.linalg.norm([-0.5, 0.7, 0.5])


@dataclass(frozen=True)
class Camera:
    """Focal lengths and centre in pixels; the top left pixel's centre is (0.5, 0.5)."""

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def wide(cls, fov_deg: float) -> "Camera":
        focal = WIDTH / 2 / np.tan(np.radians(fov_deg) / 2)
        return cls(focal, focal, WIDTH / 2, HEIGHT / 2)


@dataclass(frozen=True)
class Scene:
    """What a camera sees; all (H, W, ...)."""

    rays: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    ball: np.ndarray
    light: np.ndarray
    """Linear RGB."""

    @property
    def image(self) -> np.ndarray:
        return np.rint(255 * np.clip(self.light, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def look(camera: Camera, scale: float = 1.0) -> Scene:
    """Ray trace; `scale` is the size of the world."""
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy, -np.ones_like(u)], -1)
    plane_depth = (PLANE @ PLANE_AT) / (rays @ PLANE)
    a, b, c = (rays**2).sum(-1), rays @ BALL, BALL @ BALL - 1
    ball = b**2 > a * c
    ball_depth = (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a
    depth = np.where(ball, ball_depth, plane_depth)
    normals = np.where(ball[..., None], depth[..., None] * rays - BALL, PLANE)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    shade = 0.12 + 0.85 * np.clip(normals @ LIGHT, 0, 1)
    albedo = np.where(ball[..., None], [0.75, 0.25, 0.2], [0.35, 0.5, 0.65])
    return Scene(rays, normals, depth * scale, ball, shade[..., None] * albedo)


def turn(x_deg: float, y_deg: float) -> np.ndarray:
    """A rotation about x, then y."""
    x, y = np.radians(x_deg), np.radians(y_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return about_y @ about_x


TILT = turn(7.0, -4.0)
"""Image plane against camera axes of the tilted Hypersim camera."""
KITTI_SCALE = 10.0
SETS = {
    "hypersim": Camera.wide(60),
    "interiorverse": Camera.wide(85),
    "vkitti": Camera(90.0, 90.0, 47.0 + 0.5, 35.5 + 0.5),
    "sintel": Camera(110.0, 110.0, 47.5 + 0.5, 35.5 + 0.5),
    "replica": Camera.wide(75),
    "ken_burns": Camera.wide(70),
    "objaverse": Camera.wide(50),
    "folder": Camera(100.0, 104.0, 45.0, 38.0),
    "shards": Camera.wide(65),
}
TILTED = Camera(95.0, 95.0, 52.0, 30.0)
"""The tilted camera in the axes of its image plane."""
KEYS = {
    "hypersim": [
        "ai_001_001/cam_00/frame.0000", "ai_001_001/cam_00/frame.0001", "ai_003_010/cam_01/frame.0007",
    ],
    "interiorverse": ["L3D124S8/000", "L3D124S8/001"],
    "vkitti": ["Scene01/clone/Camera_0/00000", "Scene01/clone/Camera_1/00000"],
    "sintel": ["alley_1/frame_0001"],
    "replica": ["replica/apartment_0/point_0_view_0", "replica/room_1/point_3_view_2"],
    "ken_burns": ["asdf-flying/00000-bl", "asdf-flying/00000-tr"],
    "objaverse": ["teapot/r_0", "teapot/r_1"],
    "folder": ["cup", "inner/pear", "vase"],
    "shards": ["generic-000000/room/a", "generic-000000/room/b"],
}  # fmt: skip


def truth(name: str, key: str) -> Scene:
    """What the reader must find for a key, in the OpenGL camera; the ball alone is valid in `objaverse`."""
    if key.startswith("ai_003_010"):
        return look(TILTED)
    return look(SETS[name], KITTI_SCALE if name == "vkitti" else 1.0)


def write_image(path: Path, image: np.ndarray) -> None:
    """RGB or RGBA or grey, 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = {2: slice(None), 3: (..., [2, 1, 0])}[image.ndim] if image.shape[-1] != 4 else (..., [2, 1, 0, 3])
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[order])), path


def write_exr(path: Path, **channels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = {name: np.ascontiguousarray(values, np.float32) for name, values in channels.items()}
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    with OpenEXR.File(header, pixels) as file:
        file.write(str(path))


def write_rgb_exr(path: Path, values: np.ndarray) -> None:
    write_exr(path, R=values[..., 0], G=values[..., 1], B=values[..., 2])


def codes(normals: np.ndarray, top: int) -> np.ndarray:
    """(n + 1) / 2 as integers."""
    return np.round((normals + 1) / 2 * top).astype(np.uint8 if top == 255 else np.uint16)


def write_hypersim(root: Path) -> None:
    tilt_tan = WIDTH / 2 / TILTED.fx
    # Pixel to uv and back: u = 2 px / W - 1, v = 1 - 2 py / H; the ray is ((px - cx) / fx, ..., -1).
    inverse = np.array(
        [
            [tilt_tan, 0, (WIDTH / 2 - TILTED.cx) / TILTED.fx],
            [0, HEIGHT / 2 / TILTED.fy, -(HEIGHT / 2 - TILTED.cy) / TILTED.fy],
            [0, 0, -1],
        ]
    )
    usual = np.diag([np.tan(np.radians(30)), np.tan(np.radians(30)) * HEIGHT / WIDTH, -1])
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    rows = ["scene_name,settings_output_img_width," + ",".join(names)]
    for scene, matrix in (("ai_001_001", usual), ("ai_003_010", TILT @ inverse * 2.5)):
        rows.append(f"{scene},{WIDTH}," + ",".join(repr(float(number)) for number in matrix.ravel()))
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata_camera_parameters.csv").write_text("\n".join(rows) + "\n")
    split = ["scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"]
    for place, key in enumerate(KEYS["hypersim"]):
        scene, camera, frame = key.split("/")
        number = frame.removeprefix("frame.")
        split.append(f"{scene},{camera},{int(number)},True,,{['train', 'val', 'train'][place]}")
        seen = truth("hypersim", key)
        turned = seen.normals @ (TILT.T if scene == "ai_003_010" else np.eye(3))
        bumped = turned + [0.05, 0.0, 0.0]
        entity = np.where(seen.ball, 7, 3)
        entity[:3] = -1
        distance = seen.depth * np.linalg.norm(seen.rays, axis=-1)
        distance[:3] = np.nan
        light = seen.light * 4.0
        light[:3] = 100.0
        semantic = np.where(seen.ball, 40, 2)
        semantic[0] = -1
        geometry = root / scene / "images" / f"scene_{camera}_geometry_hdf5"
        arrays = {
            geometry / f"frame.{number}.normal_cam.hdf5": turned.astype(np.float16),
            geometry / f"frame.{number}.normal_bump_cam.hdf5": (
                bumped / np.linalg.norm(bumped, axis=-1, keepdims=True)
            ).astype(np.float16),
            geometry / f"frame.{number}.depth_meters.hdf5": distance.astype(np.float32),
            geometry / f"frame.{number}.render_entity_id.hdf5": entity.astype(np.int32),
            geometry / f"frame.{number}.semantic.hdf5": semantic.astype(np.int32),
            root
            / scene
            / "images"
            / f"scene_{camera}_final_hdf5"
            / f"frame.{number}.color.hdf5": light.astype(np.float16),
        }
        for path, values in arrays.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file.create_dataset("dataset", data=values, compression="gzip")
    split.append("ai_001_001,cam_00,99,False,black,train")
    (root / "metadata_images_split_scene_v1.csv").write_text("\n".join(split) + "\n")


def write_interiorverse(root: Path) -> None:
    for key in KEYS["interiorverse"]:
        seen = truth("interiorverse", key)
        write_rgb_exr(root / f"{key}_im.exr", seen.light * 0.9)
        write_rgb_exr(root / f"{key}_normal.exr", seen.normals)
        write_rgb_exr(root / f"{key}_depth.exr", np.repeat(seen.depth[..., None], 3, -1))
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[:, :4] = 0
        write_image(root / f"{key}_mask.png", mask)


def write_vkitti(root: Path) -> None:
    variant, camera = root / "Scene01/clone", SETS["vkitti"]
    for key in KEYS["vkitti"]:
        seen, view = truth("vkitti", key), key.split("/")[2]
        write_image(variant / f"frames/rgb/{view}/rgb_00000.jpg", seen.image)
        depth = np.round(seen.depth * 100).clip(0, 65535).astype(np.uint16)
        depth[:4] = 65535
        write_image(variant / f"frames/depth/{view}/depth_00000.png", depth)
        colours = np.where(seen.ball[..., None], [255, 127, 80], [100, 60, 100]).astype(np.uint8)
        write_image(variant / f"frames/classSegmentation/{view}/classgt_00000.png", colours)
    rows = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
    rows += [f"0 {one} {camera.fx} {camera.fy} {camera.cx - 0.5} {camera.cy - 0.5}" for one in range(2)]
    (variant / "intrinsic.txt").write_text("\n".join(rows) + "\n")
    (variant / "colors.txt").write_text("Category r g b\nRoad 100 60 100\nCar 255 127 80\nSky 90 200 255\n")


def write_sintel(root: Path) -> None:
    camera, tag = SETS["sintel"], struct.pack("<f", 202021.25)
    matrix = [[camera.fx, 0, camera.cx - 0.5], [0, camera.fy, camera.cy - 0.5], [0, 0, 1]]
    for key in KEYS["sintel"]:
        seen = truth("sintel", key)
        write_image(root / f"training/final/{key}.png", seen.image)
        write_image(root / f"training/clean/{key}.png", 255 - seen.image)
        depth = seen.depth.astype("<f4")
        depth[:2] = 1e10
        for path, data in (
            (root / f"training/depth/{key}.dpt", struct.pack("<ii", WIDTH, HEIGHT) + depth.tobytes()),
            (
                root / f"training/camdata_left/{key}.cam",
                np.array(matrix, "<f8").tobytes() + np.eye(3, 4).astype("<f8").tobytes(),
            ),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tag + data)


def write_replica(root: Path) -> None:
    for key in KEYS["replica"]:
        seen = truth("replica", key)
        write_image(root / f"rgb/{key}_domain_rgb.png", seen.image)
        write_image(root / f"normal/{key}_domain_normal.png", codes(seen.normals * OPENCV, 255))
        depth = np.round(seen.depth * 512).astype(np.uint16)
        depth[-5:] = 65535
        write_image(root / f"depth_zbuffer/{key}_domain_depth_zbuffer.png", depth)
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[-5:] = 0
        write_image(root / f"mask_valid/{key}_domain_depth_zbuffer.png", mask)
        path = root / f"point_info/{key}_domain_point_info.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"field_of_view_rads": float(np.radians(75)), "view_id": 0}))


def write_ken_burns(root: Path) -> None:
    for key in KEYS["ken_burns"]:
        seen = truth("ken_burns", key)
        write_image(root / f"{key}-image.png", seen.image)
        write_rgb_exr(root / f"{key}-normal.exr", seen.normals)
        write_exr(root / f"{key}-depth.exr", Y=seen.depth)
    (root / "asdf-flying/00000-meta.json").write_text(json.dumps({"fltFov": 70.0}))


def write_objaverse(root: Path) -> None:
    frames = []
    for place, key in enumerate(KEYS["objaverse"]):
        seen, pose = truth("objaverse", key), np.eye(4)
        pose[:3, :3] = turn(-25.0 + 50 * place, 110.0)
        pose[:3, 3] = [1.0, 2.0, 3.0]
        alpha = np.where(seen.ball, 255, 0).astype(np.uint8)
        write_image(root / f"{key}.png", np.dstack([seen.image, alpha]))
        world = np.where(seen.ball[..., None], seen.normals @ pose[:3, :3].T, 0)
        if place == 0:
            write_rgb_exr(root / f"{key}_normal.exr", world)
        else:
            write_image(root / f"{key}_normal.png", codes(world, 65535))
        write_exr(root / f"{key}_depth.exr", Z=np.where(seen.ball, seen.depth, 0))
        frames.append({"file_path": f"./r_{place}", "transform_matrix": pose.tolist()})
    cameras = {"camera_angle_x": float(np.radians(50)), "frames": frames}
    (root / "teapot/transforms.json").write_text(json.dumps(cameras))


def write_folder(root: Path) -> None:
    """A 16-bit PNG and an EXR in the frame `dsine`, and an NPY that says itself that it is `opencv`."""
    camera = SETS["folder"]
    for key in KEYS["folder"]:
        seen = truth("folder", key)
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / f"{key}_rgb.{'jpg' if key == 'cup' else 'png'}", seen.image)
        matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        if key == "cup":
            write_image(root / f"{key}_normal.png", codes(seen.normals * DSINE, 65535))
            np.savetxt(root / f"{key}_intrinsics.txt", matrix)
            np.save(root / f"{key}_depth.npy", seen.depth.astype(np.float32))
            mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
            mask[-6:] = 0
            write_image(root / f"{key}_mask.png", mask)
        elif key == "vase":
            write_rgb_exr(root / f"{key}_normal.exr", seen.normals * DSINE)
        else:
            np.save(root / f"{key}_normal.npy", (seen.normals * DSINE).astype(np.float32))
            (root / f"{key}_normal.json").write_text(json.dumps({"stablenormal:frame": "dsine"}))


def write_shards(root: Path) -> None:
    """A shard of somebody else, by the webdataset library."""
    root.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(root / "generic-000000.tar")) as writer:
        for place, key in enumerate(KEYS["shards"]):
            seen = truth("shards", key)
            _, image = cv2.imencode(".png" if place else ".jpg", seen.image[..., ::-1])
            _, normals = cv2.imencode(".png", codes(seen.normals * OPENCV, 65535)[..., ::-1])
            writer.write(
                {
                    "__key__": key.removeprefix("generic-000000/"),
                    "rgb.png" if place else "jpg": image.tobytes(),
                    "normal.png": normals.tobytes(),
                    "txt": "a ball",
                }
            )


WRITERS = {name: globals()[f"write_{name}"] for name in SETS}


def write_fixtures(root: Path) -> None:
    """Every set below `root`, by the reader's name."""
    for name, write in WRITERS.items():
        write(root / name)


if __name__ == "__main__":
    write_fixtures(Path(sys.argv[1]))
