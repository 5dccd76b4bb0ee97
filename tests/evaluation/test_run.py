import cv2
import numpy as np
import pytest
import torch

from stablenormal.errors import DataError, ImageShapeError, NormalMapError
from stablenormal.evaluation.benchmarks import BENCHMARKS, list_benchmark
from stablenormal.evaluation.edges import near_edges
from stablenormal.evaluation.metrics import angular_metrics
from stablenormal.evaluation.pairs import Pair, read_pairs
from stablenormal.evaluation.pooling import QUANTILE_ERROR_DEG
from stablenormal.evaluation.predictions import find_predictions, read_prediction
from stablenormal.evaluation.protocols import PROTOCOLS
from stablenormal.evaluation.run import Evaluator, score
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normals import angular_error_deg, unit_length


def _write_pair(folder, name, normal, size=(12, 16)):
    cv2.imwrite(str(folder / f"{name}_rgb.jpg"), np.full((*size, 3), 128, np.uint8))
    normals = np.broadcast_to(np.float64(normal), (*size, 3)).copy()
    coded = np.round((normals + 1) / 2 * 65535).astype(np.uint16)
    coded[:3] = 0  # nothing measured
    cv2.imwrite(str(folder / f"{name}_normal.png"), coded[..., ::-1])


@pytest.fixture
def folder(tmp_path):
    _write_pair(tmp_path, "one", (0, 0, 1))
    _write_pair(tmp_path, "two", (0, 1, 0))
    _write_pair(tmp_path, "three", (0, 1, 0))
    (tmp_path / "index.csv").write_text("id,source\none,a\ntwo,b\nthree,b\n")
    return tmp_path


def _facing(image):
    normals = torch.zeros_like(image)
    normals[2] = 1
    return normals


def test_scores_average_over_sources_and_skip_what_was_not_measured(folder):
    scores = score(_facing, read_pairs(folder))
    assert scores.per_source == pytest.approx({"a": 0.0, "b": 90.0}, abs=0.01)
    assert scores.mean_over_sources == pytest.approx(45.0, abs=0.01)
    assert scores.per_image["one"]["count"] == 9 * 16


def test_the_declared_frame_is_used(folder):
    two = next(pair for pair in read_pairs(folder, frame="directx") if pair.name == "two")
    np.testing.assert_allclose(two.normals[5, 5], (0, -1, 0), atol=1e-4)


