"""Which device and which number format a model runs in."""

import torch

from stablenormal.errors import SettingError
from stablenormal.models.devices import DEVICES, DTYPES
from stablenormal.models.processor import has_amx, has_avx512_bf16

TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name, or the fastest one present.

    Raises:
        SettingError: if the device does not exist or is not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device: {name!r} does not exist; choose one of {', '.join(DEVICES)}") from error
    if device.type not in DEVICES:
        raise SettingError(f"device: {name!r} is not supported; choose one of {', '.join(DEVICES)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"device: {name!r} is not there (CUDA devices: {torch.cuda.device_count()}); use cpu"
        )
    if device.type == "mps" and not _has_mps():
        raise SettingError(f"device: {name!r} is not there on this machine; use cpu")
    return device


def choose_dtype(name: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The dtype of that name, or bfloat16 where the device computes it in hardware, else float32.

    Hardware: CUDA's, AMX, or AVX-512 BF16, with which convolutions and matrix products of an AMD EPYC took
    0.45 of their time in float32.

    Raises:
        SettingError: if the dtype does not exist.
    """
    if name is None:
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    dtype = TORCH_DTYPES.get(name) if isinstance(name, str) else name
    if dtype not in TORCH_DTYPES.values():
        raise SettingError(f"dtype: {name!r} does not exist; choose one of {', '.join(DTYPES)}")
    if dtype == torch.float16 and device.type == "cpu":
        raise SettingError("dtype: float16 is not for the CPU; choose bfloat16 or float32")
    assert dtype is not None
    return dtype


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (has_amx() or has_avx512_bf16())


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())
