"""CPU seconds of what a person waits for: a typo, the start, a small photograph, one of 12 megapixels.

python benchmarks/start.py [--repeats 3] [-o results.json]

Each is a process of its own, counted by the system (user and system time of one thread), so that other
programs on the machine matter little. The typo is the floor: the interpreter and the command line alone.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from recording import parse, write_result

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-m", "stablenormal", "predict"]
LARGE = (4000, 3000)


def main() -> None:
    """Time every case in rounds, print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(Path(folder))
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.repeats):
            for name, (words, code) in cases.items():
                times[name].append(_cpu_seconds(words, code))
    rows = [{"case": name, "cpu_s": statistics.median(values)} for name, values in times.items()]
    for row in rows:
        print(f"{row['case']:34}{row['cpu_s']:8.2f} s")
    write_result(options.out, {"repeats": options.repeats, "rows": rows}, options.dirty)


def _cases(folder: Path) -> dict[str, tuple[list[str], int]]:
    """Command and expected exit code of each case."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(LARGE, Image.Resampling.BICUBIC)
    picture.save(folder / "large.jpg", quality=92)
    picture.resize((512, 384)).save(folder / "small.jpg", quality=92)
    out = ["-o", str(folder / "out")]
    return {
        "typo": ([*COMMAND, str(folder / "small.jpg"), *out, "--frame", "unity"], 1),
        "glob without a match": ([*COMMAND, str(folder / "*.heic"), *out], 1),
        "import torch": ([sys.executable, "-c", "import torch"], 0),
        "import stablenormal.pipelines": ([sys.executable, "-c", "import stablenormal.pipelines"], 0),
        "predict, 512 px": ([*COMMAND, str(folder / "small.jpg"), *out], 0),
        "predict, 12 megapixels": ([*COMMAND, str(folder / "large.jpg"), *out], 0),
    }


def _cpu_seconds(words: list[str], code: int) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
