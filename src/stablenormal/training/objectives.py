"""The losses of the parts, as functions of tensors and a denoiser: one number for each sample.

A batch's loss is the mean of its samples', each of which counts the same however much of it is valid; so it
is the same however a batch is divided among processes and passes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.edges import near_edges
from stablenormal.geometry.normals import angular_error_deg, valid_mask

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, c, h, w), timesteps (B,)) -> prediction (B, c, h, w)."""


def reconstruction_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute error plus the error of the image gradient, which keeps edges sharp.

    Args:
        prediction: (B, 3, H, W).
        target: (B, 3, H, W).
        valid: (B, H, W) bool; other pixels do not count.

    Returns:
        (B,).
    """
    weight = valid[:, None].float()
    error = (prediction - target) * weight
    loss = _sample_sum(error.abs()) / _sample_sum(weight).clamp(min=1) / 3
    for axis in (-1, -2):
        step = weight.narrow(axis, 1, weight.shape[axis] - 1) * weight.narrow(axis, 0, weight.shape[axis] - 1)
        change = (error.diff(dim=axis) * step).abs()
        loss = loss + _sample_sum(change) / _sample_sum(step).clamp(min=1) / 3
    return loss


def angular_loss(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean angles (B,) in radians between (B, 3, H, W) normal maps, weighted by (B, H, W): 0 is invalid."""
    angle = torch.deg2rad(angular_error_deg(prediction, target))
    return _sample_sum(angle * weight) / _sample_sum(weight).clamp(min=1)


def pixel_weights(normals: Tensor, edge_weight: float) -> Tensor:
    """What the angle of each pixel counts: 0 where it is invalid, else 1, more near edges.

    Args:
        normals: true normals (B, 3, H, W), about zero where invalid.
        edge_weight: added within `evaluation.edges.NEAR_PX` of an edge.

    Returns:
        (B, H, W).
    """
    weight = valid_mask(normals).float()
    if not edge_weight:
        return weight
    near = torch.stack([near_edges(one) for one in normals.cpu()]).to(weight.device)
    return weight * (1 + edge_weight * near)


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergences (B,) of N(mean, exp(logvar)) from N(0, 1), per latent value (B, ...)."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).mean(1)


def patch_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy between patch logits and the share of each class inside the patch.

    Args:
        logits: (B, classes, g, g).
        labels: class ids (B, H, W).

    Returns:
        (B,).
    """
    classes, grid = logits.shape[1], logits.shape[-1]
    # One class more for UNLABELLED surfaces, which then count for none.
    one_hot = functional.one_hot(labels.clamp(max=classes), classes + 1)[..., :-1].permute(0, 3, 1, 2).float()
    share = functional.adaptive_avg_pool2d(one_hot, grid)
    return -(share * functional.log_softmax(logits.float(), dim=1)).sum(1).mean((1, 2))


def masked_mean_square(error: Tensor, weight: Tensor) -> Tensor:
    """Means (B,) of error squared (B, c, h, w), each latent cell weighted by (B, 1, h, w)."""
    if weight.shape != (error.shape[0], 1, *error.shape[2:]):
        raise ImageShapeError(f"weights {tuple(weight.shape)} do not fit latents {tuple(error.shape)}")
    squared = _sample_sum(error.float().square() * weight)
    return squared / (_sample_sum(weight) * error.shape[1]).clamp(min=1)


def yoso_loss(
    denoise: Denoise,
    x0: Tensor,
    weight: Tensor,
    alphas_cumprod: Tensor,
    noise: Tensor,
    t_plus: Tensor,
    shrink: Tensor,
) -> Tensor:
    """E || x_{t+} - mu(z, c, t+, f(En(I))) ||^2 with the shrinkage regulariser (method, stage 1).

    The noise of the target x_{t+} is the input noise z itself, so a sample with z = 0 is asked for the
    noiseless sqrt(a) x_0: the prediction shrinks toward the zero-input one.

    Args:
        denoise: (z, t+) -> x_{t+}.
        x0: latents of the normals (B, c, h, w).
        weight: share of valid pixels per latent cell (B, 1, h, w).
        alphas_cumprod: (1000,).
        noise: z ~ N(0, I), like x0.
        t_plus: (B,) int64 in [0, 1000); 0 asks for x_0 itself.
        shrink: (B,) bool, where the input noise is replaced by the zero latent (probability lambda).

    Returns:
        (B,).
    """
    z = torch.where(shrink[:, None, None, None], torch.zeros_like(noise), noise)
    a = torch.where(t_plus > 0, alphas_cumprod[t_plus], torch.ones_like(alphas_cumprod[t_plus]))[
        :, None, None, None
    ]
    target = a.sqrt() * x0 + (1 - a).sqrt() * z
    return masked_mean_square(denoise(z, t_plus) - target, weight)


def _sample_sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)
