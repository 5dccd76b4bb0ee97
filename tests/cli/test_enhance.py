from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stablenormal.applications.enhancement import AZIMUTHS_DEG, front_to_view, turn
from stablenormal.cli.main import main
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.wonder3d import View, read_views, write_view

SIDE = 40


class Command:
    """`stablenormal enhance` and what the user saw of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], model: Path) -> None:
        self.capsys, self.model = capsys, model

    def __call__(self, *words: str | Path) -> tuple[int, list[str], list[str]]:
        options = ["--model", self.model, "--device", "cpu", "--resolution", "0"]
        with pytest.raises(SystemExit) as ended:
            main(["enhance", *[str(word) for word in [*words, *options]]])
        seen = self.capsys.readouterr()
        errors = [line for line in seen.err.splitlines() if line.startswith("error: ")]
        return int(ended.value.code or 0), seen.out.split(), errors


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], toy_model: Path) -> Command:
    return Command(capsys, toy_model)


def ball() -> np.ndarray:
    v, u = (np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2) / 16
    z = np.sqrt(np.maximum(1 - u * u - v * v, 0))
    normals = np.where((z > 0.2)[..., None], np.stack([u, -v, z], axis=-1), 0)
    return (normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)).astype(np.float32)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "maps").mkdir()
    (tmp_path / "photos").mkdir()
    write_normal_map(tmp_path / "maps/a_normal.png", ball(), frame="directx")
    write_image(tmp_path / "photos/a.png", np.full((SIDE, SIDE, 3), 0.5, np.float32))
    return tmp_path / "maps/a_normal.png", tmp_path / "photos/a.png"


@pytest.mark.parametrize("format", ["png16", "exr"])
def test_frame_mask_and_size_stay(
    command: Command, pair: tuple[Path, Path], tmp_path: Path, format: str
) -> None:
    code, files, _ = command(pair[0], "--image", pair[1], "-o", tmp_path / "out", "--format", format)
    assert code == 0
    found = read_normal_map(files[0])
    assert found.stored_frame == "directx"
    assert np.array_equal(found.valid, (ball() != 0).any(axis=-1))


def test_strength_and_t_plus_are_the_same_knob(
    command: Command, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    found = []
    for name, options in (("a", ["--strength", "0.4"]), ("b", ["--t-plus", "400"]), ("c", ["--t-plus", "7"])):
        code, files, _ = command(pair[0], "--image", pair[1], "-o", tmp_path / name, *options)
        assert code == 0
        found.append(Path(files[0]).read_bytes())
    assert found[0] == found[1] != found[2]


def test_of_a_folder_the_good_ones_are_written(
    command: Command, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    write_normal_map(pair[0].with_name("alone_normal.png"), ball())
    bad = ball()
    bad[3, 3] = np.nan
    np.save(pair[0].with_name("broken.npy"), bad)
    write_image(pair[1].with_name("broken.png"), np.zeros((SIDE, SIDE, 3), np.float32))
    code, files, errors = command(
        pair[0].parent, "--image", pair[1].parent, "-o", tmp_path / "out", "--frame", "directx"
    )
    assert code == 1
    assert [Path(file).name for file in files] == ["a_normal.png"]
    assert len(errors) == 2
    assert "no photograph of its name" in errors[0]
    assert "NaN" in errors[1]


def test_a_truncated_photograph_is_the_one_that_is_named(
    command: Command, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = pair[1].read_bytes()
    pair[1].write_bytes(whole[: len(whole) // 2])
    code, files, errors = command(pair[0], "--image", pair[1], "-o", tmp_path / "out")
    assert (code, files, len(errors)) == (1, [], 1)
    assert str(pair[1]) in errors[0]
    assert str(pair[0]) not in errors[0]


@pytest.mark.parametrize("system", ["front", "self"])
@pytest.mark.parametrize("frame", ["opengl", "opencv"])
def test_six_views_keep_their_system(command: Command, tmp_path: Path, system: str, frame: str) -> None:
    own = torch.from_numpy(ball()).permute(2, 0, 1)
    for name in AZIMUTHS_DEG:
        vectors = turn(own, front_to_view(name).T) if system == "front" else own
        rgb = np.full((SIDE, SIDE, 3), 0.5, np.float32)
        write_view(tmp_path / "set", name, View(rgb, vectors.permute(1, 2, 0).numpy()), frame)
    code, files, errors = command(
        tmp_path / "set", "--wonder3d", system, "--frame", frame, "-o", tmp_path / "out", "--strength", "0.1"
    )
    assert code == 0, errors
    assert len(files) == 12
    views = read_views(tmp_path / "out", frame)
    in_own = {}
    for name, view in views.items():
        assert np.array_equal((view.normals != 0).any(axis=-1), (ball() != 0).any(axis=-1))
        vectors = torch.from_numpy(view.normals).permute(2, 0, 1)
        in_own[name] = turn(vectors, front_to_view(name)) if system == "front" else vectors
    # One noise, one image, one map: every view's own frame gets the same answer.
    for name in in_own:
        difference = (in_own[name] - in_own["front"]).norm(dim=0)
        assert float(difference.median()) < 0.03  # 8 bits
    alpha = cv2.imread(str(tmp_path / "out/normals_000_back.png"), cv2.IMREAD_UNCHANGED)[..., 3]
    assert set(np.unique(alpha)) == {0, 255}


def test_generated_normals_need_not_be_unit_length(
    command: Command, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "short.npy", ball() * 0.8)
    code, _, errors = command(
        tmp_path / "short.npy", "--image", pair[1], "-o", tmp_path / "out", "--frame", "opengl"
    )
    assert code == 0, errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the photograph"),
        (["--image", "{}/none.png"], "no such file"),
        (["--image", "{}/photos"], "two files or two folders"),
        (["--image", "{}/small.png"], "resize"),
        (["--image", "{}/photos/a.png", "--strength", "2"], "--strength"),
        (["--image", "{}/photos/a.png", "--t-plus", "5000"], "t_plus"),
        (["--image", "{}/photos/a.png", "--strength", "0.1", "--t-plus", "9"], "one of them"),
        (["--image", "{}/photos/a.png", "--format", "jpg"], "--format"),
        (["--image", "{}/photos/a.png", "--mask", "{}/black.png"], "no valid pixel"),
        (["--image", "{}/photos/a.png", "--mask", "{}/small.png"], "same size"),
        (["--wonder3d", "top"], "--wonder3d: there is no 'top'"),
        (["--wonder3d", "self"], "normals_000_"),
        (["--wonder3d", "self", "--image", "{}/photos"], "leave out"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    command: Command, pair: tuple[Path, Path], tmp_path: Path, words: list[str], message: str
) -> None:
    write_image(tmp_path / "small.png", np.ones((12, 12), np.float32))
    write_image(tmp_path / "black.png", np.zeros((SIDE, SIDE), np.float32))
    code, files, errors = command(pair[0], "-o", tmp_path / "out", *[word.format(tmp_path) for word in words])
    assert code == 1
    assert not files
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()
