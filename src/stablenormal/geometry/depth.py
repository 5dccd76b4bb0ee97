"""Normals of a depth map, by fitting a plane around every pixel.

A plane n . P = d seen by a pinhole camera has an inverse depth that is linear in the pixel: 1 / depth = (n /
d) . ray. So an ordinary linear fit of inverse depth over a window is exact on planes, near or grazing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.camera import Intrinsics, rays
from stablenormal.geometry.normals import unit_length

_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(rows, columns) to half of the eight neighbours; the other half are their opposites."""

_WELL_SPREAD = 1e-3
"""Smallest determinant of a fit's normalised matrix: below, the pixels lie on one line and fix no plane."""


def normals_from_depth(
    depth: Tensor, intrinsics: Intrinsics, window: int = 5, discontinuity: float = 0.02
) -> Tensor:
    """Surface normals by weighted least-squares plane fits.

    A pixel is fitted to those neighbours in the window that no depth discontinuity cuts off from it on the
    straight way. Between two pixels there is one if the inverse depth jumps by `discontinuity`, relative to
    itself, more than it does right before and right after: a slanted plane, however steep, has none.

    Args:
        depth: (B, 1, H, W), distance from the image plane (z, not along the ray), in any unit; pixels that
            are not positive and finite are invalid.
        intrinsics: of the pictures.
        window: side of the square window in pixels, odd, at least 3; larger is smoother. Weights are Gaussian
            with a standard deviation of a quarter of it.
        discontinuity: relative jump of inverse depth that separates surfaces; noise should stay below it.

    Returns:
        Unit normals (B, 3, H, W), OpenGL camera, facing the camera; zero where depth is invalid or fewer than
        three neighbours spread over the plane.

    Raises:
        ImageShapeError: if the depth does not have the shape of the intrinsics.
        SettingError: if the window is even or too small, or the discontinuity is not positive.
    """
    if depth.ndim != 4 or depth.shape[1:] != (1, intrinsics.height, intrinsics.width):
        raise ImageShapeError(
            f"expected depth (B, 1, {intrinsics.height}, {intrinsics.width}) as the intrinsics say, got "
            f"{tuple(depth.shape)}; resize one to the other first"
        )
    if window < 3 or window % 2 == 0:
        raise SettingError(f"window = {window} has no middle pixel with neighbours; choose 3, 5, 7, ...")
    if discontinuity <= 0:
        raise SettingError(f"discontinuity = {discontinuity} cuts every pixel off; choose a positive number")
    valid = torch.isfinite(depth) & (depth > 0)
    inverse = torch.where(
        valid, 1 / torch.where(valid, depth, torch.ones_like(depth)), torch.zeros_like(depth)
    )
    links = _links(inverse, valid, discontinuity)
    slope_u, slope_v, middle, well_posed = _fit_planes(inverse, valid, links, window)
    vectors = _plane_normals(slope_u, slope_v, middle, intrinsics)
    vectors = torch.where(well_posed, vectors, torch.zeros_like(vectors))
    return unit_length(vectors, eps=0.0)


def depth_from_distance(distance: Tensor, intrinsics: Intrinsics) -> Tensor:
    """Depth (z) from the distance along each pixel's ray, which Hypersim and many ray tracers store.

    Args:
        distance: (B, 1, H, W) from the camera centre.
        intrinsics: of the pictures.

    Returns:
        (B, 1, H, W), the distance from the image plane.

    Raises:
        ImageShapeError: if the distance does not have the shape of the intrinsics.
    """
    if distance.ndim != 4 or distance.shape[1:] != (1, intrinsics.height, intrinsics.width):
        raise ImageShapeError(
            f"expected distances (B, 1, {intrinsics.height}, {intrinsics.width}) as the intrinsics say, got "
            f"{tuple(distance.shape)}; resize one to the other first"
        )
    directions = rays(intrinsics, device=distance.device, dtype=distance.dtype)
    stretch: Tensor = torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    return distance / stretch


def _links(inverse: Tensor, valid: Tensor, discontinuity: float) -> dict[tuple[int, int], Tensor]:
    """For each step to a neighbour: whether both pixels are valid and on one surface, (B, 1, H, W)."""
    links = {}
    for step in _STEPS:
        back = (-step[0], -step[1])
        both = valid & _shift(valid, step)
        jump = torch.where(both, _shift(inverse, step) - inverse, torch.zeros_like(inverse))
        scale = discontinuity * torch.maximum(inverse, _shift(inverse, step))
        odd_before = (jump - _shift(jump, back)).abs() > scale
        odd_after = (jump - _shift(jump, step)).abs() > scale
        known_before, known_after = _shift(both, back), _shift(both, step)
        broken = (odd_before | ~known_before) & (odd_after | ~known_after)
        unknown = ~known_before & ~known_after
        broken = torch.where(unknown, jump.abs() > scale, broken)
        links[step] = both & ~broken
        links[back] = _shift(links[step], back)
    return links


