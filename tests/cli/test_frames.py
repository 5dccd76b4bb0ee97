"""`stablenormal frames`: real maps of every kind, turned and written again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stablenormal.cli.main import main
from stablenormal.geometry.normals import convert_frame
from stablenormal.io import png
from stablenormal.io.normal_map import FRAME_KEY, read_normal_map, read_stored_normals, write_normal_map

TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""A camera-to-world rotation."""


@pytest.fixture
def frames(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], list[str]]]:
    def run(*words: object) -> tuple[int, list[str], list[str]]:
        with pytest.raises(SystemExit) as ended:
            main(["frames", *(str(word) for word in words)])
        out, err = capsys.readouterr()
        return int(str(ended.value.code or 0)), out.split(), err.splitlines()

    return run


def ball(size: int = 24) -> np.ndarray:
    ramp = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(ramp, -ramp)
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    inside = (x**2 + y**2 < 0.98)[..., None]
    return np.where(inside, np.stack([x, y, z], -1), 0).astype(np.float32)


def test_green_is_flipped_and_the_file_says_so(tmp_path: Path, frames) -> None:
    write_normal_map(tmp_path / "in/a/ball_normal.png", ball(), texts={"Author": "Ada"})
    code, files, errors = frames(tmp_path / "in", "-o", tmp_path / "out", "--to", "directx")
    assert (code, errors, files) == (0, [], [str(tmp_path / "out/a/ball_normal.png")])
    before, after = (
        png.decode((tmp_path / folder / "a/ball_normal.png").read_bytes()).astype(int)
        for folder in ("in", "out")
    )
    known = before.any(axis=-1)
    assert np.abs(before[known][:, [0, 2]] - after[known][:, [0, 2]]).max() <= 1
    assert np.abs(before[known][:, 1] + after[known][:, 1] - 65535).max() <= 1
    assert not after[~known].any()
    texts = png.texts(Path(files[0]).read_bytes())
    assert texts[FRAME_KEY] == "directx" and texts["Author"] == "Ada"
    assert np.allclose(read_normal_map(files[0]).normals, ball(), atol=1e-4)


@pytest.mark.parametrize("format", ["png16", "png8", "exr", "npy"])
def test_every_kind_becomes_every_kind(tmp_path: Path, frames, format: str) -> None:
    for kind, ending in (("png16", "png"), ("exr", "exr"), ("npy", "npy")):
        write_normal_map(tmp_path / f"in/{kind}.{ending}", ball(), "opencv", kind)
    code, files, errors = frames(tmp_path / "in", "-o", tmp_path / "out", "--format", format)
    assert (code, errors, len(files)) == (0, [], 3)
    for file in files:
        read = read_normal_map(file)
        assert (read.stored_frame, read.format) == ("opencv", format)
        assert np.allclose(read.normals, ball(), atol=0.008 if format == "png8" else 1e-4)


def test_camera_to_world_and_back_with_a_given_rotation(tmp_path: Path, frames) -> None:
    write_normal_map(tmp_path / "ball.exr", ball(), format="exr")
    np.savetxt(tmp_path / "turn.txt", TURN)
    code, (world,), _ = frames(
        tmp_path / "ball.exr", "-o", tmp_path / "w", "--to", "world", "--rotation", tmp_path / "turn.txt"
    )
    stored = read_stored_normals(world)
    expected = convert_frame(
        torch.from_numpy(ball()).permute(2, 0, 1)[None], "opengl", "world", torch.from_numpy(TURN)
    )
    assert code == 0 and stored.frame == "world"
    assert torch.allclose(stored.vectors, expected, atol=1e-6)
    code, (back,), _ = frames(world, "-o", tmp_path / "b", "--to", "dsine", "--format", "npy")
    assert code == 0 and json.loads((tmp_path / "b/ball.json").read_text())[FRAME_KEY] == "dsine"
    assert np.allclose(read_normal_map(back).normals, ball(), atol=1e-6)


