import numpy as np
import pytest
import torch

from stablenormal.geometry.layout import channels_first, channels_last


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_there_and_back(kind: type) -> None:
    pixels = np.arange(24).reshape(2, 4, 3).astype(kind)
    planes = channels_first(pixels)
    assert planes.shape == (3, 2, 4)
    assert planes[1, 0, 2] == pixels[0, 2, 1]
    back = channels_last(planes)
    assert back.flags.c_contiguous and back.dtype == kind
    np.testing.assert_array_equal(back, pixels)


def test_a_cut_or_mirrored_array_is_taken_as_it_looks() -> None:
    pixels = np.arange(24.0).reshape(2, 4, 3)[:, ::-1]
    np.testing.assert_array_equal(channels_last(channels_first(pixels)), pixels)


def test_a_tensor_that_learns_is_read_without_its_history() -> None:
    planes = torch.ones(3, 2, 2, requires_grad=True)
    assert channels_last(planes).sum() == 12
