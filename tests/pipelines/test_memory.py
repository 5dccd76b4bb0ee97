"""What cannot fit is refused before it is computed, with what would fit."""

import re

import pytest
import torch

from stablenormal.errors import MemoryShortageError
from stablenormal.models.architecture import SD21, SD21_SPEC
from stablenormal.models.building import build_components
from stablenormal.pipelines import memory
from stablenormal.pipelines.memory import call_bytes, check_memory, free_bytes

CPU = torch.device("cpu")


def test_full_size_is_told_within_a_third_of_what_was_measured():
    """Stable Diffusion 2.1's shapes in bfloat16: 1.0 GiB above the weights at 768 px."""
    with torch.device("meta"):
        components = build_components(SD21, SD21_SPEC)
    told = call_bytes(components, (1, 3, 768, 768), 5, torch.bfloat16) / 2**30
    assert 1.0 < told < 1.4
    assert call_bytes(components, (1, 3, 768, 768), 5, torch.float32) == pytest.approx(2 * told * 2**30)


class TestCheck:
    @pytest.fixture
    def free(self, components, monkeypatch):
        """Set free memory to what a batch of that shape needs."""

        def set_free(*shape):
            enough = call_bytes(components, shape, 5, torch.float32)
            monkeypatch.setattr(memory, "free_bytes", lambda device: enough)

        return set_free

    def test_what_fits_passes(self, components, free):
        free(2, 3, 512, 384)
        check_memory(components, (2, 3, 512, 384), 5, CPU, torch.float32)

    def test_a_smaller_batch_is_advised(self, components, free):
        free(2, 3, 512, 384)
        with pytest.raises(MemoryShortageError, match=r"4 images of 512 x 384 .*; use a batch size of 2"):
            check_memory(components, (4, 3, 512, 384), 5, CPU, torch.float32)

    def test_a_resolution_that_fits_is_advised(self, components, free):
        free(1, 3, 512, 384)
        with pytest.raises(MemoryShortageError) as refused:
            check_memory(components, (1, 3, 2048, 1536), 5, CPU, torch.float32)
        size = int(re.search(r"use a resolution of (\d+)", str(refused.value))[1])
        assert size == 512

    def test_nothing_is_computed(self, pipeline, images, monkeypatch):
        monkeypatch.setattr(memory, "free_bytes", lambda device: 1.0)
        monkeypatch.setattr(pipeline.components, "encode_image", lambda image: pytest.fail("was computed"))
        with pytest.raises(MemoryShortageError, match="close other programs"):
            pipeline(images[0])

    def test_a_system_that_does_not_tell_is_trusted(self, components, monkeypatch):
        monkeypatch.setattr(memory, "free_bytes", lambda device: None)
        check_memory(components, (1, 3, 1 << 15, 1 << 15), 5, CPU, torch.float32)


class TestFree:
    def test_of_a_container(self, tmp_path):
        (tmp_path / "memory.max").write_text("1000\n")
        (tmp_path / "memory.stat").write_text("anon 300\nfile 600\n")
        assert memory._left_of_group(tmp_path) == 700
        (tmp_path / "memory.max").write_text("max\n")
        assert memory._left_of_group(tmp_path) is None
        assert memory._left_of_group(tmp_path / "none") is None

    def test_other_devices_do_not_tell(self):
        assert free_bytes(torch.device("meta")) is None
