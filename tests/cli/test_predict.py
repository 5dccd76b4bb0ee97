import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from stablenormal.app import predict as job
from stablenormal.app.run_record import FileResult
from stablenormal.cli.main import main
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import read_normal_map


@dataclass(frozen=True)
class Ended:
    """What the user saw of a command."""

    code: int
    out: str
    err: str

    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


class Command:
    """`stablenormal predict` with the toy model."""

    def __init__(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.model, self.capsys = model, capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        words = [
            "predict",
            "--model",
            str(self.model),
            "--mode",
            "turbo",
            "--device",
            "cpu",
            "--dtype",
            "float32",
        ]
        with pytest.raises(SystemExit) as ended:
            main([*words, *map(str, arguments)])
        captured = self.capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def predict(toy_model: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(toy_model, capsys)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "good.jpg"
    path.parent.mkdir()
    write_image(path, np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    return path


def truncated(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def empty(path: Path, good: Path) -> None:
    path.write_bytes(b"")


def not_an_image(path: Path, good: Path) -> None:
    path.write_text("a shopping list")


def one_pixel(path: Path, good: Path) -> None:
    cv2.imwrite(str(path), np.zeros((1, 1, 3), dtype=np.uint8))


def very_wide(path: Path, good: Path) -> None:
    cv2.imwrite(str(path), np.zeros((40, 20_000, 3), dtype=np.uint8))


def nan_exr(path: Path, good: Path) -> None:
    pixels = np.full((40, 48, 3), np.nan, dtype=np.float32)
    with OpenEXR.File(
        {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, {"RGB": pixels}
    ) as file:
        file.write(str(path))


BAD = {
    "truncated.jpg": truncated,
    "empty.jpg": empty,
    "list.jpg": not_an_image,
    "pixel.png": one_pixel,
    "wide.png": very_wide,
    "nan.exr": nan_exr,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_line_and_the_rest_goes_on(
    name: str, good: Path, tmp_path: Path, predict: Command
) -> None:
    BAD[name](good.parent / name, good)
    ended = predict(good.parent, "-o", tmp_path / "out")
    assert ended.code == 1
    assert len(ended.errors()) == 1
    assert name in ended.errors()[0]
    assert ";" in ended.errors()[0]  # what is wrong; what to do
    assert "Traceback" not in ended.err
    assert (tmp_path / "out/good_normal.png").is_file()
    assert not list((tmp_path / "out").glob(f"{Path(name).stem}*"))
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert {entry["status"] for entry in record["files"]} == {"done", "failed"}
    assert name in (tmp_path / "out/index.html").read_text(encoding="utf-8")


def test_all_bad_files_at_once(good: Path, tmp_path: Path, predict: Command) -> None:
    for name, make in BAD.items():
        make(good.parent / name, good)
    ended = predict(good.parent, "-o", tmp_path / "out", "--batch-size", "4")
    assert ended.code == 1
    assert len(ended.errors()) == len(BAD)
    assert "1 done, 0 skipped, 6 failed" in ended.out
    assert (tmp_path / "out/good_normal.png").is_file()


def test_a_folder_without_images_and_a_missing_file(good: Path, tmp_path: Path, predict: Command) -> None:
    (tmp_path / "nothing").mkdir()
    ended = predict(tmp_path / "nothing", tmp_path / "missing.jpg", good, "-o", tmp_path / "out")
    assert ended.code == 1
    assert [any(name in line for line in ended.errors()) for name in ("nothing", "missing.jpg")] == [
        True,
        True,
    ]
    assert len(ended.errors()) == 2
    assert (tmp_path / "out/good_normal.png").is_file()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--frame", "opengles"),
        ("--format", "gif"),
        ("--mode", "fast"),
        ("--device", "toaster"),
        ("--dtype", "float7"),
        ("--mask", "no-such-mask.png"),
        ("--t-plus", "5000"),
    ],
)
def test_an_option_that_does_not_exist_stops_with_one_line(
    option: str, value: str, good: Path, tmp_path: Path, predict: Command
) -> None:
    ended = predict(good, "-o", tmp_path / "out", option, value)
    assert ended.code == 1
    assert len(ended.errors()) == 1
    assert value in ended.errors()[0]
    assert "not foreseen" not in ended.err
    assert not (tmp_path / "out/good_normal.png").exists()


def test_an_output_that_cannot_be_written(good: Path, tmp_path: Path, predict: Command) -> None:
    (tmp_path / "taken").write_text("")
    ended = predict(good, "-o", tmp_path / "taken")
    assert ended.code == 1
    assert len(ended.errors()) == 1
    assert "taken" in ended.errors()[0]
    assert "not foreseen" not in ended.err


def damaged_weight(model: Path) -> str:
    weight = sorted(model.rglob("*.safetensors"))[0]
    weight.write_bytes(weight.read_bytes()[:100])
    return weight.name


def missing_weight(model: Path) -> str:
    weight = sorted(model.rglob("*.safetensors"))[0]
    weight.unlink()
    return weight.name


def missing_model(model: Path) -> str:
    shutil.rmtree(model)
    return model.name


@pytest.mark.parametrize("damage", [damaged_weight, missing_weight, missing_model])
def test_a_damaged_or_missing_weight_is_named(
    damage: object, good: Path, tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(damage)
    model = tmp_path / "copy"
    shutil.copytree(toy_model, model)
    name = damage(model)
    ended = Command(model, capsys)(good, "-o", tmp_path / "out", "--offline")
    assert ended.code == 1
    assert len(ended.errors()) == 1
    assert name in ended.errors()[0]
    assert "not foreseen" not in ended.err
    assert "Traceback" not in ended.err


def test_code_beside_the_weights_runs_only_when_it_is_trusted(
    good: Path, tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, marker = tmp_path / "copy", tmp_path / "was_run"
    shutil.copytree(toy_model, model)
    (model / "semantic_injector/remote_code.json").write_text('{"file": "foreign.py", "class": "Foreign"}')
    (model / "semantic_injector/foreign.py").write_text(f"open({str(marker)!r}, 'w').close()")
    ended = Command(model, capsys)(good, "-o", tmp_path / "out")
    assert ended.code == 1
    assert "--trust-remote-code" in ended.errors()[0]
    assert not marker.exists()
    ended = Command(model, capsys)(good, "-o", tmp_path / "out", "--trust-remote-code")
    assert ended.code == 1
    assert "foreign.py" in ended.errors()[0]
    assert marker.exists()


def test_debug_shows_the_traceback(good: Path, tmp_path: Path, toy_model: Path) -> None:
    from stablenormal.errors import FrameError

    arguments = [
        "predict",
        str(good),
        "-o",
        str(tmp_path / "out"),
        "--frame",
        "no",
        "--model",
        str(toy_model),
    ]
    for where in (0, len(arguments)):
        with pytest.raises(FrameError):
            main([*arguments[:where], "--debug", *arguments[where:]])


def test_an_unforeseen_error_is_one_line_too(
    good: Path, tmp_path: Path, predict: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("stablenormal.app.naming.find_jobs", broken)
    ended = predict(good, "-o", tmp_path / "out")
    assert ended.code == 1
    assert ended.errors() == [
        "error: RuntimeError: first line second line; not foreseen, please report it with what --debug shows"
    ]


def test_a_good_run_ends_with_0_a_table_and_where_to_look(
    good: Path, tmp_path: Path, predict: Command
) -> None:
    ended = predict(good, "-o", tmp_path / "out", "--format", "png16, exr")
    assert ended.code == 0
    assert ended.errors() == []
    assert "good_normal.png" in ended.out
    assert "48 x 40" in ended.out
    assert "1 done, 0 skipped, 0 failed" in ended.out
    assert "images/s" in ended.out
    assert str(tmp_path / "out/index.html") in ended.out.replace("\n", "")
    assert (tmp_path / "out/good_normal.exr").is_file()


def test_every_option_reaches_the_record(good: Path, tmp_path: Path, predict: Command) -> None:
    options = {
        "seed": 5,
        "resolution": 64,
        "ensemble": 2,
        "steps": 4,
        "t_plus": 301,
        "batch_size": 2,
        "frame": "opencv",
        "dtype": "bfloat16",
        "tile_size": 96,
        "tile_overlap": 0.3,
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    ended = predict(
        good,
        "-o",
        tmp_path / "out",
        *words,
        "--mode",
        "full",
        "--uncertainty",
        "--offline",
        "--tile",
        "--format",
        "exr,npy,exr",
    )
    assert ended.code == 0, ended.err
    saved = json.loads((tmp_path / "out/run.json").read_text())["settings"]
    assert {name: saved[name] for name in options} == options
    assert (saved["uncertainty"], saved["offline"], saved["tile"]) == (True, True, True)
    assert saved["formats"] == ["exr", "npy"]


def test_an_interrupt_ends_with_130_and_says_how_to_resume(
    good: Path, tmp_path: Path, predict: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(good, good.parent / "second.jpg")
    write = job._write

    def interrupted_at_the_second(run: object, task: job.Job, *rest: object) -> FileResult:
        if task.name == "second":
            raise KeyboardInterrupt
        return write(run, task, *rest)

    monkeypatch.setattr(job, "_write", interrupted_at_the_second)
    ended = predict(good.parent, "-o", tmp_path / "out")
    assert ended.code == 130
    assert "--skip-existing" in ended.err
    assert (tmp_path / "out/good_normal.png").is_file()
    monkeypatch.undo()
    ended = predict(good.parent, "-o", tmp_path / "out", "--skip-existing")
    assert ended.code == 0
    assert "1 done, 1 skipped, 0 failed" in ended.out


def test_a_run_in_which_every_input_is_missing_writes_nothing(tmp_path: Path, predict: Command) -> None:
    ended = predict(tmp_path / "a.jpg", tmp_path / "*.png", "-o", tmp_path / "out")
    assert ended.code == 1
    errors = ended.errors()
    assert len(errors) == 2 and "a.jpg: no such file or folder" in errors[0] and "no image in it" in errors[1]
    assert not (tmp_path / "out").exists()


def test_two_runs_into_one_folder_keep_both_records(good: Path, tmp_path: Path, predict: Command) -> None:
    other = tmp_path / "other.png"
    write_image(other, np.full((30, 40, 3), 0.5, np.float32))
    for photograph in (good, other):
        ended = predict(photograph, "-o", tmp_path / "out")
        assert ended.code == 0
    (kept,) = (tmp_path / "out").glob("run-*.json")
    names = [
        [entry["name"] for entry in json.loads(path.read_text())["files"]]
        for path in (kept, tmp_path / "out/run.json")
    ]
    assert names == [["good"], ["other"]] and str(kept) in ended.out
    again = predict(good, "-o", tmp_path / "out", "--skip-existing")
    assert "0 done, 1 skipped" in again.out  # what the first run made is known


def test_a_mask_is_found_on_request(tmp_path: Path, predict: Command) -> None:
    rows, columns = np.mgrid[:60, :60]
    inside = (rows - 30) ** 2 + (columns - 30) ** 2 < 15**2
    picture = np.where(inside[..., None], np.float32([0.9, 0.1, 0.1]), np.float32([0.1, 0.3, 0.8]))
    write_image(tmp_path / "ball.png", picture)
    write_image(tmp_path / "grey.png", np.full((60, 60, 3), 0.5, np.float32))
    ended = predict(tmp_path / "ball.png", tmp_path / "grey.png", "-o", tmp_path / "out", "--mask", "auto")
    assert ended.code == 1 and len(ended.errors()) == 1
    assert "grey.png: no object stands out" in ended.errors()[0]
    valid = read_normal_map(tmp_path / "out/ball_normal.png").valid
    assert (valid == inside).mean() > 0.97 and not valid[0].any()


def test_nothing_is_half_drawn_and_no_name_is_folded_where_there_is_no_terminal(
    tmp_path: Path, predict: Command
) -> None:
    name = "a-photograph-with-a-name-that-is-much-longer-than-the-eighty-columns-of-a-screen-without-a-size"
    write_image(tmp_path / f"{name}.png", np.full((30, 40, 3), 0.5, np.float32))
    ended = predict(tmp_path / f"{name}.png", "-o", tmp_path / "out")
    assert any(str(tmp_path / f"{name}.png") in line for line in ended.out.splitlines())
    assert ended.err == ""
