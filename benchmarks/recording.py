"""Results of the benchmarks say where they came from, as those of `runs/` do."""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "runs"))
import evidence  # noqa: E402


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read a benchmark's options; a checkout with changes needs `--dirty`."""
    options: argparse.Namespace = evidence.parse(parser)
    return options


def write_result(path: Path | None, record: dict[str, Any], dirty: bool) -> None:
    """Write what was measured and where it came from, if a path is given."""
    if path is not None:
        evidence.write_record(path, record, dirty=dirty)
