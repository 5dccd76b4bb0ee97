import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.models.processor import has_amx, has_avx512_bf16
from stablenormal.pipelines.placement import choose_device, choose_dtype

CPU = torch.device("cpu")


class TestDevice:
    def test_named(self):
        assert choose_device("cpu") == CPU
        assert choose_device(CPU) == CPU

    def test_default_is_the_fastest_present(self, monkeypatch):
        for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
            monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
            assert choose_device().type == expected

    @pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99"])
    def test_refuses_by_name(self, name):
        with pytest.raises(SettingError, match=f"device: '{name}'"):
            choose_device(name)

    def test_refuses_absent_mps(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(SettingError, match="use cpu"):
            choose_device("mps")


class TestDtype:
    @pytest.mark.parametrize("amx", [True, False])
    @pytest.mark.parametrize("avx512", [True, False])
    def test_default_on_a_cpu_depends_on_its_bfloat16(self, monkeypatch, amx, avx512):
        told = {"amx_bf16": amx, "avx512_bf16": avx512}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
        assert (has_amx(), has_avx512_bf16()) == (amx, avx512)
        assert choose_dtype(None, CPU) == (torch.bfloat16 if amx or avx512 else torch.float32)

    def test_a_torch_that_does_not_tell_means_float32(self, monkeypatch):
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        assert choose_dtype(None, CPU) == torch.float32

    @pytest.mark.parametrize("supported", [True, False])
    def test_default_on_cuda(self, monkeypatch, supported):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
        expected = torch.bfloat16 if supported else torch.float32
        assert choose_dtype(None, torch.device("cuda")) == expected

    def test_default_on_mps(self):
        assert choose_dtype(None, torch.device("mps")) == torch.float32

    def test_named(self):
        assert choose_dtype("bfloat16", CPU) == choose_dtype(torch.bfloat16, CPU) == torch.bfloat16
        assert choose_dtype("float16", torch.device("cuda")) == torch.float16

    @pytest.mark.parametrize("name", ["half", torch.int8, "float16"])
    def test_refuses_by_name(self, name):
        with pytest.raises(SettingError, match="dtype"):
            choose_dtype(name, CPU)
