import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from stablenormal.app.model_settings import ModelSettings
from stablenormal.app.variance import VarianceSettings, variance
from stablenormal.errors import SettingError
from stablenormal.io.uncertainty_map import PNG_STEPS_PER_DEGREE
from stablenormal.pipelines import StableNormal
from stablenormal.pipelines.ensemble import average_normals, spread_deg

FIXTURES = Path(__file__).parents[1] / "evaluation/fixtures"


@pytest.fixture
def settings(toy_model: Path) -> VarianceSettings:
    model = ModelSettings(str(toy_model), mode="turbo", device="cpu", dtype="float32")
    return VarianceSettings(model, benchmark="nyuv2", root=str(FIXTURES), seeds=3)


def test_photographs_without_truth(settings: VarianceSettings, toy_model: Path, tmp_path: Path) -> None:
    photos = FIXTURES / "diode"
    seen: list[str] = []
    report = variance(
        tmp_path,
        replace(settings, benchmark=None, root=None, inputs=(str(photos),), first_seed=4),
        on_image=lambda result: seen.append(result.name),
    )
    assert len(seen) == 2 and seen[0].startswith("indoors/")
    record = json.loads(report.record.read_text(encoding="utf-8"))
    assert record["seeds"] == [4, 5, 6]
    assert record["summary"]["error_variance"] is None
    assert record["edges"]["of"] == "mean prediction"
    pipeline = StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")
    from stablenormal.geometry.layout import channels_first
    from stablenormal.io.image import read_image

    image = channels_first(read_image(photos / seen[0]).rgb)
    members = [pipeline([image], mode="turbo", seed=seed).normals[0][None] for seed in (4, 5, 6)]
    spread = spread_deg(members, average_normals(members))[0].numpy()
    assert record["images"][0]["everywhere"]["mean"] == pytest.approx(spread.mean(), rel=1e-5)
    assert record["images"][0]["everywhere"]["p95"] == pytest.approx(np.quantile(spread, 0.95), abs=1e-3)
    stored = cv2.imread(str(tmp_path / f"spread/{seen[0]}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(stored / PNG_STEPS_PER_DEGREE, spread, atol=0.006)
    page = report.page.read_text(encoding="utf-8")
    for link in ("mean-normals", "spread", "photograph"):
        assert (tmp_path / f"shown/{seen[0]}-{link}.jpg").exists()
        assert f"{seen[0]}-{link}.jpg" in page


def test_a_set_with_truth_gives_the_papers_variance(settings: VarianceSettings, tmp_path: Path) -> None:
    report = variance(tmp_path, settings)
    record = json.loads(report.record.read_text(encoding="utf-8"))
    each = [np.var(image["mean_errors_deg"]) for image in record["images"]]
    assert [len(image["mean_errors_deg"]) for image in record["images"]] == [3, 3]
    assert report.summary.error_variance == pytest.approx(np.mean(each))
    with report.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error_variance"]) for row in rows] == pytest.approx(each)
    assert rows[0]["everywhere_pixels"] == "160"
    assert rows[0]["on_edges_pixels"] == str(8 * 10)
    assert f"{report.summary.error_variance:.4f}" in report.page.read_text(encoding="utf-8")


def test_ensembles_share_no_member(settings: VarianceSettings, tmp_path: Path) -> None:
    averaged = replace(settings, model=replace(settings.model, ensemble=3))
    report = variance(tmp_path, averaged)
    assert json.loads(report.record.read_text(encoding="utf-8"))["seeds"] == [0, 3, 6]
    assert report.summary.everywhere.mean < variance(tmp_path, settings).summary.everywhere.mean


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": None, "root": None}, "either photographs or --benchmark"),
        ({"inputs": ("a.jpg",)}, "either photographs or --benchmark"),
        ({"root": None}, "--benchmark and --root belong together"),
        ({"benchmark": None, "root": None, "inputs": ("a",), "part": "indoor"}, "--part and --truth-frame"),
        ({"seeds": 1}, "--seeds: 1 is too small"),
        ({"first_seed": -1}, "--first-seed"),
    ],
)
def test_options_that_contradict_each_other(settings: VarianceSettings, change, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(settings, **change)
