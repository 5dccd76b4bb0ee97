"""The geometry of arrays and of maps that know their frame, beside that of tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stablenormal.errors import FrameError, ImageShapeError
from stablenormal.geometry.normal_map import NormalMap
from stablenormal.geometry.normals import angular_error_deg, convert_frame
from stablenormal.io.normal_map import read_normal_map, write_normal_map


@pytest.fixture
def vectors() -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


@pytest.fixture
def read(vectors: np.ndarray, tmp_path: Path) -> NormalMap:
    write_normal_map(tmp_path / "a.exr", vectors, frame="directx", format="exr")
    return read_normal_map(tmp_path / "a.exr")


def test_a_map_says_in_which_frame_its_vectors_are(read: NormalMap, vectors: np.ndarray) -> None:
    assert (read.frame, read.stored_frame) == ("opengl", "directx")
    assert repr(read) == "NormalMap(7 x 5 px, frame opengl, stored as directx, 100 % valid)"
    np.testing.assert_allclose(np.asarray(read), vectors, atol=1e-6)
    assert np.asarray(read, np.float64).dtype == np.float64


def test_frames_of_arrays_maps_and_tensors_are_converted_alike(read: NormalMap, vectors: np.ndarray) -> None:
    planes = torch.from_numpy(vectors).permute(2, 0, 1)[None]
    expected = convert_frame(planes, "opengl", "opencv")[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(convert_frame(vectors, "opengl", "opencv"), expected)
    turned = convert_frame(read, "opengl", "opencv")
    assert isinstance(turned, NormalMap) and turned.frame == "opencv" and turned.stored_frame == "directx"
    np.testing.assert_allclose(turned.normals, expected, atol=1e-6)
    rotation = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(convert_frame(vectors, "opengl", "world", rotation), vectors @ rotation.T)


def test_angles_of_arrays_and_maps_are_those_of_tensors(read: NormalMap, vectors: np.ndarray) -> None:
    other = np.roll(vectors, 1, axis=0)
    planes = [torch.from_numpy(one).permute(2, 0, 1)[None] for one in (vectors, other)]
    np.testing.assert_array_equal(angular_error_deg(vectors, other), angular_error_deg(*planes)[0].numpy())
    np.testing.assert_allclose(angular_error_deg(read, vectors), 0, atol=1e-3)
    assert angular_error_deg(read, read).shape == (5, 7)


def test_a_map_that_was_read_can_be_written(read: NormalMap, tmp_path: Path) -> None:
    write_normal_map(tmp_path / "b.npy", read, frame="dsine", format="npy")
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), read.normals * [-1, 1, 1], atol=1e-6)


def test_differing_frames_are_refused(read: NormalMap, tmp_path: Path) -> None:
    turned = convert_frame(read, "opengl", "opencv")
    with pytest.raises(FrameError, match="in frames 'opengl' and 'opencv'; convert one"):
        angular_error_deg(read, turned)
    with pytest.raises(FrameError, match="in frame 'opencv', not 'opengl'"):
        convert_frame(turned, "opengl", "dsine")
    with pytest.raises(FrameError, match="in frame 'opencv', expected 'opengl'; convert it"):
        write_normal_map(tmp_path / "b.exr", turned, format="exr")


def test_what_is_no_map_says_what_to_do(vectors: np.ndarray) -> None:
    with pytest.raises(ImageShapeError, match=r"channels come last: array\.transpose\(1, 2, 0\)"):
        convert_frame(vectors.transpose(2, 0, 1), "opengl", "opencv")
    with pytest.raises(ImageShapeError, match="got an array of uint8; decode colours"):
        angular_error_deg(vectors, (vectors * 127 + 128).astype(np.uint8))
    with pytest.raises(ImageShapeError, match="got one of each"):
        angular_error_deg(vectors, torch.zeros(1, 3, 5, 7))
