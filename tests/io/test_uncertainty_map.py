from pathlib import Path

import cv2
import numpy as np
import pytest

from stablenormal.errors import OutputError
from stablenormal.io.uncertainty_map import write_uncertainty_map

MAP = np.array([[0.0, 1.234, 12.3456], [90.0, 179.999, 180.0]], dtype=np.float32)


def test_png_holds_hundredths_of_a_degree(tmp_path: Path) -> None:
    write_uncertainty_map(tmp_path / "u.png", MAP)
    image = cv2.imread(str(tmp_path / "u.png"), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    assert image.shape == MAP.shape
    assert np.abs(image / 100 - MAP).max() <= 0.005 + 1e-4


def test_npy_holds_degrees(tmp_path: Path) -> None:
    write_uncertainty_map(tmp_path / "u.npy", MAP)
    assert np.array_equal(np.load(tmp_path / "u.npy"), MAP)


def test_another_ending_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="u.jpg"):
        write_uncertainty_map(tmp_path / "u.jpg", MAP)
    assert list(tmp_path.iterdir()) == []
