"""`predict` on a folder beside none, one or two other programs, its threads waiting in two ways.

python benchmarks/busy.py [--photographs 6] [--mode turbo] [--beside 0 1 2] [-o results.json]

`sleeping` is how the command line has OpenMP's threads wait for each other, `spinning` is OpenMP's own way
and that of other programs on torch; one thread alone, which never waits, is the floor. Each is a process of
its own, timed from the model's loading to the last file. Programs beside it compute in one thread each. Wall
seconds depend on what else the machine does: set a way beside the floor of the same minute.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from recording import parse, write_result

from stablenormal.cli.main import SLEEPING_THREADS
from stablenormal.io.image import write_image

SIZE = (480, 640)
WAYS = {"one thread": {"OMP_NUM_THREADS": "1"}, "sleeping": SLEEPING_THREADS, "spinning": {}}
"""Environment of each way."""

TIMED = """
import json, sys, time
from pathlib import Path
from stablenormal.app.predict import predict
from stablenormal.app.predict_settings import PredictSettings
begun = []
report = predict(
    [sys.argv[1]], Path(sys.argv[2]), PredictSettings(model=sys.argv[3], mode=sys.argv[4]),
    on_start=lambda total: begun.extend([time.perf_counter(), time.process_time()]),
)
assert report.count("failed") == 0
print(json.dumps([time.perf_counter() - begun[0], time.process_time() - begun[1]]))
"""


def main() -> None:
    """Measure every way beside every number of programs, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=6)
    parser.add_argument("--mode", default="turbo")
    parser.add_argument("--model", default="small")
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        _photographs(Path(folder) / "photographs", options.photographs)
        for beside in options.beside:
            for way in WAYS:
                with _programs(beside):
                    wall, cpu = (spent / options.photographs for spent in _timed(Path(folder), way, options))
                load = os.getloadavg()[0]
                rows.append({"beside": beside, "way": way, "wall_s": wall, "cpu_s": cpu, "load": load})
                print(f"{beside} beside, {way:12}{wall:9.2f} s wall{cpu:9.2f} s CPU each", flush=True)
    write_result(
        options.out,
        {
            "photographs": options.photographs,
            "mode": options.mode,
            "model": options.model,
            "cores": os.cpu_count(),
            "rows": rows,
        },
        options.dirty,
    )


def _photographs(folder: Path, count: int) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        enlarged = coarse.repeat(SIZE[0] // 6, axis=0).repeat(SIZE[1] // 8, axis=1)
        write_image(folder / f"{number:03}.jpg", enlarged)


def _timed(folder: Path, way: str, options: argparse.Namespace) -> tuple[float, float]:
    """Wall and CPU seconds from the model's loading to the last file."""
    unsaid = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    words = [str(folder / "photographs"), str(folder / "out"), options.model, options.mode]
    done = subprocess.run(
        [sys.executable, "-c", TIMED, *words],
        env={**unsaid, **WAYS[way]},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu


@contextmanager
def _programs(count: int) -> Iterator[None]:
    """Programs that compute in one thread each while the block runs."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


if __name__ == "__main__":
    main()
