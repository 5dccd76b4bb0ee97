"""Normal maps with less detail, as coarse estimators and generators give them."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import SettingError
from stablenormal.geometry.normals import unit_length, valid_mask

_REACH = 3

_SAMPLED_PX = 6
"""Deviation, in pixels of the reduced map, at which wide blurs are computed."""


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
    size = (normals.shape[1], normals.shape[2])
    weighted = _with_weight(normals)
    factor = max(1, int(sigma_px / _SAMPLED_PX))
    if factor == 1:
        return _mean(_smooth(weighted, sigma_px, sigma_px), normals)
    # A wide blur leaves nothing that a smaller map could not hold.
    small = (max(1, round(size[0] / factor)), max(1, round(size[1] / factor)))
    less = functional.interpolate(weighted, size=small, mode="area")
    less = _smooth(less, sigma_px * small[0] / size[0], sigma_px * small[1] / size[1])
    return _mean(functional.interpolate(less, size=size, mode="bilinear"), normals)


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


def blur_width_px(normals: Tensor) -> float:
    """How much a normal map seems to be blurred, from how much a further blur flattens it.

    The squared gradient at an edge that was blurred by a Gaussian of width w goes as 1 / w. So a further
    blur of width s leaves the share r = w / sqrt(w^2 + s^2) of its sum.

    Args:
        normals: (3, H, W), zero vectors where invalid.

    Returns:
        w in pixels, from 0 to an eighth of the longer side; that for a map without any edge.
    """
    longer = max(normals.shape[1:])
    further = max(1.0, longer / 128)
    before, after = (_squared_gradient(one) for one in (normals, blur_normals(normals, further)))
    share = after / before if before > 0 else 1.0
    most = longer / 8
    return most if share >= 1 else min(most, further * share / math.sqrt(1 - share**2))


def _squared_gradient(normals: Tensor) -> float:
    """Sum of squared differences between valid neighbours."""
    valid = valid_mask(normals)
    across = (normals[:, :, 1:] - normals[:, :, :-1]).square().sum(dim=0)[valid[:, 1:] & valid[:, :-1]]
    down = (normals[:, 1:] - normals[:, :-1]).square().sum(dim=0)[valid[1:] & valid[:-1]]
    return float(across.double().sum() + down.double().sum())


def _smooth(channels: Tensor, down_px: float, across_px: float) -> Tensor:
    """Channels (1, 4, H, W) blurred by a Gaussian of these deviations; zero outside."""
    for sigma, axis in ((across_px, 3), (down_px, 2)):
        radius = max(1, round(_REACH * sigma))
        places = torch.arange(-radius, radius + 1, device=channels.device)
        taps = torch.exp(-0.5 * (places / sigma) ** 2)
        taps = (taps / taps.sum()).to(channels.dtype)
        shape, padding = ((4, 1, 1, -1), (0, radius)) if axis == 3 else ((4, 1, -1, 1), (radius, 0))
        kernel = taps.view(shape[1:]).expand(4, -1, -1, -1)
        channels = functional.conv2d(channels, kernel, padding=padding, groups=4)
    return channels


def _with_weight(normals: Tensor) -> Tensor:
    """(1, 4, H, W): the vectors, and 1 where they are valid."""
    return torch.cat([normals, valid_mask(normals)[None].to(normals.dtype)])[None]


def _mean(smooth: Tensor, normals: Tensor) -> Tensor:
    """Unit vectors of weighted sums (1, 4, H, W), where the map had any."""
    vectors = unit_length(smooth[:, :3] / smooth[:, 3:].clamp(min=1e-6))[0]
    return torch.where(valid_mask(normals), vectors, 0.0)
