"""Notices predictions in another frame than the declared one: the commonest mistake of the field."""

import torch
from torch import Tensor

from stablenormal.errors import argument
from stablenormal.geometry.frames import AXIS_SIGNS, FRAMES, axes_name
from stablenormal.geometry.normals import angular_error_deg

MUCH_BETTER_SHARE = 0.75
"""Another frame is worth a warning if it brings the mean error below this share of the declared one's."""

MUCH_BETTER_DEG = 3.0
"""And below it by at least this."""

SAMPLES = 20_000
"""At most about this many pixels of an image are compared."""


class FrameCheck:
    """Mean error under every choice of axis signs, gathered over images.

    Args:
        declared: the frame that the predictions are said to be in.
    """

    def __init__(self, declared: str) -> None:
        self.declared = declared
        self._sums = torch.zeros(len(AXIS_SIGNS), dtype=torch.float64)
        self._count = 0

    def add(self, prediction: Tensor, truth: Tensor, valid: Tensor) -> None:
        """Add an image.

        Args:
            prediction: normals (3, H, W), OpenGL, converted from the declared frame.
            truth: normals (3, H, W), OpenGL.
            valid: bool (H, W).
        """
        step = max(1, int(valid.sum()) // SAMPLES)
        a, b = prediction[:, valid][:, ::step], truth[:, valid][:, ::step]  # (3, n)
        flips = torch.tensor(AXIS_SIGNS, dtype=a.dtype)[:, :, None, None]  # (8, 3, 1, 1)
        errors = angular_error_deg(
            a[None, :, None] * flips, b[None, :, None].expand(len(AXIS_SIGNS), -1, -1, -1)
        )
        self._sums += errors.double().sum(dim=(1, 2)) * step  # each for the pixels left out after it
        self._count += a.shape[1] * step

    def mean_errors(self) -> dict[str, float]:
        """Mean error in degrees had the predictions been in each frame, by name or by its axes."""
        signs = FRAMES[self.declared]
        if not self._count or signs is None:
            return {}
        return {
            axes_name((signs[0] * flip[0], signs[1] * flip[1], signs[2] * flip[2])): float(total)
            / self._count
            for flip, total in zip(AXIS_SIGNS, self._sums, strict=True)
        }

    def warning(self) -> str | None:
        """One line that names the better frame; None if nothing is clearly better than the declared one."""
        errors = self.mean_errors()
        if not errors:
            return None
        best = min(errors, key=errors.__getitem__)
        now = errors[self.declared]
        if best == self.declared or errors[best] > min(now * MUCH_BETTER_SHARE, now - MUCH_BETTER_DEG):
            return None
        return (
            f"the predictions were read as frame {self.declared} (mean error {now:.2f} degrees), but as "
            f"{best} they "
            f"would have {errors[best]:.2f}; " + _way_out(best)
        )


def _way_out(best: str) -> str:
    if best in FRAMES:
        return f"if that is so, give {argument('frame')} {best}"
    return "no frame has these axes: flip their signs in the files, or check the frame of the ground truth"
