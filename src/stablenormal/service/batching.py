"""Photographs of several requests go through the network together."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stablenormal.errors import ImageReadError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.image import Photograph
from stablenormal.models.modes import Mode
from stablenormal.pipelines import StableNormal
from stablenormal.service.metrics import Metrics

_REMEMBERED = 0.2
"""Weight of the last batch in the mean of seconds a photograph."""


@dataclass(frozen=True)
class Wanted:
    """How a photograph is to be run; those of one kind go together."""

    mode: Mode = "full"
    seed: int = 0
    resolution: int | None = None
    """Longer side in pixels for the network; None: the model's."""


@dataclass(frozen=True, eq=False)
class _Job:
    photograph: Photograph
    wanted: Wanted
    done: "asyncio.Future[NDArray[np.float32]]"


class Batcher:
    """A queue before one model, which runs in one thread.

    A photograph waits until the model is free; what has come by then and is wanted in the same way goes with
    it, up to the size of a batch. Whoever gives up waiting is left out.
    """

    def __init__(self, pipeline: StableNormal, batch_size: int, wait_ms: int, metrics: Metrics) -> None:
        self._pipeline, self._batch_size, self._wait_s = pipeline, batch_size, wait_ms / 1000
        self._metrics = metrics
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._task = asyncio.create_task(self._work())
        self._seconds_each = 1.0

    async def normals(self, photograph: Photograph, wanted: Wanted) -> NDArray[np.float32]:
        """Normals (H, W, 3), OpenGL, of a photograph.

        Raises:
            StableNormalError: if the model refuses it.
        """
        job = _Job(photograph, wanted, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._metrics.waiting.set(len(self._jobs))
        self._arrived.set()
        return await job.done

    @property
    def wait_s(self) -> float:
        """Seconds that a photograph which comes now waits, as far as one can tell."""
        return self._seconds_each * (len(self._jobs) + 1)

    async def close(self) -> None:
        """Stop; nothing may wait any more."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._wait_s and len(self._jobs) < self._batch_size:
                await asyncio.sleep(self._wait_s)
            batch = self._next_batch()
            if not batch:
                self._arrived.clear()
                continue
            started = time.perf_counter()
            results = await loop.run_in_executor(
                self._thread, self._compute, [job.photograph for job in batch], batch[0].wanted
            )
            self._measure(len(batch), time.perf_counter() - started)
            for job, result in zip(batch, results, strict=True):
                if job.done.done():  # gave up
                    continue
                if isinstance(result, Exception):
                    job.done.set_exception(result)
                else:
                    job.done.set_result(result)
            del batch, results, job, result

    def _next_batch(self) -> list[_Job]:
        """The oldest job that is still wanted, and others of its kind; they leave the queue."""
        waiting = [job for job in self._jobs if not job.done.done()]
        batch = [job for job in waiting if job.wanted == waiting[0].wanted][: self._batch_size]
        self._jobs = deque(job for job in waiting if job not in batch)
        self._metrics.waiting.set(len(self._jobs))
        return batch

    def _compute(
        self, photographs: Sequence[Photograph], wanted: Wanted
    ) -> list[NDArray[np.float32] | Exception]:
        """A result for each; where a batch fails as a whole, its photographs are tried one by one."""
        try:
            output = self._pipeline(
                [channels_first(photograph.rgb) for photograph in photographs],  # (3, H, W)
                valid=[torch.from_numpy(photograph.valid) for photograph in photographs],  # (H, W)
                mode=wanted.mode,
                seed=wanted.seed,
                processing_resolution=wanted.resolution,
                batch_size=self._batch_size,
            )
        except Exception as error:  # whatever it is, the next request is served
            if len(photographs) > 1:
                return [result for one in photographs for result in self._compute([one], wanted)]
            if isinstance(error, torch.OutOfMemoryError | MemoryError):
                return [ImageReadError(f"{photographs[0].path}: too large for the memory; shrink it first")]
            return [error]
        return [channels_last(normals) for normals in output.normals]  # (H, W, 3)

    def _measure(self, count: int, seconds: float) -> None:
        self._metrics.photographs.inc(count)
        self._metrics.batches.observe(count)
        self._metrics.model_seconds.observe(seconds)
        self._seconds_each += _REMEMBERED * (seconds / count - self._seconds_each)
