import cv2
import numpy as np
import pytest
import torch

from stablenormal.errors import DataError, ImageShapeError, NormalMapError
from stablenormal.evaluation.pairs import read_pairs
from stablenormal.evaluation.run import score


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
