"""Errors of one model at several sizes, t+ and steps, on held-out renders: what its spec's defaults rest on.

python runs/choose.py MODEL --heldout PACKED -o results/NAME.json [--count 256]
    [--sizes 128 144 160] [--t-plus 51 101 201] [--steps 1 2 4]

Turbo is measured at every size, full at every size, t+ and number of steps. Autocast to bfloat16, which is
fast; `runs/measure.py` reports the chosen setting in float32.
"""

import argparse
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import of_heldout, parse, write_record

from stablenormal.data.packed import open_corpus
from stablenormal.evaluation.edges import near_edges
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normals import angular_error_deg, valid_mask
from stablenormal.pipelines.stable_normal import StableNormal


def main() -> None:
    """Print a line per setting, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--heldout", type=Path, required=True, help="packed corpus of unseen scenes")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 144, 160])
    parser.add_argument("--t-plus", type=int, nargs="+", default=[51, 101, 201])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model, dtype="float32")
    corpus = open_corpus(options.heldout)
    chosen = np.linspace(0, len(corpus) - 1, min(options.count, len(corpus))).astype(int)
    images = [channels_first(corpus.images[i] / 255).float() for i in chosen]
    truths = [channels_first(corpus.normals(np.array([i]))[0]).float() for i in chosen]
    settings: list[dict[str, Any]] = [{"mode": "turbo", "processing_resolution": s} for s in options.sizes]
    settings += [
        {"mode": "full", "processing_resolution": size, "t_plus": t_plus, "steps": steps}
        for size, t_plus, steps in product(options.sizes, options.t_plus, options.steps)
    ]
    rows: list[dict[str, Any]] = []
    for one in settings:
        rows.append(one | errors(pipeline, images, truths, one))
        print(rows[-1], flush=True)
    write_record(
        options.out,
        of_heldout(pipeline.weight_hash, options.heldout, len(chosen)) | {"rows": rows},
        pipeline=pipeline,
        dirty=options.dirty,
    )


def errors(
    pipeline: StableNormal,
    images: list[torch.Tensor],
    truths: list[torch.Tensor],
    settings: Mapping[str, Any],
) -> dict[str, float]:
    """Means over images of the mean error, everywhere and within 3 px of true edges, in degrees."""
    found = pipeline(images, batch_size=8, seed=0, **settings).normals
    everywhere, on_edges = [], []
    for normals, truth in zip(found, truths, strict=True):
        angles = angular_error_deg(normals[None].float(), truth[None])[0]
        valid = valid_mask(truth)
        edges = valid & near_edges(truth)
        everywhere.append(float(angles[valid].mean()))
        if edges.any():
            on_edges.append(float(angles[edges].mean()))
    return {"mean_deg": float(np.mean(everywhere)), "on_edges_deg": float(np.mean(on_edges))}


if __name__ == "__main__":
    main()