def _fit_planes(
    inverse: Tensor, valid: Tensor, links: dict[tuple[int, int], Tensor], window: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit relative inverse depth as a u + b v + c over the linked part of each window.

    Returns:
        Slopes per pixel along u and v, value in the middle, all relative to the middle pixel's inverse depth,
        and whether the fit is well posed; (B, 1, H, W) each.
    """
    reach = window // 2
    sigma = window / 4
    centre = torch.where(valid, inverse, torch.ones_like(inverse))
    linked = {(0, 0): valid}
    zero = torch.zeros_like(inverse)
    moments = [zero] * 6  # sums of w, wu, wv, wuu, wuv, wvv
    products = [zero] * 3  # sums of wq, wuq, wvq
    for offset in _outward_offsets(reach):
        if offset != (0, 0):
            parent, step = _parent(offset)
            linked[offset] = linked[parent] & _shift(links[step], parent)
        v, u = offset
        weight = linked[offset].to(inverse.dtype) * torch.exp(
            inverse.new_tensor(-(u * u + v * v) / (2 * sigma * sigma))
        )
        relative = weight * (_shift(inverse, offset) / centre - 1)
        moments = [m + weight * f for m, f in zip(moments, (1, u, v, u * u, u * v, v * v), strict=True)]
        products = [p + relative * f for p, f in zip(products, (1, u, v), strict=True)]
    return _solve(moments, products, valid)


def _solve(
    moments: list[Tensor], products: list[Tensor], valid: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Solve the two-dimensional regression from its sums, about the weighted mean."""
    w, wu, wv, wuu, wuv, wvv = moments
    total = torch.where(valid, w, torch.ones_like(w))
    u_mean, v_mean, q_mean = wu / total, wv / total, products[0] / total
    uu = wuu / total - u_mean * u_mean
    uv = wuv / total - u_mean * v_mean
    vv = wvv / total - v_mean * v_mean
    uq = products[1] / total - u_mean * q_mean
    vq = products[2] / total - v_mean * q_mean
    determinant = uu * vv - uv * uv
    well_posed = valid & (determinant > _WELL_SPREAD)
    divisor = torch.where(well_posed, determinant, torch.ones_like(determinant))
    slope_u = (vv * uq - uv * vq) / divisor
    slope_v = (uu * vq - uv * uq) / divisor
    middle = 1 + q_mean - slope_u * u_mean - slope_v * v_mean
    return slope_u, slope_v, middle, well_posed


def _plane_normals(slope_u: Tensor, slope_v: Tensor, middle: Tensor, intrinsics: Intrinsics) -> Tensor:
    """Find n / d of each plane, up to a positive factor, turned to the camera: (B, 3, H, W)."""
    u = torch.arange(intrinsics.width, device=middle.device, dtype=middle.dtype) + 0.5 - intrinsics.cx
    v = torch.arange(intrinsics.height, device=middle.device, dtype=middle.dtype) + 0.5 - intrinsics.cy
    # 1 / depth = m . ray with ray = (u / fx, -v / fy, -1), so m = (fx a, -fy b, a u + b v - middle). It is
    # positive, so m points along the ray, and -m to the camera.
    x = -intrinsics.fx * slope_u
    y = intrinsics.fy * slope_v
    z = middle - slope_u * u - slope_v * v[:, None]
    return torch.cat([x, y, z], dim=1)


def _outward_offsets(reach: int) -> list[tuple[int, int]]:
    """Every (row, column) offset of the window, inner rings first."""
    side = range(-reach, reach + 1)
    return sorted(((v, u) for v in side for u in side), key=lambda o: max(abs(o[0]), abs(o[1])))


def _parent(offset: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The pixel before `offset` on the straight way from the middle, and the step between them."""
    ring = max(abs(offset[0]), abs(offset[1]))
    parent = (round(offset[0] * (ring - 1) / ring), round(offset[1] * (ring - 1) / ring))
    return parent, (offset[0] - parent[0], offset[1] - parent[1])


def _shift(maps: Tensor, offset: tuple[int, int]) -> Tensor:
    """The value at pixel + offset, zero or False outside."""
    v, u = offset
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (max(-u, 0), max(u, 0), max(-v, 0), max(v, 0)))
    top, left = max(v, 0), max(u, 0)
    return padded[..., top : top + height, left : left + width]
