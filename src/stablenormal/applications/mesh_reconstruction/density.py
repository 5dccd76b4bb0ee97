"""From signed distances along a ray to the weights of volume rendering.

Source: NeuS (Wang et al., NeurIPS 2021, arXiv 2106.10689), equations 10 to 13: with the logistic function of
sharpness s, Phi_s(f) = 1 / (1 + exp(-s f)), the opacity of the stretch between two samples is
alpha_i = max((Phi_s(f_i) - Phi_s(f_{i+1})) / Phi_s(f_i), 0), unbiased: its weight peaks on the surface.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def log_transparency(near: Tensor, far: Tensor, sharpness: float) -> Tensor:
    """log(1 - alpha) of the stretch between two samples.

    1 - alpha = min(Phi_s(far) / Phi_s(near), 1), so the logarithm is a difference of two: no overflow, deep
    inside too.

    Args:
        near: signed distances at the nearer samples, any shape.
        far: at the farther ones.
        sharpness: s, the inverse width of the density in the unit of the distances.

    Returns:
        Not positive, the shape of `near`.
    """
    return (F.logsigmoid(sharpness * far) - F.logsigmoid(sharpness * near)).clamp(max=0)


def render_weights(log_transparencies: Tensor) -> Tensor:
    """How much each stretch of a ray is seen: alpha times the transparency of all before it.

    Args:
        log_transparencies: (B, K), nearest first; 0 pads.

    Returns:
        (B, K), not negative, each row's sum at most 1: the ray's opacity.
    """
    through = log_transparencies.cumsum(dim=1)
    before = through - log_transparencies
    return -torch.expm1(log_transparencies) * before.exp()


def crossing(near: Tensor, far: Tensor, least_fall: float = 1e-6) -> Tensor:
    """Where in a stretch, in [0, 1], the line through both distances is zero; else the end nearer to it.

    Args:
        near: signed distances at the nearer samples, any shape.
        far: at the farther ones.
        least_fall: stretches that fall less are crossed in their middle: no gradient explodes.
    """
    fall = near - far
    falls = fall > least_fall
    return torch.where(falls, near / torch.where(falls, fall, torch.ones_like(fall)), 0.5).clamp(0, 1)
