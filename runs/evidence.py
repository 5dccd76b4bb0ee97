"""What every result of these scripts says about where it came from."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from stablenormal.io.atomic import write_bytes
from stablenormal.pipelines.stable_normal import StableNormal


def commit() -> str:
    """The commit of this checkout, with "-dirty" where a file differs from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    here = Path(__file__).parent
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False).stdout.strip()


def of_heldout(weight_hash: str, heldout: Path, images: int) -> dict[str, Any]:
    """What a measurement on held-out renders rests on; the corpus by its name alone, wherever it lies."""
    return {"commit": commit(), "weight_hash": weight_hash, "heldout": heldout.name, "images": images}


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a script's options, and refuse a checkout with changes before anything is measured.

    Raises:
        SystemExit: if a file differs from its commit and `--dirty` is not given.
    """
    parser.add_argument("--dirty", action="store_true", help="measure although files differ from the commit")
    options = parser.parse_args(arguments)
    if not options.dirty:
        refuse_changes(commit())
    return options


def refuse_changes(of: str) -> None:
    """End the script if the commit says that files differ from it.

    Raises:
        SystemExit: with one line.
    """
    if of.endswith("-dirty"):
        sys.exit(
            "error: files differ from the commit; commit them, or give --dirty, which the result then says"
        )


def origin(pipeline: StableNormal | None = None) -> dict[str, Any]:
    """Where a result came from: commit, device, precision, threads, PyTorch, and the weights if any."""
    return {
        "commit": commit(),
        "dirty": commit().endswith("-dirty"),
        "device": "cpu" if pipeline is None else str(pipeline.device),
        "dtype": "float32" if pipeline is None else str(pipeline.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": version("torch"),
        "weight_hash": None if pipeline is None else pipeline.weight_hash,
    }


def write_record(
    path: Path,
    record: dict[str, Any],
    rows: str = "",
    *,
    pipeline: StableNormal | None = None,
    dirty: bool = False,
) -> None:
    """Write a JSON of results whole or not at all, `origin` first.

    Args:
        path: of the file; its folder is made.
        record: what was measured; a key of `origin` in it stays as it is.
        rows: keys below which every entry takes a line of its own, so that hundreds of images stay legible.
        pipeline: the model that was measured, if one was.
        dirty: write although files differ from the commit; the record says so.

    Raises:
        SystemExit: if files differ from the commit and `dirty` is not set.
    """
    if not dirty:
        refuse_changes(commit())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (_text(origin(pipeline) | record, rows, 1) + "\n").encode())


def _text(value: Any, rows: str, depth: int) -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, indent=1).replace("\n", "\n" + " " * (depth - 1))
    lines = []
    for key, inner in value.items():
        if rows and key == rows and isinstance(inner, dict):
            entries = ",\n".join(
                " " * (depth + 1) + f"{json.dumps(k)}: {json.dumps(v)}" for k, v in inner.items()
            )
            text = "{\n" + entries + "\n" + " " * depth + "}"
        else:
            text = _text(inner, rows, depth + 1)
        lines.append(" " * depth + f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n" + " " * (depth - 1) + "}"
