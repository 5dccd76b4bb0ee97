"""The least that an inference can take: operations and bytes counted, over what this machine does of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from stablenormal.models.autoencoder import decode
from stablenormal.models.building import ModelComponents
from stablenormal.models.modes import Mode
from stablenormal.pipelines.two_stage import RefinementPlan

_SIDE = 2048
"""Of the square matrices that the rate is measured with."""
_BYTES = 1 << 28
"""Of the array whose copying gives the bandwidth."""


@dataclass(frozen=True)
class Machine:
    """What a second of a processor does, of all threads together."""

    operations: float
    """Of matrix products, a multiplication and an addition counted as two."""
    bytes: float
    """Read and written."""

    @classmethod
    def measured(cls, dtype: torch.dtype, repeats: int = 3) -> "Machine":
        """The best of some repeats, each in processor seconds."""
        a = torch.randn(_SIDE, _SIDE).to(dtype)
        array = torch.zeros(_BYTES // 4)
        product = min(_processor_seconds(lambda: a @ a) for _ in range(repeats))
        copy = min(_processor_seconds(lambda: array.clone()) for _ in range(repeats))
        return cls(2 * _SIDE**3 / product, 2 * _BYTES / copy)


@dataclass(frozen=True)
class Work:
    """What has to be done at least."""

    operations: float
    """Of convolutions, matrix products and attention."""
    bytes: float
    """Of their operands and results; everything else could be fused into them."""

    def __add__(self, other: "Work") -> "Work":
        return Work(self.operations + other.operations, self.bytes + other.bytes)

    def __mul__(self, count: int) -> "Work":
        return Work(self.operations * count, self.bytes * count)

    def seconds(self, machine: Machine) -> float:
        """The longer of computing and moving, in processor seconds."""
        return max(self.operations / machine.operations, self.bytes / machine.bytes)


@torch.no_grad()
def count_work(
    meta: ModelComponents, mode: Mode, plan: RefinementPlan, size: int, batch: int, every_step: bool
) -> Work:
    """Work of a batch of square images.

    Args:
        meta: components on the meta device, which computes nothing.
        mode: `turbo` or `full`.
        plan: of the refinement.
        size: side of the images.
        batch: how many.
        every_step: whether the condition encoder runs in every step, not once for each timestep.
    """
    dtype = next(meta.refiner.parameters()).dtype
    image = torch.empty(batch, 3, size, size, dtype=dtype, device="meta")
    encoded, work = _counted(lambda: meta.encode_image(image))
    residuals, of_condition = _counted(lambda: meta.yoso.encode_condition(encoded.condition, 1))
    _, of_denoiser = _counted(lambda: meta.yoso.denoise(encoded.latent, 1, residuals))
    work += of_condition + of_denoiser
    if mode == "full":
        features, of_semantic = _counted(lambda: meta.semantic_features(image, encoded))
        steps = [step.t_network for step in plan.table]
        residuals, of_condition = _counted(lambda: meta.refiner.encode_condition(encoded.condition, 1))
        injected = meta.refiner.encode_semantic(features, tuple(encoded.condition.shape[2:]))
        _, of_denoiser = _counted(lambda: meta.refiner.denoise(encoded.latent, 1, residuals, injected))
        conditions = len(steps) if every_step else len(set(steps))
        work += of_semantic + of_condition * conditions + of_denoiser * len(steps)
    _, of_decoder = _counted(lambda: decode(meta.autoencoder, encoded.latent, encoded.guides))
    return work + of_decoder


def _counted(run: Callable[[], Any]) -> tuple[Any, Work]:
    with FlopCounterMode(display=False) as counter, _Traffic() as traffic:
        result = run()
    return result, Work(counter.get_total_flops(), traffic.bytes)


class _Traffic(TorchDispatchMode):
    """Counts the bytes of operands and results of convolutions and of products with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.convolution, torch.ops.aten.mm, torch.ops.aten.addmm):
            tensors = [one for one in (*args, result) if isinstance(one, Tensor)]
            self.bytes += sum(one.numel() * one.element_size() for one in tensors)
        return result


def _processor_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def bytes_of(module_parts: dict[str, nn.Module]) -> int:
    """Memory of the weights of a model's parts, each counted once."""
    weights = {
        id(one): one for part in module_parts.values() for one in part.state_dict(keep_vars=True).values()
    }
    return sum(one.numel() * one.element_size() for one in weights.values())
