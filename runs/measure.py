"""Measure a model on photographs with measured normals and on held-out renders; write one JSON.

python runs/measure.py --pairs DIR --heldout PACKED -o results/NAME.json [--model small] [--dtype float32]
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from evidence import parse, write_record
from torch import Tensor

from stablenormal.data.packed import open_corpus
from stablenormal.evaluation.pairs import Pair, read_pairs
from stablenormal.evaluation.run import score
from stablenormal.pipelines.stable_normal import StableNormal


def main() -> None:
    """Score turbo and full, print a line each, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, help="folder of NAME_rgb.jpg and NAME_normal.png")
    parser.add_argument("--heldout", type=Path, help="packed corpus of unseen scenes")
    parser.add_argument("--model", default="small")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model, dtype=options.dtype)
    sets: dict[str, list[Pair]] = {}
    if options.pairs:
        sets["pairs"] = list(read_pairs(options.pairs))
    if options.heldout:
        corpus = open_corpus(options.heldout)
        sets["heldout"] = [
            Pair(
                str(i),
                corpus.kinds[i],
                (corpus.images[i] / 255).astype(np.float32),
                corpus.normals(np.array([i]))[0],
            )
            for i in range(len(corpus))
        ]
    report: dict[str, object] = {"model": options.model, "seed": options.seed}
    constant = {name: score(_facing, pairs).mean_over_sources for name, pairs in sets.items()}
    report["constant_normal"] = constant
    print("constant", constant)
    for mode in ("turbo", "full"):

        def predict(image: Tensor, mode: str = mode) -> Tensor:
            return pipeline([image], mode=mode, seed=options.seed).normals[0].cpu()

        for name, pairs in sets.items():
            scores = score(predict, pairs)
            report[f"{mode}_{name}"] = asdict(scores)
            images = [values["mean"] for values in scores.per_image.values()]
            mean = scores.mean_over_sources
            print(f"{mode} {name}: {mean:.2f} over sources, {np.mean(images):.2f} over images")
    write_record(options.out, report, rows="per_image", pipeline=pipeline, dirty=options.dirty)


def _facing(image: Tensor) -> Tensor:
    normals = image.new_zeros(image.shape)
    normals[2] = 1
    return normals


if __name__ == "__main__":
    main()
