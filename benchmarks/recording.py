"""Results of the benchmarks say where they came from, as those of `runs/` do."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "runs"))

from evidence import commit, write_record  # noqa: E402


def write_result(path: Path | None, record: dict[str, Any]) -> None:
    """Write what was measured, the commit and the libraries it was measured with, if a path is given."""
    if path is not None:
        write_record(path, {"commit": commit(), "torch": version("torch"), **record})
