"""Seconds per photograph: turbo and full, float32 against bfloat16, taking turns in one process.

python benchmarks/inference.py [--model small] [--size 512] [--repeats 7] [--device cpu] [-o results.json]

Absolute times depend on the machine and its load:
the result is the ratio to the float32 row of the same mode.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch
from recording import parse, write_result

from stablenormal.models.modes import MODES
from stablenormal.pipelines.stable_normal import StableNormal

DTYPES = ("float32", "bfloat16")


def main() -> None:
    """Time every combination in rounds, print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--size", type=int, default=512, help="side of the square photograph in pixels")
    parser.add_argument(
        "--resolution", type=int, default=None, help="processing resolution; the model's by default"
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    image = torch.rand(3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    models = {
        dtype: StableNormal.from_pretrained(options.model, device=options.device, dtype=dtype)
        for dtype in DTYPES
    }
    times: dict[tuple[str, str], list[float]] = {(mode, dtype): [] for mode in MODES for dtype in DTYPES}
    for repeat in range(options.repeats + 1):
        for (mode, dtype), measured in times.items():
            start = time.perf_counter()
            models[dtype]([image], mode=mode, processing_resolution=options.resolution)
            if options.device.startswith("cuda"):
                torch.cuda.synchronize()
            if repeat:  # the first round warms up
                measured.append(time.perf_counter() - start)
    medians = {key: statistics.median(values) for key, values in times.items()}
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {options.size} px"
    )
    print(f"{'mode':8}{'dtype':10}{'seconds':>9}{'fastest':>9}{'speed-up':>10}")
    rows = []
    for (mode, dtype), median in medians.items():
        ratio = medians[mode, "float32"] / median
        fastest = min(times[mode, dtype])
        rows.append(
            {"mode": mode, "dtype": dtype, "median_s": median, "fastest_s": fastest, "speed_up": ratio}
        )
        print(f"{mode:8}{dtype:10}{median:9.3f}{fastest:9.3f}{ratio:9.2f}x")
    write_result(
        options.out,
        {
            "weight_hash": models["float32"].weight_hash,
            "device": options.device,
            "threads": torch.get_num_threads(),
            "size": options.size,
            "rows": rows,
        },
        options.dirty,
    )


if __name__ == "__main__":
    main()
