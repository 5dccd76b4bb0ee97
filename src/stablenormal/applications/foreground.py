"""Finds the object of a photograph without a network: colours of the border against the middle's.

Source: Rother, Kolmogorov, Blake: GrabCut, SIGGRAPH 2004, in OpenCV.
"""

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.errors import SettingError, argument

WORKING_SIDE = 320
"""Longer side in pixels at which the colours are clustered."""

BORDER = 0.04
"""Share of each side that is taken as background to begin with."""

SMALLEST_SHARE = 0.01
"""Of the picture; a smaller object is taken for a failure."""


def foreground(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The largest connected thing that differs from the picture's border.

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
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if count < 2 or areas.max() < SMALLEST_SHARE * inside.size:
        raise SettingError(
            f"no object stands out from the border of the photograph; give {argument('mask')} a file"
        )
    largest = (parts == 1 + int(areas.argmax())).astype(np.float32)
    found: npt.NDArray[np.bool_] = cv2.resize(largest, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
    return found
