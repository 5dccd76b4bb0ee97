"""Images per second of training at the small size: each part under several settings, in turns.

python benchmarks/training.py [--base small] [--size 128] [--batch 8] [--repeats 5] [--parts yoso,refiner]
    [-o results.json]

Absolute speeds depend on the machine and its load: the result is the ratio to the float32 row of the part.
Samples are noise, as their content does not change the time; latents are cached beforehand, as in training.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import parse, write_result

from stablenormal.data.packed import open_corpus, pack_corpus
from stablenormal.data.sample import CLASSES, Sample
from stablenormal.geometry.camera import Intrinsics
from stablenormal.training.loop import TrainingRun
from stablenormal.training.parallel import Processes
from stablenormal.training.parts.catalogue import PARTS
from stablenormal.training.run import begin
from stablenormal.training.settings import Stage

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {"bf16": False},
    "bfloat16": {},
    "bfloat16, 2 passes": {"accumulate": 2},
    "bfloat16, gradient checkpointing": {"gradient_checkpointing": True},
}


def main() -> None:
    """Time every combination in rounds, print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="small")
    parser.add_argument("--size", type=int, default=128, help="side of the training images in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="steps that are timed")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    processes, rows = Processes(shard=False), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pack_corpus(_samples(2 * options.batch, options.size), folder / "corpus", 2 * options.batch)
        print(
            f"{processes.device}, {platform.machine()}, {torch.get_num_threads()} threads, {options.size} px"
        )
        print(f"{'part':14}{'setting':34}{'images/s':>10}{'speed-up':>10}")
        for part in options.parts.split(","):
            rows += _measure(part, options, folder, processes)
    write_result(
        options.out, {"threads": torch.get_num_threads(), "size": options.size, "rows": rows}, options.dirty
    )


def _measure(
    part: str, options: argparse.Namespace, folder: Path, processes: Processes
) -> list[dict[str, Any]]:
    corpus = str(folder / "corpus")
    plain = PARTS[part](options.base, corpus, corpus, (Stage(options.size, 10**6, options.batch),))
    runs = {}
    for name, change in SETTINGS.items():
        settings = replace(plain, **change)
        data = open_corpus(folder / "corpus")
        trained = begin(settings, data, data, folder / part)
        trained.components.to(processes.device, torch.float32)
        runs[name] = TrainingRun(trained, settings, folder / part, processes)
        runs[name].prepare()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(options.repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run.advance()
            if repeat:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = []
    for name, median in medians.items():
        speed, ratio = options.batch / median, medians["float32"] / median
        rows.append({"part": part, "setting": name, "images_per_s": speed, "speed_up": ratio})
        print(f"{part:14}{name:34}{speed:10.2f}{ratio:9.2f}x")
    return rows


def _samples(count: int, size: int) -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    normals = np.zeros((size, size, 3), np.float32)
    normals[..., 2] = 1
    for _ in range(count):
        yield Sample(
            image=rng.integers(0, 256, (size, size, 3), np.uint8),
            normals=normals,
            depth=np.ones((size, size), np.float32),
            labels=rng.integers(0, len(CLASSES), (size, size), np.uint8),
            instances=np.ones((size, size), np.uint16),
            intrinsics=Intrinsics(fx=size, fy=size, cx=size / 2, cy=size / 2, width=size, height=size),
        )


if __name__ == "__main__":
    main()
