"""Results of the benchmarks say where they came from, as those of `runs/` do."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

RUNS = Path(__file__).parents[1] / "runs"


def write_result(path: Path | None, record: dict[str, Any]) -> None:
    """Write what was measured, the commit and the libraries it was measured with, if a path is given."""
    if path is None:
        return
    sys.path.append(str(RUNS))
    from evidence import commit, write_record

    write_record(path, {"commit": commit(), "torch": version("torch"), **record})