def test_the_cameras_of_a_scene_turn_the_maps_of_its_photographs(tmp_path: Path, frames) -> None:
    from PIL import Image

    pose = np.eye(4)
    pose[:3, :3] = TURN
    scene = {
        "w": 24, "h": 24, "fl_x": 30.0, "fl_y": 30.0, "cx": 12.0, "cy": 12.0,
        "frames": [{"file_path": "one.png", "transform_matrix": pose.tolist()}],
    }  # fmt: skip
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene/transforms.json").write_text(json.dumps(scene))
    Image.new("RGB", (24, 24)).save(tmp_path / "scene/one.png")
    for name in ("one", "two"):
        write_normal_map(tmp_path / f"maps/{name}_normal.png", ball())
    code, files, errors = frames(
        tmp_path / "maps", "-o", tmp_path / "out", "--to", "world", "--scene", tmp_path / "scene"
    )
    assert code == 1 and len(files) == 1 and len(errors) == 1
    assert "two_normal.png: frame world needs the rotation" in errors[0]
    turn = read_stored_normals(files[0]).camera_to_world
    assert turn is not None and np.allclose(turn.numpy(), TURN)


def test_nothing_of_somebody_else_is_overwritten_and_the_rest_goes_on(tmp_path: Path, frames) -> None:
    write_normal_map(tmp_path / "in/a.png", ball())
    write_normal_map(tmp_path / "in/b.png", ball())
    (tmp_path / "in/c.png").write_bytes(b"no picture")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"a friend's")
    code, files, errors = frames(tmp_path / "in", "-o", tmp_path / "out", "--to", "directx")
    assert code == 1 and files == [str(tmp_path / "out/b.png")]
    assert len(errors) == 2 and "not made by this program" in errors[0] and "c.png" in errors[1]
    assert (tmp_path / "out/a.png").read_bytes() == b"a friend's"
    code, files, errors = frames(tmp_path / "in/b.png", "-o", tmp_path / "in", "--to", "directx")
    assert code == 1 and "is an input of this run" in errors[0]
    assert read_normal_map(tmp_path / "in/b.png").stored_frame == "opengl"


def test_two_maps_never_share_a_result(tmp_path: Path, frames) -> None:
    write_normal_map(tmp_path / "in/a.png", ball())
    write_normal_map(tmp_path / "in/a.exr", ball(), format="exr")
    code, files, errors = frames(tmp_path / "in", "-o", tmp_path / "out", "--format", "npy")
    assert code == 1 and len(files) == 1 and "would overwrite that of" in errors[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{}/a.png"], "nothing to change"),
        (["{}/none.png", "--to", "opencv"], "no such file or folder"),
        (["{}/empty", "--to", "opencv"], "no normal map in it; looked for .exr .npy .png"),
        (["{}/a.png", "--to", "unity"], "--to: there is no 'unity'"),
        (["{}/a.png", "--from", "directx", "--to", "opengl"], "records frame 'opengl', not 'directx'"),
        (["{}/bare.npy", "--to", "opengl"], "does not say its frame"),
        (["{}/a.png", "--to", "world"], "frame world needs the rotation of the camera"),
        (["{}/a.png", "--to", "world", "--rotation", "{}/bad.txt"], "bad.txt: expected a rotation (3, 3)"),
        (["{}/a.png", "--to", "world", "--rotation", "{}/no.txt"], "--rotation: {}/no.txt: no such file"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, frames, words: list[str], told: str) -> None:
    write_normal_map(tmp_path / "a.png", ball())
    np.save(tmp_path / "bare.npy", ball())
    np.savetxt(tmp_path / "bad.txt", np.eye(2))
    (tmp_path / "empty").mkdir()
    words = [word.format(tmp_path) for word in words]
    code, files, errors = frames(*words, "-o", tmp_path / "out")
    assert (code, files, len(errors)) == (1, [], 1)
    assert errors[0].startswith("error: ") and told.format(tmp_path) in errors[0]
