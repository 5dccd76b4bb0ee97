"""One training sample: a photograph or rendering with the truth about its surfaces."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stablenormal.geometry.camera import Intrinsics

CLASSES = (
    "background", "wall", "floor", "ceiling", "table", "chair", "shelf", "cabinet", "sofa", "bed", "lamp",
    "picture", "object", "book", "plant", "window", "door", "rug", "curtain", "ground", "building", "road",
)  # fmt: skip
"""Class names; a label is an index into them. Label 0 has no surface and a zero normal."""

UNLABELLED = 255
"""Label of a surface whose class is not known: most sets of others say nothing about classes."""


@dataclass(frozen=True)
class Sample:
    """An image with per-pixel truth taken at the pixel centres."""

    image: npt.NDArray[np.uint8]
    """(H, W, 3) display-coded RGB."""
    normals: npt.NDArray[np.float32]
    """(H, W, 3) unit vectors in the OpenGL camera frame, exactly zero where there is no surface."""
    depth: npt.NDArray[np.float32]
    """(H, W) metres along the viewing axis, zero where there is no surface or the set has no depth."""
    labels: npt.NDArray[np.uint8]
    """(H, W) indices into CLASSES, or UNLABELLED."""
    instances: npt.NDArray[np.uint16]
    """(H, W) object numbers within the scene, zero where there is no surface."""
    intrinsics: Intrinsics
    meta: dict[str, Any] = field(default_factory=dict)
    """What made it: key, seed, scene, view, kind, field of view (only JSON values)."""