def test_an_image_without_partner_or_of_another_size_is_named(folder):
    (folder / "two_normal.png").unlink()
    with pytest.raises(DataError, match=r"two_normal\.png: missing"):
        list(read_pairs(folder))
    _write_pair(folder, "two", (0, 0, 1))
    cv2.imwrite(str(folder / "two_rgb.jpg"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError, match="they must agree"):
        list(read_pairs(folder))


def test_damaged_truth_and_empty_folders_are_errors(folder, tmp_path_factory):
    cv2.imwrite(str(folder / "one_normal.png"), np.full((12, 16, 3), 42000, np.uint16))
    with pytest.raises(NormalMapError, match=r"one_normal\.png"):
        list(read_pairs(folder))
    with pytest.raises(DataError, match="no NAME_rgb"):
        list(read_pairs(tmp_path_factory.mktemp("empty")))


def test_a_prediction_of_another_size_is_never_resized(folder):
    with pytest.raises(ImageShapeError, match="one: predicted"):
        score(lambda image: torch.zeros(3, 4, 4), (pair for pair in read_pairs(folder) if pair.name == "one"))
    with pytest.raises(ImageShapeError, match="no pairs"):
        score(_facing, [])


@pytest.mark.parametrize("protocol", ["dsine", "marigold"])
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_perfect_prediction_has_exactly_zero(fixtures, benchmark, protocol):
    evaluator = Evaluator(PROTOCOLS[protocol])
    for entry in list_benchmark(benchmark, fixtures):
        pair = entry.load()
        evaluator.add(pair, unit_length(channels_first(pair.normals)[None])[0])
    summary = evaluator.summary()
    for metrics in (summary.everywhere, summary.on_edges):
        values = (metrics.mean, metrics.median, metrics.rmse)
        assert [f"{value:.3f}" for value in values] == ["0.000"] * 3
        assert set(metrics.below.values()) == {100.0}
    assert summary.missing == 0


@pytest.mark.parametrize("protocol", ["dsine", "marigold"])
@pytest.mark.parametrize("kind", ["png8", "png16", "exr", "npy"])
def test_known_answers(fixtures, known_answers, kind, protocol):
    entries = list_benchmark("folder", fixtures)
    found = find_predictions(fixtures / "predictions" / kind, entries)
    evaluator = Evaluator(PROTOCOLS[protocol])
    for entry in entries:
        pair = entry.load()
        evaluator.add(pair, read_prediction(found.paths[entry.name], "opengl", pair.normals.shape[:2]))
    metrics, known = evaluator.summary().everywhere, known_answers[protocol]
    tolerance = 0.3 if kind == "png8" else 0.005
    for name in ("mean", "median", "rmse"):
        assert getattr(metrics, name) == pytest.approx(known[name], abs=tolerance), name
    assert {str(limit): share for limit, share in metrics.below.items()} == pytest.approx(known["below"])
    assert metrics.count == known["count"]


def _random_pairs():
    generator = np.random.default_rng(0)
    for name, size in (("a", (20, 30)), ("b", (40, 24))):
        normals = generator.normal(size=(*size, 3)) * 0.15 + np.where(np.arange(size[1]) < 12, 1, -1)[:, None]
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        normals[:4] = 0
        prediction = normals + generator.normal(size=normals.shape) * 0.2
        prediction /= np.linalg.norm(prediction, axis=-1, keepdims=True)
        pair = Pair(name, name, np.zeros((*size, 3), np.float32), normals.astype(np.float32))
        yield pair, torch.from_numpy(prediction.astype(np.float32)).permute(2, 0, 1)


@pytest.mark.parametrize("protocol", ["dsine", "marigold"])
def test_pooling_and_averaging_split_by_edges(protocol):
    evaluator, parts = Evaluator(PROTOCOLS[protocol]), {"everywhere": [], "on_edges": [], "off_edges": []}
    for pair, prediction in _random_pairs():
        evaluator.add(pair, prediction)
        truth = channels_first(pair.normals)
        angles = angular_error_deg(prediction[None], truth[None])[0]
        valid, near = (truth != 0).any(0), near_edges(truth)
        for region, mask in (("everywhere", valid), ("on_edges", valid & near), ("off_edges", valid & ~near)):
            parts[region].append(angles[mask])
    for region, angles in parts.items():
        metrics = getattr(evaluator.summary(), region)
        if protocol == "dsine":
            expected = angular_metrics(torch.cat(angles))
            assert metrics.median == pytest.approx(expected.median, abs=QUANTILE_ERROR_DEG)
        else:
            each = [angular_metrics(one) for one in angles]
            expected = each[0]
            assert metrics.median == pytest.approx((each[0].median + each[1].median) / 2)
            assert metrics.mean == pytest.approx((each[0].mean + each[1].mean) / 2)
            continue
        assert metrics.mean == pytest.approx(expected.mean)
        assert metrics.below == pytest.approx(expected.below)
        assert metrics.count == expected.count


def test_pixels_without_a_prediction_are_counted_and_cost_90_degrees():
    pair, prediction = next(_random_pairs())
    prediction[:, 10] = 0
    evaluator = Evaluator(PROTOCOLS["dsine"])
    compared = evaluator.add(pair, prediction)
    assert compared.score.missing == evaluator.summary().missing == 30
    assert (compared.angles_deg[10] == 90).all()


def test_an_image_without_edges_has_no_score_on_edges():
    normals = np.zeros((10, 10, 3), np.float32)
    normals[..., 2] = 1
    evaluator = Evaluator(PROTOCOLS["marigold"])
    compared = evaluator.add(Pair("flat", "flat", normals, normals), channels_first(normals))
    assert compared.score.on_edges is None and compared.score.off_edges is not None
    assert evaluator.summary().on_edges is None


def test_the_summary_carries_the_frame_warning():
    evaluator = Evaluator(PROTOCOLS["dsine"], "directx")
    for pair, prediction in _random_pairs():
        evaluator.add(pair, prediction * torch.tensor([1.0, -1.0, 1.0])[:, None, None])
    assert "`frame` opengl" in evaluator.summary().frame_warning
