"""The processes of a run: one, or several that divide every batch and perhaps the weights.

`accelerate` says which processes there are and averages their gradients; with `shard`, torch's own
`fully_shard` divides weights, gradients and optimiser state among them (accelerate's plugin for it does
nothing without GPUs).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.models.dinov2.modeling_dinov2 import Dinov2Layer

_PATIENCE = timedelta(hours=24)
"""For which processes wait for another, as while the first one encodes a corpus."""

_SHARDED = (ResnetBlock2D, BasicTransformerBlock, Downsample2D, Upsample2D, Dinov2Layer)
"""The repeated blocks; each is gathered while it runs, the rest of a part for the whole step."""


class Processes:
    """What a run needs to know of its processes; with a single one nothing happens.

    Args:
        shard: divide the weights among the processes too.
    """

    def __init__(self, shard: bool) -> None:
        unused = DistributedDataParallelKwargs(
            find_unused_parameters=True
        )  # DINOv2's mask token, for example
        patient = InitProcessGroupKwargs(timeout=_PATIENCE)
        self._accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[unused, patient])
        self.sharded = shard and self.count > 1

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        return int(self._accelerator.process_index)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._accelerator.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and reports."""
        return bool(self._accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return torch.device(self._accelerator.device)

    def distribute(self, module: nn.Module) -> nn.Module:
        """Prepare a module whose `forward` is called, so that its gradients become the processes' mean."""
        module.to(self.device)
        if not self.sharded:
            prepared: nn.Module = self._accelerator.prepare_model(module)
            return prepared
        mesh = init_device_mesh(self.device.type, (self.count,))
        for block in [block for block in module.modules() if isinstance(block, _SHARDED)]:
            fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)
        return module

    def backward(self, distributed: nn.Module, loss: Callable[[], Tensor], last: bool) -> None:
        """Add a loss' gradients to the parameters'; they are exchanged in a step's last pass."""
        waits = not last and not self.sharded and self.count > 1
        context: AbstractContextManager[Any] = (
            self._accelerator.no_sync(distributed) if waits else nullcontext()
        )
        with context:
            self._accelerator.backward(loss())

    @contextmanager
    def gathered(self, module: nn.Module) -> Iterator[None]:
        """Whole weights in every process, for calls that do not go through a distributed `forward`."""
        blocks = [block for block in module.modules() if isinstance(block, FSDPModule)]
        for block in blocks:
            block.unshard()
        try:
            yield
        finally:
            for block in blocks:
                block.reshard()

    def mean(self, figures: dict[str, float]) -> dict[str, float]:
        """The mean of each figure over the processes."""
        if self.count == 1:
            return figures
        values = torch.tensor(list(figures.values()), dtype=torch.float64, device=self.device)
        reduced: Tensor = self._accelerator.reduce(values, reduction="mean")
        return dict(zip(figures, reduced.tolist(), strict=True))

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        return self.mean({"wish": float(wish)})["wish"] > 0

    def wait(self) -> None:
        """Go on when all have come here."""
        self._accelerator.wait_for_everyone()


def whole(values: Any) -> Any:
    """A nest of dictionaries and lists with every divided tensor made whole, in the CPU's memory.

    Every process must call it, as each holds a share.
    """
    if isinstance(values, DTensor):
        return values.full_tensor().detach().cpu()
    if isinstance(values, Tensor):
        return values.detach().cpu()
    if isinstance(values, dict):
        return {key: whole(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(whole(value) for value in values)
    return values


def divided(values: Tensor, like: Tensor) -> Tensor:
    """A whole tensor divided as `like` is, if it is."""
    if not isinstance(like, DTensor):
        return values.to(like.device)
    return distribute_tensor(values.to(like.device), like.device_mesh, like.placements)
