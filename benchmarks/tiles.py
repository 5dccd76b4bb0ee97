"""Large photographs in tiles against whole: sharpness at true edges, seams, and peak memory.

stablenormal synth -o renders --size 2048 --count 12 --seed 1919 --no-phones --shard-size 12
python benchmarks/tiles.py renders [--model small] [--mode turbo] [--count 4] [--large 4096] [-o results.json]

Edges are those of the true normals. A seam would be seen where a tile begins or ends: the angles between
neighbours across those lines are set beside the angles across random lines of the same picture, and beside
those across the lines 4 to 24 pixels away, which show the same things.
Memory is the largest resident size of a whole `stablenormal predict --tile`, Python and torch included, on
a render enlarged to `--large` pixels a side.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import parse, write_result
from torch import Tensor
from torch.nn import functional

from stablenormal.data.shards import iterate_samples
from stablenormal.evaluation.edges import near_edges, sharpness
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normals import angular_error_deg, valid_mask
from stablenormal.io.image import write_image
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.pipelines.tiles import Grid, Tiling

RANDOM_LINES = 200


def main() -> None:
    """Measure every render both ways, then memory; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("renders", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--mode", default="turbo")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--tile-size", type=int, default=None)
    parser.add_argument("--large", type=int, default=4096, help="side for the peak; 0: not measured")
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model)
    rows: list[dict[str, Any]] = []
    for _, sample in zip(range(options.count), iterate_samples(options.renders), strict=False):
        rows.append(_measured(pipeline, sample.image, sample.normals, options))
        print(f"render {len(rows)} of {options.count}", flush=True)
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    for key, value in mean.items():
        print(f"{key:36}{value:10.4f}")
    peak = None if options.large == 0 else _peak_gb(options)
    if peak is not None:
        print(f"{'peak of memory, GB':36}{peak:10.2f}")
    write_result(
        options.out,
        {
            "model": options.model,
            "weight_hash": pipeline.weight_hash,
            "dtype": str(pipeline.dtype),
            "mode": options.mode,
            "tile_size": options.tile_size,
            "renders": rows,
            "mean": mean,
            "large_px": options.large,
            "peak_gb": peak,
        },
        options.dirty,
    )


def _measured(
    pipeline: StableNormal, image: Any, normals: Any, options: argparse.Namespace
) -> dict[str, float]:
    truth = channels_first(normals)
    valid = valid_mask(truth)
    near = near_edges(truth) & valid
    found: dict[str, float] = {}
    for name, tiled in (("whole", {}), ("tiled", {"tile": True, "tile_size": options.tile_size})):
        start = time.process_time()
        output = pipeline(image, mode=options.mode, **tiled)
        found[f"{name}: CPU seconds"] = time.process_time() - start
        predicted = output.normals[0]
        error = angular_error_deg(predicted[None], truth[None])[0]
        found[f"{name}: mean error, degrees"] = float(error[valid].mean())
        found[f"{name}: error near edges, degrees"] = float(error[near].mean())
        found[f"{name}: sharpness"] = sharpness(predicted, truth)
        if tiled:
            found["tiles"] = output.tiles[0]
        size = (predicted.shape[1], predicted.shape[2])
        side = Tiling(options.tile_size).side(size, output.processing_resolution)
        found |= {f"{name}: {key}": value for key, value in _seams(predicted, size, side).items()}
    return found


def _seams(normals: Tensor, size: tuple[int, int], side: int) -> dict[str, float]:
    """Angles across the lines at which tiles begin or end, beside those across random lines."""
    rows, columns = Grid(size, side, Tiling().overlap).borders
    generator = np.random.default_rng(0)
    at_borders: list[float] = []
    elsewhere: list[float] = []
    beside: list[float] = []
    for borders, turned in ((rows, normals), (columns, normals.transpose(1, 2))):
        length = turned.shape[1]
        far = [line for line in range(1, length) if all(abs(line - border) > 2 for border in borders)]
        close = {line + step for line in borders for step in (*range(-24, -3), *range(4, 25))}
        for lines, found in (
            (borders, at_borders),
            (sorted(line for line in close if line in far), beside),
            (generator.choice(far, RANDOM_LINES // 2, replace=False), elsewhere),
        ):
            for line in lines:
                before, after = turned[None, :, line - 1 : line], turned[None, :, line : line + 1]
                found.append(float(angular_error_deg(before, after).mean()))
    worst = max(at_borders)
    return {
        "jump at tile borders, degrees": float(np.mean(at_borders)),
        "jump at lines beside them, degrees": float(np.mean(beside)),
        "jump at random lines, degrees": float(np.mean(elsewhere)),
        "jump at random lines, 95th percentile": float(np.percentile(elsewhere, 95)),
        "jump at the worst border, degrees": worst,
        "share of random lines above the worst": float(np.mean(np.array(elsewhere) > worst)),
    }


def _peak_gb(options: argparse.Namespace) -> float:
    sample = next(iterate_samples(options.renders))
    enlarged = functional.interpolate(
        channels_first(sample.image).float()[None] / (255 if sample.image.dtype == np.uint8 else 1),
        size=(options.large, options.large),
        mode="bicubic",
    )[0].clamp(0, 1)
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "large.jpg"
        write_image(photograph, enlarged.permute(1, 2, 0).contiguous().numpy())
        del enlarged
        words = ["predict", str(photograph), "-o", f"{folder}/out", "--model", options.model, "--tile"]
        done = subprocess.run(
            [sys.executable, "-m", "stablenormal", *words, "--mode", options.mode],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
