"""Checkpoints: written atomically, so that a run may stop at any time, and refused by any other run."""

from pathlib import Path
from typing import IO, Any, cast

import torch

from stablenormal.errors import DataError
from stablenormal.io.atomic import atomic_path


def save_checkpoint(path: Path, state: dict[str, Any], fingerprint: Any) -> None:
    """Write `state` so that the file is complete or stays as it was.

    Args:
        path: target file.
        state: what `torch.save` can write.
        fingerprint: what the state belongs to, such as the hash of a configuration; any plain values.

    Raises:
        OutputError: if it cannot be written, for example because the disk is full.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        writer = _Writer(file)
        try:
            torch.save({"fingerprint": fingerprint, "state": state}, cast(IO[bytes], writer))
        except Exception as error:
            raise writer.failure or error from error


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


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read a checkpoint, or None where there is none yet.

    Raises:
        DataError: if the file is damaged or belongs to another configuration.
    """
    if not path.exists():
        return None
    found, state = read_checkpoint(path)
    if found != fingerprint:
        raise DataError(f"{path}: belongs to another configuration; use another output folder or delete it")
    return state


def read_checkpoint(path: Path) -> tuple[Any, dict[str, Any]]:
    """What a checkpoint belongs to, and its state.

    Raises:
        DataError: if the file is missing or damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return content["fingerprint"], dict(content["state"])
    except Exception as error:  # pickle's own errors share no base
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: damaged checkpoint; delete it to start again ({reason})") from error
