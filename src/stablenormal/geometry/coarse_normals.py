"""Normal maps with less detail, as coarse estimators and generators give them."""

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import SettingError
from stablenormal.geometry.normals import unit_length

_REACH = 3


def blur_normals(normals: Tensor, sigma_px: float) -> Tensor:
    """Blur a normal map by a Gaussian over its valid pixels.

    Args:
        normals: (3, H, W), zero vectors where invalid; these stay zero and do not count.
        sigma_px: standard deviation in pixels.

    Returns:
        (3, H, W), unit length.

    Raises:
        SettingError: if the deviation is not positive.
    """
    if sigma_px <= 0:
        raise SettingError(f"sigma_px is {sigma_px}; it must be positive")
    radius = max(1, round(_REACH * sigma_px))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=normals.device) / sigma_px) ** 2)
    taps = (taps / taps.sum()).to(normals.dtype).expand(4, 1, 1, -1)
    smooth = functional.conv2d(_with_weight(normals), taps, padding=(0, radius), groups=4)
    smooth = functional.conv2d(smooth, taps.transpose(2, 3), padding=(radius, 0), groups=4)
    return _mean(smooth, normals)


def reduce_normals(normals: Tensor, factor: float) -> Tensor:
    """Bring a normal map to 1 / factor of its size and back.

    Args:
        normals: (3, H, W), zero vectors where invalid; these stay zero and do not count.
        factor: at least 1.

    Returns:
        (3, H, W), unit length.

    Raises:
        SettingError: if the factor is less than 1.
    """
    if factor < 1:
        raise SettingError(f"factor is {factor}; it must be at least 1")
    size = (normals.shape[1], normals.shape[2])
    small = (max(1, round(size[0] / factor)), max(1, round(size[1] / factor)))
    less = functional.interpolate(_with_weight(normals), size=small, mode="bilinear", antialias=True)
    return _mean(functional.interpolate(less, size=size, mode="bilinear"), normals)


def _with_weight(normals: Tensor) -> Tensor:
    """(1, 4, H, W): the vectors, and 1 where they are valid."""
    return torch.cat([normals, (normals != 0).any(dim=0, keepdim=True).to(normals.dtype)])[None]


def _mean(smooth: Tensor, normals: Tensor) -> Tensor:
    """Unit vectors of weighted sums (1, 4, H, W), where the map had any."""
    vectors = unit_length(smooth[:, :3] / smooth[:, 3:].clamp(min=1e-6))[0]
    return torch.where((normals != 0).any(dim=0), vectors, 0.0)
