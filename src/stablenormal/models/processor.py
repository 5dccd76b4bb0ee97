"""What the CPU computes in hardware."""

import torch


def has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 tiles in hardware (Intel AMX)."""
    return _says("amx_bf16")


def has_avx512_bf16() -> bool:
    """Whether the CPU multiplies pairs of bfloat16 in its vector units (AMD from Zen 4, Intel from 2020)."""
    return _says("avx512_bf16")


def _says(name: str) -> bool:
    tell = getattr(torch.cpu, "get_capabilities", None)  # torch 2.13 and later; earlier ones do not tell
    capabilities: dict[str, object] = tell() if tell is not None else {}
    return bool(capabilities.get(name, False))
