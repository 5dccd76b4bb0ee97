"""Where normals turn sharply: the pixels on which sharpness is measured."""

import math

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
    length = torch.linalg.vector_norm(normals, dim=0)
    unit = normals / length.clamp(min=1e-6)
    valid = length > 0
    edge = torch.zeros_like(valid)
    for axis in (0, 1):
        size = valid.shape[axis] - 1
        here, there = unit.narrow(axis + 1, 0, size), unit.narrow(axis + 1, 1, size)
        both = valid.narrow(axis, 0, size) & valid.narrow(axis, 1, size)
        turned = both & ((here * there).sum(0) < math.cos(math.radians(EDGE_DEG)))
        edge.narrow(axis, 0, size).logical_or_(turned)
        edge.narrow(axis, 1, size).logical_or_(turned)
    if not edge.any():
        return edge
    distance = cv2.distanceTransform((~edge).numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return torch.from_numpy(np.asarray(distance)) <= NEAR_PX + 1e-4
