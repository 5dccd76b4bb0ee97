"""Denoisers and condition encoders through PyTorch's compiler, once for each size of image."""

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablenormal.io.compile_cache import CompileCache, default_cache_root

MOST_SIZES = 3
"""Of batches that are compiled; others run as they are. A folder of photographs of all sizes would compile
for hours, and PyTorch's compiler gives up after eight versions of a function."""
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"

log = logging.getLogger(__name__)


class Compiler:
    """Compiles functions for the shapes that they are called with, and keeps what was made on disk.

    A first call with a shape takes minutes, or seconds where an earlier process kept it; both are logged. If
    the compiler fails, as without a C++ compiler, that is logged too and the functions run as they are.

    Args:
        model: what distinguishes the model: its spec and the hash of its weights.
        root: of the caches on disk; by default below ~/.cache.
    """

    def __init__(self, model: dict[str, Any], root: Path | None = None) -> None:
        self._model, self._root = model, root
        self._cache: CompileCache | None = None
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._known: set[tuple[object, ...]] = set()
        self._sizes: set[torch.Size] = set()
        self.failed = False
        """Whether the compiler gave up, so that everything runs as it is."""

    def run(self, function: Callable[..., Any], network: Any, sample: Tensor, *others: Any) -> Any:
        """Call `function(network, sample, *others)`, compiled for the sample's shape (B, c, h, w)."""
        self._sizes |= {sample.shape} if len(self._sizes) < MOST_SIZES else set()
        if self.failed or sample.shape not in self._sizes or torch.is_grad_enabled():
            return function(network, sample, *others)
        compiled = self._compiled.setdefault(function, torch.compile(function, dynamic=False))
        key = (function, id(network), sample.shape, sample.dtype, sample.device)
        if key in self._known:
            return compiled(network, sample, *others)
        from torch._dynamo.exc import TorchDynamoException

        if self._cache is None:
            self._cache = CompileCache(self._root or default_cache_root(), self._stamp(sample))
        start, (height, width) = time.perf_counter(), sample.shape[2:]
        kept = "what an earlier run kept is looked for first" if self._cache.is_filled else "minutes"
        log.warning("compiling a network for latents of %d x %d (%s) ...", height, width, kept)
        try:
            with _compiler_folder(self._cache.folder):
                result = compiled(network, sample, *others)
        except TorchDynamoException as error:
            self.failed = True
            reason = str(error).strip().splitlines()[0]
            log.warning("compiling failed (%s); the networks run uncompiled", reason)
            return function(network, sample, *others)
        self._known.add(key)
        self._cache.seal()
        kept = "kept for the next run" if self._cache.is_kept else "not kept: another process has the folder"
        log.warning("compiled in %.0f s, %s", time.perf_counter() - start, kept)
        return result

    def _stamp(self, sample: Tensor) -> dict[str, Any]:
        """What compiled code depends on beside the code itself."""
        tell = getattr(torch.cpu, "get_capabilities", dict)
        on_gpu = sample.device.type == "cuda"
        return {
            **self._model,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "package": metadata.version("stablenormal"),
            "machine": [platform.system(), platform.machine()],
            "processor": [platform.processor(), {key: str(value) for key, value in tell().items()}],
            "device": torch.cuda.get_device_name(sample.device) if on_gpu else sample.device.type,
            "dtype": str(sample.dtype),
            "threads": torch.get_num_threads(),
        }


@contextmanager
def _compiler_folder(folder: Path) -> Iterator[None]:
    """Let PyTorch's compiler keep its files there meanwhile."""
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FOLDER]
        else:
            os.environ[_FOLDER] = before
