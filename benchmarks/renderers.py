"""Processor time per image of the rasteriser and the path tracer, on the same views, in one run.

python benchmarks/renderers.py [--count 6] [--size 256] [--samples-per-pixel 32] [--variant scalar_rgb]
                               [--sheet side-by-side.png] [-o results.json]

What to look at is the ratio. The first sample of each renderer, which builds the bank and starts the
renderer, is not counted. The sheet shows the rasteriser's pictures over the path tracer's.
"""

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np
from recording import parse, write_result

from stablenormal.data.sample import Sample
from stablenormal.data.synthetic.corpus import CorpusRenderer
from stablenormal.data.synthetic.renderers import RENDERERS, RendererSettings

_VIEWS_APART = 5
"""Between two measured samples, so that several scenes are seen."""


def main() -> None:
    """Render the same views with both, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples-per-pixel", type=int, default=32)
    parser.add_argument("--variant", default="scalar_rgb")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bank-fraction", type=float, default=1.0)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    os.environ.setdefault("LP_NUM_THREADS", "0")
    seconds, samples = {}, {}
    for name in RENDERERS:
        settings = RendererSettings(name, options.samples_per_pixel, options.variant)
        seconds[name], samples[name] = measure(settings, options)
        print(f"{name:8}{seconds[name]:8.2f} processor seconds per image", flush=True)
    ratio = seconds["path"] / seconds["raster"]
    agreement = float(np.mean([alike(*pair) for pair in zip(*samples.values(), strict=True)]))
    print(f"path / raster {ratio:.0f}; normals within 0.1 degree at {100 * agreement:.2f} % of the pixels")
    if options.sheet:
        rows = [np.hstack([sample.image for sample in samples[name]]) for name in RENDERERS]
        cv2.imwrite(str(options.sheet), np.vstack(rows)[..., ::-1])
    write_result(
        options.out,
        {
            "size": options.size,
            "samples_per_pixel": options.samples_per_pixel,
            "variant": options.variant,
            "count": options.count,
            "agreement": agreement,
            "processor_seconds": seconds,
            "ratio": ratio,
        },
        options.dirty,
    )


def measure(settings: RendererSettings, options: argparse.Namespace) -> tuple[float, list[Sample]]:
    """Processor seconds per sample after the first, and the samples."""
    corpus = CorpusRenderer(options.seed, options.size, None, options.bank_fraction, settings)
    list(corpus.samples(0, 1))
    start = time.process_time()
    samples = []
    for number in range(options.count):
        index = 1 + _VIEWS_APART * number
        samples += corpus.samples(index, index + 1)
    spent = time.process_time() - start
    corpus.close()
    return spent / options.count, samples


def alike(one: Sample, two: Sample) -> float:
    """Share of the pixels that show a surface in both where the normals are within 0.1 degree."""
    both = (one.labels > 0) & (two.labels > 0)
    cosine = (one.normals[both].astype(float) * two.normals[both]).sum(-1)
    return float((np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 0.1).mean())


if __name__ == "__main__":
    main()
