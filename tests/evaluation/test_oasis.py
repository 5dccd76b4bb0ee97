import os
import pickle

import numpy as np
import pytest

from stablenormal.errors import DataError
from stablenormal.evaluation.ground_truth import decode_oasis
from stablenormal.evaluation.oasis import read_region

NORMALS = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
CONTENT = {"min_y": 2, "max_y": 4, "min_x": 1, "max_x": 4, "normal": NORMALS}


class _Attack:
    def __reduce__(self):
        return os.system, ("echo taken > TAKEN",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_region_is_read_from_every_pickle_protocol(tmp_path, protocol) -> None:
    path = tmp_path / "x_normal.pkl"
    numbers = {key: np.int64(value) for key, value in CONTENT.items() if key != "normal"}
    for content in (CONTENT, CONTENT | numbers, CONTENT | {"normal": np.asfortranarray(NORMALS)}):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        region = read_region(path)
        assert (region.top, region.left) == (2, 1)
        np.testing.assert_array_equal(region.normals, NORMALS)


def test_names_of_older_numpy_are_understood(tmp_path) -> None:
    data = pickle.dumps(CONTENT, protocol=2)
    assert b"numpy._core" in data
    path = tmp_path / "x_normal.pkl"
    path.write_bytes(data.replace(b"numpy._core", b"numpy.core"))
    np.testing.assert_array_equal(read_region(path).normals, NORMALS)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_cannot_run_code(tmp_path, monkeypatch, protocol) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x_normal.pkl"
    path.write_bytes(pickle.dumps(CONTENT | {"normal": _Attack()}, protocol=protocol))
    with pytest.raises(DataError, match=r"x_normal\.pkl: not a pickle of plain arrays"):
        read_region(path)
    assert not (tmp_path / "TAKEN").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_y": 5}, "does not fit its box"),
        ({"min_y": -1, "max_y": 1}, "does not fit its box"),
        ({"normal": NORMALS[..., 0]}, "does not fit its box"),
        ({"normal": "text"}, "no numbers"),
        ({"min_x": None}, "no numbers"),
    ],
)
def test_a_region_that_does_not_fit_is_named(tmp_path, change, message) -> None:
    path = tmp_path / "x_normal.pkl"
    path.write_bytes(pickle.dumps(CONTENT | change))
    with pytest.raises(DataError, match=rf"x_normal\.pkl: .*{message}"):
        read_region(path)


def test_other_content_is_named(tmp_path) -> None:
    path = tmp_path / "x_normal.pkl"
    path.write_bytes(pickle.dumps({"box": 1, "normal": NORMALS}))
    with pytest.raises(DataError, match="found box, normal"):
        read_region(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="found list"):
        read_region(path)
    path.write_bytes(b"no pickle")
    with pytest.raises(DataError, match="not a pickle"):
        read_region(path)


def test_a_region_outside_its_photograph_is_refused(tmp_path) -> None:
    path = tmp_path / "x_normal.pkl"
    path.write_bytes(pickle.dumps(CONTENT))
    assert decode_oasis(path, (5, 5)).shape == (5, 5, 3)
    with pytest.raises(DataError, match="outside its photograph"):
        decode_oasis(path, (4, 5))
