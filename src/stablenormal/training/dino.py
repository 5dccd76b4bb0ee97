"""The pieces of DINOv2's self-distillation (arXiv 2304.07193): head, Sinkhorn centring, losses.

Sinkhorn's centring and KoLeo look at all samples of a pass, those of other processes included.
"""

import math

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as differentiable
from torch.nn import functional

STUDENT_TEMPERATURE = 0.1
TEACHER_TEMPERATURE = 0.07
_SINKHORN_ROUNDS = 3
_BOTTLENECK = 64
_TINY = 1e-8


class DinoHead(nn.Module):
    """Tokens to prototypes: an MLP, a unit-length bottleneck, inner products with unit-length prototypes.

    Args:
        channels: of the tokens.
        prototypes: how many.
    """

    def __init__(self, channels: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, _BOTTLENECK)
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, _BOTTLENECK) / _BOTTLENECK**0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Likenesses (N, prototypes) in [-1, 1] of tokens (N, channels)."""
        bottleneck = functional.normalize(self.mlp(tokens).float(), dim=-1)
        return bottleneck @ functional.normalize(self.prototypes.float(), dim=-1).T


@torch.no_grad()
def sinkhorn(likeness: Tensor, temperature: float = TEACHER_TEMPERATURE) -> Tensor:
    """Soft assignments (N, K) whose rows sum to one and whose prototypes are all used alike (SwAV, DINOv2).

    Args:
        likeness: of this process' tokens to prototypes, (N, K).
        temperature: of the teacher.
    """
    largest = likeness.max() if likeness.numel() else likeness.new_tensor(-math.inf)
    scores = ((likeness - _over_processes(largest, distributed.ReduceOp.MAX)) / temperature).float().exp()
    rows = _over_processes(scores.new_tensor(float(len(scores))))
    for _ in range(_SINKHORN_ROUNDS):
        scores = scores / (_over_processes(scores.sum(0)).clamp(min=_TINY) * scores.shape[1])
        scores = scores / (scores.sum(1, keepdim=True).clamp(min=_TINY) * rows)
    return scores * rows


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy (N,) between a student's likenesses (N, K) and a teacher's assignments (N, K)."""
    return -(teacher * functional.log_softmax(student / STUDENT_TEMPERATURE, dim=-1)).sum(-1)


def koleo_loss(features: Tensor) -> Tensor:
    """KoLeo: minus the logarithm (B,) of the distance of (B, C), at unit length, to the nearest other."""
    own = functional.normalize(features.float(), dim=-1)
    everyone = own
    first = 0
    if _several():
        everyone = torch.cat(differentiable.all_gather(own))  # type: ignore[no-untyped-call]
        first = distributed.get_rank() * len(own)
    if len(everyone) < 2:
        return own.sum(-1) * 0
    likeness = own @ everyone.T
    places = torch.arange(len(own), device=own.device)
    likeness = likeness.masked_fill(
        functional.one_hot(places + first, len(everyone)).bool(), -2.0
    )  # nobody is his own neighbour
    nearest = everyone[likeness.argmax(1)]
    distance: Tensor = (own - nearest).norm(dim=-1)
    return -(distance + _TINY).log()


def choose_masked(scores: Tensor, fraction: float, masked: Tensor) -> Tensor:
    """Masks (B, P) of the patches with the largest scores (B, P); none in samples that are not `masked`."""
    count = round(scores.shape[1] * fraction)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask.scatter_(1, scores.topk(count, dim=1).indices, True)
    return mask & masked[:, None]


def teacher_momentum(first: float, step: int, total_steps: int) -> float:
    """Decay of the teacher's average at a step: from `first` to 1 along a cosine."""
    return 1 - (1 - first) * (math.cos(math.pi * step / max(1, total_steps)) + 1) / 2


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _over_processes(
    values: Tensor, how: "distributed.ReduceOp.RedOpType" = distributed.ReduceOp.SUM
) -> Tensor:
    if _several():
        values = values.clone()
        distributed.all_reduce(values, how)
    return values
