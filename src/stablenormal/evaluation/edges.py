"""Where normals turn sharply: the pixels on which sharpness is measured."""

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

EDGE_DEG = 30.0
"""Neighbouring normals that differ by more are an edge: well above the noise of measured normals."""

NEAR_PX = 3.0
"""Pixels up to this distance from an edge count as near it."""


def near_edges(normals: Tensor) -> Tensor:
    """Pixels within `NEAR_PX` of an edge of a normal map.

    A pixel is an edge if its right or lower neighbour, or the one that it is that neighbour of, is valid and
    differs in direction by more than `EDGE_DEG`. The border of what is valid is no edge.

    Args:
        normals: (3, H, W), any length, zero where invalid.

    Returns:
        bool (H, W), True up to a Euclidean distance of `NEAR_PX`.
    """
    edge = torch.zeros(normals.shape[1:], dtype=torch.bool)
    for axis, (cosine, both) in enumerate(_neighbours(normals)):
        turned = both & (cosine < math.cos(math.radians(EDGE_DEG)))
        size = edge.shape[axis] - 1
        edge.narrow(axis, 0, size).logical_or_(turned)
        edge.narrow(axis, 1, size).logical_or_(turned)
    if not edge.any():
        return edge
    distance = cv2.distanceTransform((~edge).numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return torch.from_numpy(np.asarray(distance)) <= NEAR_PX + 1e-4


def sharpness(prediction: Tensor, truth: Tensor) -> float:
    """How sharply a prediction turns near the edges of the truth, as a share of how sharply the truth does.

    Turns are angles between neighbouring pixels. Their squares, summed over the neighbours that lie near an
    edge, are compared: a step of the truth that the prediction spreads evenly over k pixels counts 1 / k.
    Noise raises the number; read it beside the error near edges.

    Args:
        prediction: normals (3, H, W), any length.
        truth: normals (3, H, W), zero where invalid.

    Returns:
        1 for a prediction as sharp as the truth; NaN where the truth has no edge.
    """
    near = near_edges(truth)
    sums = []
    for normals in (prediction, truth):
        total = 0.0
        pairs = zip(_neighbours(normals), _neighbours(truth), strict=True)
        for axis, ((cosine, _), (_, valid)) in enumerate(pairs):
            size = near.shape[axis] - 1
            counted = valid & near.narrow(axis, 0, size) & near.narrow(axis, 1, size)
            total += float(cosine[counted].double().clamp(-1, 1).acos().square().sum())
        sums.append(total)
    return sums[0] / sums[1] if sums[1] else math.nan


def _neighbours(normals: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Of lower, then of right neighbours: cosine of the angle to them, and whether both are valid."""
    length = torch.linalg.vector_norm(normals, dim=0)
    unit, valid = normals / length.clamp(min=1e-6), length > 0
    for axis in (0, 1):
        size = valid.shape[axis] - 1
        here, there = unit.narrow(axis + 1, 0, size), unit.narrow(axis + 1, 1, size)
        yield (here * there).sum(0), valid.narrow(axis, 0, size) & valid.narrow(axis, 1, size)
