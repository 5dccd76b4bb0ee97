"""Channels first and channels last: torch keeps maps as (C, H, W), files and NumPy keep them as (H, W, C)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def channels_first(pixels: npt.NDArray[Any]) -> Tensor:
    """An array (H, W, C) as a tensor (C, H, W) of the same numbers; it shares memory where it can."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def channels_last(planes: Tensor) -> npt.NDArray[Any]:
    """A tensor (C, H, W) on any device as a contiguous array (H, W, C)."""
    return np.ascontiguousarray(planes.detach().cpu().permute(1, 2, 0).numpy())
