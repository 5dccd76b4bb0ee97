"""Finds the object of a photograph without a network: colours of the border against the middle's.

Source: Rother, Kolmogorov, Blake: GrabCut, SIGGRAPH 2004, in OpenCV.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes

from stablenormal.errors import SettingError, argument

Flags = npt.NDArray[np.bool_]

WORKING_SIDE = 320
"""Longer side in pixels at which the colours are clustered."""

BORDER = 0.04
"""Share of each side that is taken as background to begin with."""

SMALLEST_SHARE = 0.01
"""Of the picture; a smaller object is taken for a failure."""

ROUNDING = 0.008
"""Standard deviation, in longer sides, of the blur that rounds the outline: 2.5 pixels of the working size.
Thinner whiskers and notches vanish; straight outlines stay where they are."""


def foreground(rgb: npt.NDArray[np.float32]) -> Flags:
    """The largest connected thing that differs from the picture's border, whole: no holes, a smooth outline.

    Clusters of colours leave holes where an object has a colour of the ground, and far more often than an
    object is a ring; so whatever the object surrounds is taken as its own.

    Args:
        rgb: (H, W, 3) in [0, 1], sRGB coded.

    Returns:
        (H, W), True on the object.

    Raises:
        SettingError: if nothing stands out.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = np.rint(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).clip(0, 1) * 255).astype(np.uint8)
    margins = (max(1, round(size[0] * BORDER)), max(1, round(size[1] * BORDER)))
    rectangle = (*margins, size[0] - 2 * margins[0], size[1] - 2 * margins[1])
    labels = np.zeros(small.shape[:2], dtype=np.uint8)
    cv2.setRNGSeed(0)  # the clustering starts from random centres
    cv2.grabCut(small, labels, rectangle, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    found = _rounded(binary_fill_holes(_largest(inside)), (width, height))
    if found.sum() < SMALLEST_SHARE * found.size:
        raise SettingError(
            f"no object stands out from the border of the photograph; give {argument('mask')} a file"
        )
    return found


def _rounded(inside: Flags, size: tuple[int, int]) -> Flags:
    """The largest part of a mask (h, w) after its outline was rounded, at `size` (width, height)."""
    sigma = ROUNDING * max(inside.shape)
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return _largest(cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR) >= 0.5)


def _largest(inside: Flags) -> Flags:
    """The largest connected part of a mask (H, W), empty if that is."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(inside)
    largest: Flags = parts == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return largest
