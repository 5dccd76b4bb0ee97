"""`predict` on a folder of photographs, on a machine that has other work: none, one or two programs beside it.

python benchmarks/busy.py [--photographs 8] [--mode turbo] [--beside 0 1 2] [-o results.json]

Each run is a process of its own, so that its threads wait as its environment says: `sleeping`, as the command
line sets it, against `spinning`, OpenMP's own way and that of other programs on torch. One thread alone,
which never waits, is the floor of CPU seconds. What the start costs is measured on one photograph and taken
off. Programs beside it compute in one thread each. Wall seconds depend on what else the machine does; the
ratios to the floor, taken in turns, say more.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from recording import parse, write_result

from stablenormal.io.image import write_image

SIZE = (480, 640)
WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "sleeping": {},
    "spinning": {"GOMP_SPINCOUNT": "300000"},
}
"""Environment of each way; the last is what GNU's OpenMP does if nothing is said, while cores are enough."""


def main() -> None:
    """Measure every way beside every number of programs, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=8)
    parser.add_argument("--mode", default="turbo")
    parser.add_argument("--model", default="small")
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        photographs = _photographs(Path(folder) / "photographs", options.photographs)
        for beside in options.beside:
            with _programs(beside):
                for way in options.ways:
                    first = _timed(photographs[:1], Path(folder), way, options)
                    all_of_them = _timed(photographs, Path(folder), way, options)
                    count = len(photographs) - 1
                    wall, cpu = ((a - b) / count for a, b in zip(all_of_them, first, strict=True))
                    rows.append({"beside": beside, "way": way, "wall_s": wall, "cpu_s": cpu})
                    print(
                        f"{beside} beside, {way:12}{wall:9.2f} s wall{cpu:9.2f} s CPU each",
                        flush=True,
                    )
    write_result(
        options.out,
        {"photographs": options.photographs, "mode": options.mode, "model": options.model,
         "cores": os.cpu_count(), "load_average": os.getloadavg()[0], "rows": rows},
        options.dirty,
    )  # fmt: skip


def _photographs(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for path in paths:
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        write_image(path, coarse.repeat(SIZE[0] // 6, axis=0).repeat(SIZE[1] // 8, axis=1))
    return paths


def _timed(
    photographs: list[Path], folder: Path, way: str, options: argparse.Namespace
) -> tuple[float, float]:
    """Wall and CPU seconds of one command."""
    words = ["predict", *map(str, photographs), "-o", str(folder / "out")]
    words += ["--model", options.model, "--mode", options.mode]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "stablenormal", *words],
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}, **WAYS[way]},
        capture_output=True,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


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
