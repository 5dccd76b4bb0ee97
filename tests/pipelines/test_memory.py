import pytest
import torch

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.pipelines import memory


@pytest.fixture
def free(monkeypatch):
    """Says how much memory is free."""

    def say(gigabytes):
        monkeypatch.setattr(memory, "available_bytes", lambda device: int(gigabytes * 1e9))

    return say


def test_this_machine_tells_what_is_free():
    told = memory.available_bytes(torch.device("cpu"))
    assert told is None or 1e7 < told < 1e14


def test_a_device_that_does_not_tell_refuses_nothing(pipeline, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: None)
    memory.require_memory(pipeline.components, torch.device("cpu"), (10**6, 10**6), 1, 10**6, "image 0")


def test_needs_grow_with_pixels_and_batch(pipeline):
    one = memory.needed_bytes(pipeline.components, (64, 64), 1)
    assert memory.needed_bytes(pipeline.components, (128, 64), 3) == 6 * one


def test_a_resolution_that_cannot_fit_is_refused_with_one_that_would(pipeline, free):
    free(0.01)
    with pytest.raises(SettingError, match=r"processing_resolution.*: 16384 needs about .* GB") as caught:
        pipeline(torch.rand(3, 20, 40), processing_resolution=16384)
    fits = int(str(caught.value).split(" px of the longer side would fit")[0].split()[-1])
    assert memory.needed_bytes(pipeline.components, (fits // 2, fits), 1) <= 0.01e9
    assert memory.needed_bytes(pipeline.components, (fits // 2 + 16, fits + 32), 1) > 0.01e9
    pipeline(torch.rand(3, 20, 40), processing_resolution=32)


def test_a_batch_that_cannot_fit_is_refused_with_one_that_would(pipeline, free):
    images = torch.rand(6, 3, 32, 32)
    free(memory.needed_bytes(pipeline.components, (32, 32), 1) * 4.5 / 1e9)
    with pytest.raises(SettingError, match=r"batch_size.*: 6 at 32 x 32 px need .*; 4 would fit"):
        pipeline(images, batch_size=6)
    pipeline(images, batch_size=3)


def test_tiles_that_cannot_fit_together_are_refused_before_the_whole_is_seen(pipeline, free, monkeypatch):
    free(memory.needed_bytes(pipeline.components, (32, 32), 1) * 2.5 / 1e9)
    monkeypatch.setattr(type(pipeline), "_run", lambda *unused: pytest.fail("something was computed"))
    with pytest.raises(SettingError, match=r"batch_size.*: 4 at .*; 2 would fit"):
        pipeline(torch.rand(3, 150, 200), tile=True, tile_size=96, batch_size=4)


def test_one_image_too_large_at_its_own_size_is_its_own_failure(pipeline, free):
    free(memory.needed_bytes(pipeline.components, (64, 64), 1) * 1.5 / 1e9)
    with pytest.raises(ImageShapeError, match=r"image 1: its own size needs .* px of the longer side"):
        pipeline([torch.rand(3, 64, 64), torch.rand(3, 128, 128)], processing_resolution=0)
