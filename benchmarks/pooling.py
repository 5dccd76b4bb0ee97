"""Peak memory and time of pooling angles, each number of them in a process of its own.

python benchmarks/pooling.py [--angles 1e6 1e8 1e9] [-o results.json]

What to look at: the memory beside what Python with PyTorch takes alone, and that 1000 times as many angles
take no more. Angles arrive in maps of two megapixels, as an evaluation gives them.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from recording import parse, write_result

from stablenormal.evaluation.pooling import BINS, PooledAngles

MAP = 2_000_000


def main() -> None:
    """Run every count, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--angles", nargs="*", type=float, default=[1e6, 1e8, 1e9])
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    if options.one is not None:
        print(json.dumps(pool(int(options.one))))
        return
    print(f"{'angles':>14}{'seconds':>10}{'peak MiB':>10}{'before MiB':>12}{'difference':>12}{'median':>10}")
    rows = []
    for count in options.angles:
        command = [sys.executable, __file__, "--one", str(count)]
        row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rows.append(row)
        print(
            f"{row['angles']:14,d}{row['seconds']:10.1f}{row['peak_mib']:10.0f}{row['before_mib']:12.0f}"
            f"{row['peak_mib'] - row['before_mib']:12.0f}{row['median']:10.4f}",
            flush=True,
        )
    write_result(options.out, {"bins": BINS, "rows": rows}, options.dirty)


def pool(count: int) -> dict[str, float]:
    """Pool `count` angles that are new in every map, spread evenly over 0 to 90 degrees."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.empty(MAP)
    angles.uniform_(0, 90, generator=generator)
    before = peak_mib()
    start = time.perf_counter()
    pooled = PooledAngles()
    left = count
    while left > 0:
        angles.uniform_(0, 90, generator=generator)
        pooled.add(angles[:left])
        left -= MAP
    metrics = pooled.metrics()
    assert metrics.count == count and abs(metrics.median - 45) < 0.2
    seconds = time.perf_counter() - start
    return {
        "angles": count,
        "seconds": seconds,
        "before_mib": before,
        "peak_mib": peak_mib(),
        "median": metrics.median,
    }


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
