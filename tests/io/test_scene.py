"""COLMAP and transforms.json scenes, written here byte by byte as their documentation says."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from stablenormal.errors import SceneError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import Distortion, PosedCamera
from stablenormal.io.image import write_image
from stablenormal.io.scene import read_view, result_names
from stablenormal.io.scene_formats import read_scene
from stablenormal.io.transforms_json import write_transforms

MODELS = {
    "SIMPLE_PINHOLE": (0, (50.0, 16.0, 12.0)),
    "PINHOLE": (1, (50.0, 55.0, 16.0, 12.0)),
    "SIMPLE_RADIAL": (2, (50.0, 16.0, 12.0, 0.05)),
    "RADIAL": (3, (50.0, 16.0, 12.0, 0.05, -0.01)),
    "OPENCV": (4, (50.0, 55.0, 16.0, 12.0, 0.05, -0.01, 0.001, 0.002)),
    "OPENCV_FISHEYE": (5, (50.0, 55.0, 16.0, 12.0, 0.05, -0.01, 0.001, 0.002)),
}
POINTS = {7: (0.0, 0.1, 0.2), 3: (0.5, 0.1, -0.2), 12: (-0.3, 0.4, 0.0)}
TRACKS = ((3, -1, 7), (12, 3))


def poses() -> list[tuple[np.ndarray, np.ndarray]]:
    turns = Rotation.random(2, random_state=1).as_quat()[:, [3, 0, 1, 2]]
    return [(turn, np.array([0.1 * k, -0.2, 4.0])) for k, turn in enumerate(turns)]


def write_colmap(root: Path, binary: bool, model: str = "PINHOLE", below: str = "sparse/0") -> None:
    folder = root / below
    folder.mkdir(parents=True, exist_ok=True)
    number, parameters = MODELS[model]
    for name in ("a.png", "b.png"):
        write_image(root / "images" / name, np.full((24, 32, 3), 0.5, np.float32))
    rows = list(zip(("a.png", "b.png"), poses(), TRACKS, strict=True))
    if binary:
        cameras = struct.pack("<Q", 1) + struct.pack("<iiQQ", 1, number, 32, 24)
        (folder / "cameras.bin").write_bytes(cameras + struct.pack(f"<{len(parameters)}d", *parameters))
        images = struct.pack("<Q", 2)
        for index, (name, (turn, shift), track) in enumerate(rows):
            images += struct.pack("<i7di", index + 1, *turn, *shift, 1) + name.encode() + b"\0"
            images += struct.pack("<Q", len(track)) + b"".join(struct.pack("<ddq", 1, 2, p) for p in track)
        (folder / "images.bin").write_bytes(images)
        points = struct.pack("<Q", len(POINTS))
        for point, place in POINTS.items():
            points += struct.pack("<Q3d3Bd", point, *place, 9, 9, 9, 0.5) + struct.pack("<Q4i", 2, 1, 0, 2, 1)
        (folder / "points3D.bin").write_bytes(points)
        return
    words = " ".join(map(str, parameters))
    (folder / "cameras.txt").write_text(f"# cameras\n1 {model} 32 24 {words}\n")
    lines = ["# images"]
    for index, (name, (turn, shift), track) in enumerate(rows):
        lines.append(f"{index + 1} {' '.join(map(repr, map(float, (*turn, *shift))))} 1 {name}")
        lines.append(" ".join(f"1.0 2.0 {point}" for point in track))
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    (folder / "points3D.txt").write_text(
        "\n".join(f"{point} {x} {y} {z} 9 9 9 0.5 1 0 2 1" for point, (x, y, z) in POINTS.items()) + "\n"
    )


@pytest.mark.parametrize("below", ["sparse/0", "sparse", "."])
def test_text_and_binary_say_the_same(tmp_path: Path, below: str) -> None:
    scenes = []
    for binary in (False, True):
        write_colmap(tmp_path / str(binary), binary, below=below)
        scenes.append(read_scene(tmp_path / str(binary)))
    for text, binary_view in zip(scenes[0].views, scenes[1].views, strict=True):
        assert text.name == binary_view.name
        assert text.camera.intrinsics == binary_view.camera.intrinsics == Intrinsics(50, 55, 16, 12, 32, 24)
        assert np.array_equal(text.camera.camera_to_world, binary_view.camera.camera_to_world)
        assert np.array_equal(text.points, binary_view.points)
    assert scenes[0].points is not None and scenes[1].points is not None
    assert np.array_equal(scenes[0].points, scenes[1].points)
    first = {tuple(scenes[0].points[row]) for row in scenes[0].views[0].points}
    assert first == {POINTS[3], POINTS[7]}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", [name for name in MODELS if name != "OPENCV_FISHEYE"])
def test_every_supported_camera(tmp_path: Path, model: str, binary: bool) -> None:
    write_colmap(tmp_path, binary, model)
    view = read_scene(tmp_path).views[0]
    lens = view.camera.intrinsics
    assert (lens.fx, lens.cx, lens.cy) == (50, 16, 12)
    assert lens.fy == (55 if model in ("PINHOLE", "OPENCV") else 50)
    bent = {"SIMPLE_RADIAL": (0.05,), "RADIAL": (0.05, -0.01), "OPENCV": (0.05, -0.01, 0.001, 0.002)}
    assert view.distortion == Distortion(*bent.get(model, ()))


@pytest.mark.parametrize("binary", [False, True])
def test_another_camera_is_refused_by_name(tmp_path: Path, binary: bool) -> None:
    write_colmap(tmp_path, binary, "OPENCV_FISHEYE")
    with pytest.raises(SceneError, match="OPENCV_FISHEYE is not supported.*undistort"):
        read_scene(tmp_path)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    write_colmap(tmp_path, True)
    path = tmp_path / "sparse/0" / f"{name}.bin"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SceneError, match=f"{name}.bin: damaged"):
        read_scene(tmp_path)


def test_missing_images_are_said_and_the_rest_stays(tmp_path: Path) -> None:
    write_colmap(tmp_path, False)
    (tmp_path / "images/a.png").unlink()
    scene = read_scene(tmp_path)
    assert [view.name for view in scene.views] == ["b"]
    assert len(scene.missing) == 1 and "a.png: no such image" in scene.missing[0]
    (tmp_path / "images/b.png").unlink()
    with pytest.raises(SceneError, match="none of its 2 images"):
        read_scene(tmp_path)
    write_image(tmp_path / "other/a.png", np.zeros((24, 32, 3), np.float32))
    assert [view.name for view in read_scene(tmp_path, tmp_path / "other").views] == ["a"]


@pytest.mark.parametrize(("path", "message"), [("none", "no such scene"), (".", "neither")])
def test_what_is_no_scene(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        read_scene(tmp_path / path)


def transforms(root: Path, frames: list[dict[str, object]], **shared: object) -> Path:
    write_image(root / "images/a.png", np.zeros((24, 32, 3), np.float32))
    write_image(root / "images/b.png", np.zeros((24, 32, 3), np.float32))
    (root / "transforms.json").write_text(json.dumps({"frames": frames, **shared}))
    return root


POSE = np.array([[0, 0, 1, 2.0], [1, 0, 0, 0.5], [0, 1, 0, -1], [0, 0, 0, 1]])


def frame(name: str, **own: object) -> dict[str, object]:
    return {"file_path": name, "transform_matrix": POSE.tolist(), **own}


def test_nerfstudio_with_an_override(tmp_path: Path) -> None:
    shared = {"fl_x": 40, "fl_y": 42, "cx": 15, "cy": 11, "w": 32, "h": 24, "k1": 0.01}
    frames = [frame("images/a.png"), frame("./images/b.png", fl_x=50, k1=0)]
    scene = read_scene(transforms(tmp_path, frames, **shared))
    a, b = scene.views
    assert (a.name, b.name) == ("a", "b")
    assert a.camera.intrinsics == Intrinsics(40, 42, 15, 11, 32, 24)
    assert b.camera.intrinsics == Intrinsics(50, 42, 15, 11, 32, 24)
    assert a.distortion and not b.distortion
    assert np.allclose(a.camera.camera_to_world, POSE)


def test_another_image_folder_keeps_subfolders(tmp_path: Path) -> None:
    frames = [frame("images/left/a.png"), frame("images/right/a.png")]
    root = transforms(tmp_path, frames, fl_x=40, w=32, h=24)
    for side in ("left", "right"):
        write_image(tmp_path / f"small/{side}/a.png", np.zeros((24, 32, 3), np.float32))
    views = read_scene(root, tmp_path / "small").views
    assert [view.name for view in views] == ["left/a", "right/a"]
    assert [view.image.parent.name for view in views] == ["left", "right"]
    with pytest.raises(SceneError, match="share a name"):
        read_scene(root, tmp_path / "images")


def test_blender_angle_without_ending(tmp_path: Path) -> None:
    scene = read_scene(transforms(tmp_path, [frame("./images/a")], camera_angle_x=0.7) / "transforms.json")
    lens = scene.views[0].camera.intrinsics
    assert lens.fx == pytest.approx(16 / np.tan(0.35)) and lens.fx == lens.fy
    assert (lens.cx, lens.cy, lens.width, lens.height) == (16, 12, 32, 24)


def test_sparse_points_of_nerfstudio(tmp_path: Path) -> None:
    places = np.random.default_rng(0).normal(size=(5, 3))
    trimesh.PointCloud(places).export(tmp_path / "sparse.ply")
    root = transforms(tmp_path, [frame("images/a.png")], camera_angle_x=0.7, ply_file_path="sparse.ply")
    assert np.allclose(read_scene(root).points, places, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "shared", "message"),
    [
        ([frame("images/a.png")], {}, "neither fl_x nor camera_angle_x"),
        ([frame("images/a.png")], {"fl_x": 40, "camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"),
        ([frame("images/a.png")], {"fl_x": 40, "k3": 0.1}, "with k3"),
        ([{"file_path": "images/a.png"}], {"fl_x": 40}, "frame 0 is damaged"),
        ([frame("images/a.png", transform_matrix=np.diag([2.0, 2, 2, 1]).tolist())], {"fl_x": 9}, "rotation"),
        ([], {"fl_x": 40}, "no view"),
        ([frame("images/a.png"), frame("images/a.jpg")], {"fl_x": 40, "w": 32, "h": 24}, "share a name"),
    ],
)
def test_bad_transforms(
    tmp_path: Path, frames: list[dict[str, object]], shared: dict[str, object], message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        read_scene(transforms(tmp_path, frames, **shared))


def test_a_transforms_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text("{")
    with pytest.raises(SceneError, match="not a transforms file"):
        read_scene(tmp_path)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.png", np.zeros((24, 32, 3), np.float32))
    camera = PosedCamera(Intrinsics(40, 42, 15, 11, 32, 24), POSE)
    write_transforms(tmp_path / "transforms.json", {"images/a.png": camera})
    found = read_scene(tmp_path).views[0]
    assert found.camera.intrinsics == camera.intrinsics
    assert np.allclose(found.camera.camera_to_world, POSE)


def test_a_resized_photograph_keeps_its_camera_and_another_one_is_refused(tmp_path: Path) -> None:
    write_colmap(tmp_path, False)
    write_image(tmp_path / "images/a.png", np.zeros((48, 64, 3), np.float32))
    write_image(tmp_path / "images/b.png", np.zeros((32, 32, 3), np.float32))
    a, b = read_scene(tmp_path).views
    assert read_view(a).camera.intrinsics == Intrinsics(100, 110, 32, 24, 64, 48)
    with pytest.raises(SceneError, match="32 x 32 px, its camera 32 x 24"):
        read_view(b)


def test_distortion_is_undone(tmp_path: Path) -> None:
    """Dots painted where a distorting lens shows them come back to where a pinhole shows them."""
    k1, k2, p1, p2 = 0.2, -0.05, 0.01, -0.02
    lens = Intrinsics(200, 210, 101, 78, 200, 160)
    straight = [(60, 50), (140, 40), (100, 110), (150, 120), (40, 120)]
    picture = np.zeros((160, 200, 3), np.float32)
    rows, columns = np.mgrid[:160, :200] + 0.5
    for u, v in straight:
        x, y = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
        r = x * x + y * y
        radial = 1 + k1 * r + k2 * r * r
        xd = x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x)
        yd = y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y
        far = (columns - lens.fx * xd - lens.cx) ** 2 + (rows - lens.fy * yd - lens.cy) ** 2
        picture += np.exp(-far / 8)[..., None]
    write_image(tmp_path / "images/a.png", picture)
    write_transforms(tmp_path / "transforms.json", {"images/a.png": PosedCamera(lens, np.eye(4))})
    content = json.loads((tmp_path / "transforms.json").read_text())
    content.update(k1=k1, k2=k2, p1=p1, p2=p2)
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    found = read_view(read_scene(tmp_path).views[0])
    assert found.seen[80, 100] and not found.seen.all()
    for u, v in straight:
        bright = found.photograph.rgb[v - 10 : v + 10, u - 10 : u + 10, 0]
        at = [
            (bright * axis[v - 10 : v + 10, u - 10 : u + 10]).sum() / bright.sum() for axis in (columns, rows)
        ]
        assert np.allclose(at, [u, v], atol=0.05)
    assert found.photograph.valid[80, 100]


def test_names_of_windows_and_byte_order_marks(tmp_path: Path) -> None:
    root = transforms(tmp_path, [frame("images\\a.png"), frame(".\\images\\b.png")], fl_x=40, w=32, h=24)
    text = (root / "transforms.json").read_bytes()
    (root / "transforms.json").write_bytes(b"\xef\xbb\xbf" + text)
    views = read_scene(root).views
    assert [view.name for view in views] == ["a", "b"]
    assert all(view.image.is_file() for view in views)


@pytest.mark.parametrize("binary", [False, True])
def test_colmap_with_names_of_windows_and_names_that_are_not_utf8(tmp_path: Path, binary: bool) -> None:
    write_colmap(tmp_path, binary)
    images = tmp_path / "sparse/0" / f"images{'.bin' if binary else '.txt'}"
    os.rename(tmp_path / "images/a.png", os.path.join(os.fsencode(tmp_path), b"images/\xe9.png"))
    data = images.read_bytes().replace(b"a.png", b"\xe9.png")
    images.write_bytes(data if binary else b"\xef\xbb\xbf" + data)
    scene = read_scene(tmp_path)
    assert not scene.missing and os.fsencode(scene.views[1].name) == b"\xe9"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "left/b.png"], ["a.png", "left/b.png"]),
        (["/home/me/x/a.png", "/home/me/y/a.png"], ["x/a.png", "y/a.png"]),
        (["/home/me/a.png"], ["a.png"]),
        (["../../x/a.png", "./b.png"], ["x/a.png", "b.png"]),
        (["C:\\shots\\a.png", "C:\\shots\\b.png"], ["a.png", "b.png"]),
    ],
)
def test_results_never_lead_anywhere_else(names: list[str], expected: list[str]) -> None:
    assert result_names(names) == expected


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ({"is_fisheye": True, "k1": 0.01}, "fisheye"),
        ({"camera_model": "OPENCV_FISHEYE"}, "FISHEYE"),
        ({"latlong": True}, "panorama"),
        ({"camera_type": "FISHEYE"}, "FISHEYE"),
        ({"ftheta_p1": 0.1}, "f-theta"),
        ({"distortion_params": [0.1, 0, 0.1, 0, 0, 0]}, "with k3"),
    ],
)
def test_lenses_that_are_not_supported_are_named(
    tmp_path: Path, shared: dict[str, object], message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        read_scene(transforms(tmp_path, [frame("images/a.png")], fl_x=40, w=32, h=24, **shared))


def test_distortion_in_a_list(tmp_path: Path) -> None:
    root = transforms(
        tmp_path, [frame("images/a.png")], fl_x=40, distortion_params=[0.1, 0.2, 0, 0, 0.3, 0.4]
    )
    assert read_scene(root).views[0].distortion.coefficients == (0.1, 0.2, 0.3, 0.4)


def test_a_focal_length_in_millimetres_is_not_plausible(tmp_path: Path) -> None:
    view = read_scene(transforms(tmp_path, [frame("images/a.png")], fl_x=1.2, w=32, h=24)).views[0]
    with pytest.raises(SceneError, match=r"a\.png: its camera .* not plausible"):
        read_view(view)


def test_a_photograph_and_its_mask_are_read_as_stored(tmp_path: Path) -> None:
    root = transforms(tmp_path, [frame("images/a.png", mask_path="mask.png")], fl_x=40, w=32, h=24)
    exif = Image.Exif()
    exif[0x112] = 6
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    mask[:5] = 255
    Image.fromarray(rgb).save(root / "images/a.png", exif=exif)
    Image.fromarray(mask).save(root / "mask.png", exif=exif)
    picture = read_view(read_scene(root).views[0]).photograph
    assert np.abs(picture.rgb - rgb / 255).max() < 1e-6
    assert np.array_equal(picture.valid, mask > 0)
