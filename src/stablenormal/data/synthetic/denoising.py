"""Removes a path tracer's noise by an edge-avoiding wavelet filter that exact geometry guides.

Source: Dammertz et al., "Edge-Avoiding A-Trous Wavelet Transform for fast Global Illumination Filtering",
HPG 2010, with the variance-guided colour weight of Schied et al., "Spatiotemporal Variance-Guided Filtering",
HPG 2017.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import median_filter

from stablenormal.data.synthetic.rasteriser import GBuffer, Map

LEVELS = 4
"""Passes; the last one reaches 2**(LEVELS - 1) pixels to each side."""
NORMAL_POWER = 64.0
"""How fast weights fall with the angle between normals: half at 8.4 degrees."""
PLANE_DISTANCE = 0.01
"""Distance from the tangent plane, relative to depth, at which weights fall to 1 / e."""
COLOUR_SIGMAS = 6.0
"""Differences of brightness beyond so many standard deviations are detail, not noise."""
FIREFLY = 16.0
"""Brightness that a batch may have against the median around it."""
LEAST_ALBEDO = 0.04
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_KERNEL = (0.25, 0.5, 0.25)


@dataclass(frozen=True)
class Estimate:
    """Radiance and its variance."""

    colour: Map
    """(H, W, 3) linear."""
    variance: Map
    """(H, W) variance of its luminance."""


def combined(batches: Map) -> Estimate:
    """The mean of independent renders, without their fireflies.

    A path that finds a small bright light by chance makes one pixel of one batch far too bright. Each batch
    is held below FIREFLY times the median around it.

    Args:
        batches: (K, H, W, 3) linear radiance.
    """
    luminance = batches @ _LUMINANCE  # (K, H, W)
    middle = median_filter(np.median(luminance, 0), 3, mode="nearest")
    limit = FIREFLY * middle + 0.1 * float(luminance.mean())
    kept = batches * np.minimum(1, limit / np.maximum(luminance, 1e-9))[..., None]
    count = len(batches)
    if count > 1:
        spread = (kept @ _LUMINANCE).var(0, ddof=1) / count
    else:  # one batch tells nothing of its noise but by its neighbours
        single = kept[0] @ _LUMINANCE
        spread = cv2.blur(single**2, (3, 3)) - cv2.blur(single, (3, 3)) ** 2
    return Estimate(np.asarray(kept.mean(0), np.float32), np.asarray(np.maximum(spread, 0), np.float32))


def denoised(estimate: Estimate, albedo: Map, geometry: GBuffer, rays: Map) -> Map:
    """The picture with its noise averaged along surfaces.

    Light is filtered without the surface's own colour, so textures stay sharp.

    Args:
        estimate: what was rendered.
        albedo: (H, W, 3) colour of the surface, averaged over the pixel as the picture is.
        geometry: normals, depth and instances at the pixel centres.
        rays: (H, W, 3) camera rays through the pixel centres, of unit depth.

    Returns:
        (H, W, 3) linear; pixels whose centre hits nothing are as they were.
    """
    paint = np.maximum(albedo, LEAST_ALBEDO)
    light: Map = np.asarray(estimate.colour / paint, np.float32)
    shade = np.maximum(paint @ _LUMINANCE, LEAST_ALBEDO)
    variance: Map = np.asarray(estimate.variance / shade**2, np.float32)
    points = rays * geometry.depth[..., None]
    for level in range(LEVELS):
        light, variance = _pass(light, variance, 2**level, geometry, points)
    hit = (geometry.instances > 0)[..., None]
    return np.asarray(np.where(hit, light * paint, estimate.colour), np.float32)


def _pass(light: Map, variance: Map, step: int, geometry: GBuffer, points: Map) -> tuple[Map, Map]:
    """One level: nine taps, `step` pixels apart, each weighted by how alike the two places are."""
    height, width = variance.shape
    luminance = light @ _LUMINANCE
    sigma = COLOUR_SIGMAS * np.sqrt(cv2.GaussianBlur(variance, (5, 5), 0)) + 1e-6
    reach = PLANE_DISTANCE * geometry.depth + 1e-6
    total, weights, spread = np.zeros_like(light), np.zeros_like(variance), np.zeros_like(variance)
    for row, along in enumerate((-step, 0, step)):
        for column, across in enumerate((-step, 0, step)):
            here = (_overlap(height, along), _overlap(width, across))
            there = (_overlap(height, -along), _overlap(width, -across))
            alike = geometry.instances[here] == geometry.instances[there]
            cosine = np.maximum((geometry.normals[here] * geometry.normals[there]).sum(-1), 0)
            apart = np.abs(((points[there] - points[here]) * geometry.normals[here]).sum(-1)) / reach[here]
            change = np.abs(luminance[there] - luminance[here]) / sigma[here]
            weight = alike * cosine**NORMAL_POWER * np.exp(-apart - change) * _KERNEL[row] * _KERNEL[column]
            if row == column == 1:
                weight = np.full_like(weight, _KERNEL[1] ** 2)
            total[here] += weight[..., None] * light[there]
            spread[here] += weight**2 * variance[there]
            weights[here] += weight
    return np.asarray(total / weights[..., None], np.float32), np.asarray(spread / weights**2, np.float32)


def _overlap(size: int, shift: int) -> slice:
    """The pixels of an axis that have a neighbour `shift` further on."""
    return slice(max(0, -shift), size - max(0, shift))
