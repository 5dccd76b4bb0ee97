"""Runs damaged files through readers, in a process of their own that may crash, hang or run out of memory."""

import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import numpy as np

from stablenormal.errors import StableNormalError
from studies.fuzz.mutations import mutated
from studies.fuzz.targets import TARGETS

SECONDS = 5.0
"""A reader may take so long for one file."""
MEMORY = 2 << 30
"""Bytes that a reader may ask for, beside what the process has before."""


@dataclass(frozen=True)
class Fault:
    """An input that a reader did not survive."""

    target: str
    what: str
    """`crash`, `hang`, or the error that is none of ours."""
    data: bytes


@dataclass
class Outcome:
    """What became of the inputs of a target."""

    target: str
    read: int = 0
    """Taken as good: the damage did not matter, or cannot be seen."""
    faults: list[Fault] = field(default_factory=list)
    slowest_s: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)
    """Answered by one of our errors, by its class."""

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.read + self.refused + len(self.faults)

    @property
    def refused(self) -> int:
        """How many were answered by one of our errors."""
        return self.refusals.total()


def damaged(target: str, count: int, seed: int, folder: Path) -> Iterator[bytes]:
    """Damaged files of a target; the seed decides which."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = TARGETS[target].seeds(folder)
    for number in range(count):
        yield mutated(seeds, np.random.default_rng((seed, number)))


class Readers:
    """A process that reads what it is given, and is started again when it dies; a `with` block ends it.

    Args:
        targets: names in `TARGETS`, of what will be read.
        seconds: after which a reader counts as hanging.
        memory: bytes that a reader may ask for.
    """

    def __init__(self, targets: Iterable[str], seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._targets, self._seconds, self._memory = tuple(targets), seconds, memory
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._end()

    def read(self, target: str, data: bytes) -> tuple[str, str]:
        """`read`, `refused` with the class of the error, or `fault` with what happened."""
        connection, process = self._started()
        connection.send((target, data))
        if not connection.poll(self._seconds):
            self._end()
            return "fault", f"hang of over {self._seconds:g} s"
        try:
            kind, what = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            code = process.exitcode
            self._end()
            return "fault", f"crash (exit code {code})"
        return kind, what

    def attack(self, target: str, inputs: Iterable[bytes]) -> Outcome:
        """Give inputs to a reader; after a crash or a hang the rest goes on."""
        outcome = Outcome(target)
        for data in inputs:
            self._started()
            started = time.monotonic()
            kind, what = self.read(target, data)
            outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - started)
            if kind == "fault":
                outcome.faults.append(Fault(target, what, data))
            elif kind == "refused":
                outcome.refusals[what] += 1
            else:
                outcome.read += 1
        return outcome

    def _started(self) -> tuple[Connection, BaseProcess]:
        if self._connection is None or self._process is None:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._targets, self._memory), daemon=True)
            process.start()
            theirs.close()
            try:
                ours.recv()  # ready; imports take their time
            except EOFError as error:
                raise RuntimeError("a good file was not read; see above") from error
            self._connection, self._process = ours, process
        return self._connection, self._process

    def _end(self) -> None:
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None


def _serve(connection: Connection, targets: Sequence[str], memory: int) -> None:
    """Read what comes, and say what became of it."""
    warnings.simplefilter("ignore")
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        for name in targets:  # what readers import late is there before memory is limited
            own = Path(folder, name)
            own.mkdir()
            for data in TARGETS[name].seeds(own):
                TARGETS[name].read(data, own)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory,) * 2)
        connection.send("ready")
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries print what they think of a file
        while True:
            try:
                name, data = connection.recv()
            except EOFError:
                return
            connection.send(_answer(name, data, Path(folder, name)))


def _answer(name: str, data: bytes, folder: Path) -> tuple[str, str]:
    try:
        TARGETS[name].read(data, folder)
    except StableNormalError as error:
        if "\n" in str(error):
            return "fault", f"a message of several lines: {error}"
        return "refused", type(error).__name__
    except BaseException as error:  # whatever it is, it is what is looked for
        return "fault", f"{type(error).__name__}: {error}"
    return "read", ""


def _address_space() -> int:
    """Bytes of address space that the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
