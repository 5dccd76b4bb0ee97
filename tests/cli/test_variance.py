import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stablenormal.cli.main import main
from stablenormal.io.image import write_image

FIXTURES = Path(__file__).parents[1] / "evaluation/fixtures"


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_photographs(toy_model: Path, tmp_path: Path, capsys) -> None:
    photo = FIXTURES / "folder/cup_rgb.jpg"
    options = [
        "--model",
        str(toy_model),
        "--seeds",
        "2",
        "--first-seed",
        "3",
        "--mode",
        "full",
        "--steps",
        "2",
    ]
    options += ["--ensemble", "1", "--resolution", "32", "--device", "cpu", "--dtype", "float32", "--offline"]
    assert run(["variance", str(photo), *options, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2 seeds, 1 images" in shown and "95th percentile" in shown
    assert "variance of the image-mean error" not in shown
    assert (tmp_path / "spread/cup_rgb.jpg.png").exists()


def test_a_set(toy_model: Path, tmp_path: Path, capsys) -> None:
    options = [
        "--benchmark",
        "diode",
        "--root",
        str(FIXTURES),
        "--part",
        "outdoor",
        "--truth-frame",
        "opengl",
    ]
    model = ["--model", str(toy_model), "--mode", "turbo", "--seeds", "2", "--device", "cpu"]
    assert run(["variance", *options, *model, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "variance of the image-mean error" in shown and "2 seeds, 1 images" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "give either photographs or --benchmark"), (["a.jpg", "--seeds", "1"], "--seeds: 1 is too small")],
)
def test_bad_input_is_one_line(options: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert run(["variance", *options, "-o", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_a_start_without_randomness_is_told(toy_model: Path, tmp_path: Path, capsys) -> None:
    settings = json.loads((toy_model / "spec.json").read_text())
    fixed = tmp_path / "fixed"
    shutil.copytree(toy_model, fixed)
    (fixed / "spec.json").write_text(json.dumps({**settings, "start": "image_latent"}))
    write_image(tmp_path / "a.png", np.random.default_rng(0).random((32, 40, 3), np.float32))
    for model, words in ((fixed, 1), (toy_model, 0)):
        options = ["--model", str(model), "--mode", "turbo", "--seeds", "2", "--device", "cpu"]
        out = tmp_path / model.name
        assert run(["variance", str(tmp_path / "a.png"), *options, "-o", str(out / "spread")]) == 0
        told = capsys.readouterr().err.count("every seed gives the same normals")
        assert told == words
        record = json.loads((out / "spread/variance.json").read_text())
        assert len(record["warnings"]) == words
        assert (record["summary"]["everywhere"]["mean"] < 1e-3) == bool(words)
