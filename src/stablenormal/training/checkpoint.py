"""Checkpoints that make stopping free: written atomically, refused when they belong to another run."""

import os
from pathlib import Path
from typing import Any

import torch

from stablenormal.errors import DataError


def save_checkpoint(path: Path, state: dict[str, Any], fingerprint: str) -> None:
    """Write `state` so that the file is complete or absent.

    Args:
        path: target file.
        state: what `torch.save` can write.
        fingerprint: hash of the configuration that the state belongs to.
    """
    temporary = path.with_suffix(".partial")
    torch.save({"fingerprint": fingerprint, "state": state}, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read a checkpoint, or None where there is none yet.

    Raises:
        DataError: if the file is damaged or belongs to another configuration.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["fingerprint"], content["state"]
    except Exception as error:
        raise DataError(f"{path}: damaged checkpoint; delete it to start again ({error})") from error
    if found != fingerprint:
        raise DataError(f"{path}: belongs to another configuration; use another output folder or delete it")
    return dict(state)
