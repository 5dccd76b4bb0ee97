import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from stablenormal.app.evaluate import EvaluateSettings, evaluate
from stablenormal.app.model_settings import ModelSettings
from stablenormal.errors import NormalMapError, SettingError

FIXTURES = Path(__file__).parents[1] / "evaluation/fixtures"
KNOWN = json.loads((FIXTURES / "known-answers.json").read_text(encoding="utf-8"))
SETTINGS = EvaluateSettings(
    "folder", str(FIXTURES), predictions=str(FIXTURES / "predictions/npy"), frame="opengl"
)


@pytest.mark.parametrize("protocol", ["dsine", "marigold"])
def test_record_table_and_page_have_the_known_answers(tmp_path: Path, protocol: str) -> None:
    seen: list[str] = []
    counts: list[int] = []
    report = evaluate(
        tmp_path,
        replace(SETTINGS, protocol=protocol),
        on_start=counts.append,
        on_image=lambda score: seen.append(score.name),
    )
    assert counts == [2] and seen == ["cup", "pear"]
    record = json.loads(report.record.read_text(encoding="utf-8"))
    assert record["summary"]["everywhere"]["mean"] == pytest.approx(KNOWN[protocol]["mean"], abs=1e-4)
    assert record["summary"]["everywhere"]["below"] == pytest.approx(KNOWN[protocol]["below"])
    assert record["settings"]["protocol"] == protocol
    assert record["source"]["Frame"] == "opengl" and record["source"]["Format"] == "npy"
    assert [image["name"] for image in record["images"]] == ["cup", "pear"]
    with report.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["everywhere_mean"]) for row in rows] == pytest.approx([5, 31.25], abs=1e-3)
    assert rows[0]["everywhere_pixels"] == "160" and rows[0]["missing"] == "0"
    assert float(rows[1]["everywhere_below_22.5"]) == 25
    page = report.page.read_text(encoding="utf-8")
    assert f"{KNOWN[protocol]['mean']:.3f}" in page
    assert page.index("<h3>pear") < page.index("<h3>cup")  # worst first, no image twice
    assert page.count("<h3>") == 2
    assert report.warnings == ()


def test_error_maps_are_written_for_all_and_previews_for_those_shown(tmp_path: Path) -> None:
    evaluate(tmp_path, replace(SETTINGS, shown=1))
    error = cv2.imread(str(tmp_path / "error-maps/pear.png"))
    assert error.shape == (12, 16, 3)
    assert error[0, 15].sum() > error[0, 0].sum() > 50  # 40 degrees is brighter than 20
    assert (error[-1] == 96).all()  # invalid
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {
        f"{name}-{kind}.jpg"
        for name in ("cup", "pear")
        for kind in ("photograph", "prediction", "ground-truth")
    }
    evaluate(tmp_path / "none", replace(SETTINGS, shown=0))
    assert not (tmp_path / "none/shown").exists()
    assert "Worst" not in (tmp_path / "none/index.html").read_text(encoding="utf-8")


def test_worst_and_best_are_chosen(tmp_path: Path) -> None:
    root, predictions = tmp_path / "set", tmp_path / "predictions"
    root.mkdir()
    predictions.mkdir()
    for index, degrees in enumerate((30, 10, 50, 20, 40)):
        name = f"x{degrees}"
        cv2.imwrite(str(root / f"{name}_rgb.jpg"), np.full((12, 16, 3), 40 * index, np.uint8))
        truth = np.broadcast_to(np.float32([0, 0, 1]), (12, 16, 3))
        np.save(root / f"{name}_normal.npy", truth)
        turn = np.radians(degrees)
        turned = np.broadcast_to(np.float32([0, np.sin(turn), np.cos(turn)]), (12, 16, 3))
        np.save(predictions / f"{name}.npy", turned)
    settings = EvaluateSettings(
        "folder", str(root), predictions=str(predictions), frame="opengl", shown=2, protocol="marigold"
    )
    page = evaluate(tmp_path / "out", settings).page.read_text(encoding="utf-8")
    shown = [part.split("<")[0] for part in page.split("<h3>")[1:]]
    assert shown == ["x50", "x40", "x10", "x20"]


def test_the_wrong_frame_is_a_warning_on_the_page(tmp_path: Path) -> None:
    report = evaluate(tmp_path, replace(SETTINGS, frame="dsine"))
    (warning,) = report.warnings
    assert "`frame` opengl" in warning
    assert "`frame` opengl" in report.page.read_text(encoding="utf-8")
    assert json.loads(report.record.read_text(encoding="utf-8"))["warnings"] == [warning]


def test_missing_pixels_and_unused_maps_are_warnings(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "predictions/npy", tmp_path / "p")
    path = tmp_path / "p/cup_rgb_normal.npy"
    shutil.copy(path, tmp_path / "p/apple.npy")
    normals = np.load(path)
    normals[0] = 0
    np.save(path, normals)
    report = evaluate(tmp_path / "out", replace(SETTINGS, predictions=str(tmp_path / "p")))
    unused, missing = report.warnings
    assert "1 normal maps there belong to no image" in unused
    assert missing.startswith("16 pixels (5.9 %) have no prediction")


def test_the_8bit_protocol_reads_8bit_files_only(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds npy; protocol stablenormal reads 8-bit PNGs only"):
        evaluate(tmp_path, replace(SETTINGS, protocol="stablenormal"))
    settings = replace(SETTINGS, protocol="stablenormal", predictions=str(FIXTURES / "predictions/png8"))
    summary = evaluate(tmp_path, settings).summary
    assert summary.everywhere.mean == pytest.approx(KNOWN["dsine"]["mean"], abs=1.6)


def test_a_bad_prediction_is_named_and_nothing_is_reported(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "predictions/npy", tmp_path / "p")
    np.save(tmp_path / "p/pear_rgb_normal.npy", np.zeros((12, 16, 3), np.float32))
    with pytest.raises(NormalMapError, match=r"pear_rgb_normal\.npy: all normals are zero"):
        evaluate(tmp_path / "out", replace(SETTINGS, predictions=str(tmp_path / "p")))
    assert not (tmp_path / "out/evaluation.json").exists()


def test_a_model_is_scored(toy_model: Path, tmp_path: Path) -> None:
    model = ModelSettings(str(toy_model), mode="turbo", device="cpu", dtype="float32")
    settings = EvaluateSettings("nyuv2", str(FIXTURES), model=model, protocol="stablenormal")
    means = [
        evaluate(tmp_path / str(seed), replace(settings, seed=seed)).summary.everywhere.mean
        for seed in (0, 1)
    ]
    assert means[0] != means[1]
    assert evaluate(tmp_path / "again", replace(settings, seed=1)).summary.everywhere.mean == means[1]
    record = json.loads((tmp_path / "0/evaluation.json").read_text(encoding="utf-8"))
    assert len(record["source"]["Weights"]) == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": None}, "either --model or --predictions"),
        ({"model": ModelSettings("small")}, "either --model or --predictions"),
        ({"seed": 1}, "--seed is for --model"),
        ({"predictions": None, "model": ModelSettings("small")}, "--frame and --format"),
        ({"predictions": None, "model": ModelSettings("small"), "frame": None, "seed": -1}, "--seed"),
        ({"shown": -1}, "--shown"),
        ({"protocol": "mine"}, "no protocol 'mine'"),
    ],
)
def test_options_that_contradict_each_other(change, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(SETTINGS, **change)
