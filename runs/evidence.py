"""What every result of these scripts says about where it came from."""

import json
import subprocess
from pathlib import Path
from typing import Any

from stablenormal.io.atomic import write_bytes


def commit() -> str:
    """The commit of this checkout, with "-dirty" where a file differs from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    here = Path(__file__).parent
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False).stdout.strip()


def of_heldout(weight_hash: str, heldout: Path, images: int) -> dict[str, Any]:
    """What a measurement on held-out renders rests on; the corpus by its name alone, wherever it lies."""
    return {"commit": commit(), "weight_hash": weight_hash, "heldout": heldout.name, "images": images}


def write_record(path: Path, record: dict[str, Any], rows: str = "") -> None:
    """Write a JSON of results whole or not at all.

    Args:
        path: of the file; its folder is made.
        record: what was measured.
        rows: keys below which every entry takes a line of its own, so that hundreds of images stay legible.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (_text(record, rows, 1) + "\n").encode())


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
