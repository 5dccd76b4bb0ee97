"""Checkpoints: written atomically, so that a run may stop at any time, and refused by any other run.

A checkpoint is a ZIP file, as torch writes it, whose every record has a CRC-32; reading compares them, so a
bit that the disk lost is noticed.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from zipfile import ZipFile

import torch

from stablenormal.errors import DataError
from stablenormal.io.atomic import atomic_path


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read."""

    path: Path
    state: dict[str, Any]
    damaged: tuple[DataError, ...] = ()
    """What is wrong with newer ones, in whose place this one stands."""


def save_checkpoint(path: Path, state: dict[str, Any], fingerprint: Any, keep: int = 1) -> None:
    """Write `state` so that the file is complete or stays as it was.

    Args:
        path: target file, say `c.pt`.
        state: what `torch.save` can write.
        fingerprint: what the state belongs to, such as the hash of a configuration; any plain values.
        keep: how many checkpoints stay: with 3, the two before become `c-1.pt` and `c-2.pt`. With 1 nothing
            but `path` is touched.

    Raises:
        OutputError: if it cannot be written, for example because the disk is full.
    """
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            writer = _Writer(file)
            try:
                torch.save({"fingerprint": fingerprint, "state": state}, cast(IO[bytes], writer))
            except Exception as error:
                raise writer.failure or error from error
        if keep > 1 and path.exists():
            _move_on(path, keep)


def _move_on(path: Path, keep: int) -> None:
    """Give each checkpoint the name of the next older one; the newest keeps its name too."""
    for age in range(keep - 1, 1, -1):
        with suppress(FileNotFoundError):
            os.replace(_older(path, age - 1), _older(path, age))
    with atomic_path(_older(path, 1)) as temporary:
        temporary.unlink()
        try:
            os.link(path, temporary)
        except OSError:  # not every file system gives a file two names
            shutil.copyfile(path, temporary)


def _older(path: Path, age: int) -> Path:
    return path.with_name(f"{path.stem}-{age}{path.suffix}")


class _Writer:
    """A file that remembers why writing failed: `torch.save` replaces the reason by one of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._file.flush()


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Read a checkpoint, or one that was kept before it where it is damaged; None where there is none.

    Args:
        path: the newest; where it is missing, older ones do not count.
        fingerprint: what it must belong to.

    Raises:
        DataError: if all are damaged, or one belongs to another configuration.
    """
    if not path.exists():
        return None
    damaged: list[DataError] = []
    age, candidate = 0, path
    while candidate.exists():
        try:
            found, state = read_checkpoint(candidate)
        except DataError as error:
            damaged.append(error)
        else:
            if found != fingerprint:
                raise DataError(
                    f"{candidate}: belongs to another configuration; use another output folder or delete it"
                )
            return Checkpoint(candidate, state, tuple(damaged))
        age += 1
        candidate = _older(path, age)
    raise damaged[0]


def read_checkpoint(path: Path) -> tuple[Any, dict[str, Any]]:
    """What a checkpoint belongs to, and its state.

    Raises:
        DataError: if the file is missing or damaged.
    """
    try:
        with ZipFile(path) as records:
            broken = records.testzip()
        if broken is not None:
            raise ValueError(f"the checksum of {broken} does not fit")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return content["fingerprint"], dict(content["state"])
    except Exception as error:  # pickle's own errors share no base
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: damaged checkpoint; delete it to start again ({reason})") from error
