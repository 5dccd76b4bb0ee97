"""What of a refined map to put on a coarse one: all, or its detail below which width; on training renders.

python runs/enhancement_trials.py --corpus PACKED -o results/enhancement-trials.json [--count 16] [--size 256]

`enhance` rests on this choice; `runs/enhancement.py` measures the chosen one on unseen renders.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from enhancement import DEGRADATIONS, channels, degraded, scores
from evidence import parse, write_record
from torch import Tensor
from torch.nn import functional

from stablenormal.applications.enhancement import enhance, t_plus_of_strength
from stablenormal.data.packed import PackedCorpus, open_corpus
from stablenormal.geometry.normal_detail import detail_on
from stablenormal.geometry.normals import resize_normals, valid_mask
from stablenormal.pipelines import StableNormal

WIDTHS_PX = (1.5, 3.0, 8.0)


def main() -> None:
    """Print a line per degradation and choice, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="packed corpus of training scenes")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--model", default="small")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model)
    images, truths = _renders(open_corpus(options.corpus), options.count, options.size)
    turbo = [found.float() for found in pipeline(images, mode="turbo").normals]
    rows = []
    for degradation in DEGRADATIONS:
        coarse = [degraded(truth, degradation) for truth in truths]
        for choice, make in _choices(pipeline, images, coarse, turbo):
            rows.append({"degradation": degradation, "choice": choice, **scores(make(), truths)})
            print(rows[-1], flush=True)
    record = {"weight_hash": pipeline.weight_hash, "count": options.count}
    write_record(
        options.out, record | {"size": options.size, "rows": rows}, pipeline=pipeline, dirty=options.dirty
    )


def _choices(
    pipeline: StableNormal, images: list[Tensor], coarse: list[Tensor], turbo: list[Tensor]
) -> Iterator[tuple[str, Callable[[], list[Tensor]]]]:
    """Names of what can be done with coarse maps (3, H, W), and the doing."""
    weakest = t_plus_of_strength(0)
    valid = [valid_mask(one) for one in coarse]
    refined = pipeline(images, start=coarse, valid=valid, t_plus=weakest).normals
    yield "coarse map", lambda: coarse
    yield "refined", lambda: refined
    for width in WIDTHS_PX:
        yield f"its detail below {width:g} px", lambda width=width: _with_detail(refined, coarse, width)
    yield "kept (below the map's own blur)", lambda: enhance(pipeline, images, coarse, t_plus=weakest).normals
    stronger = t_plus_of_strength(0.4)
    yield "kept, strength 0.4", lambda: enhance(pipeline, images, coarse, t_plus=stronger).normals
    yield "detail of turbo below 3 px", lambda: _with_detail(turbo, coarse, 3.0)


def _with_detail(fine: list[Tensor], coarse: list[Tensor], width_px: float) -> list[Tensor]:
    found = [detail_on(one, broad, width_px) for one, broad in zip(fine, coarse, strict=True)]
    return [torch.where(valid_mask(one), one, broad) for one, broad in zip(found, coarse, strict=True)]


def _renders(corpus: PackedCorpus, count: int, size: int) -> tuple[list[Tensor], list[Tensor]]:
    """Images (3, size, size) in [0, 1] and normals, spread evenly over the corpus."""
    chosen = np.linspace(0, len(corpus) - 1, count).astype(int)
    images = torch.stack([channels(corpus.images[i].astype(np.float32) / 255) for i in chosen])
    normals = torch.stack([channels(corpus.normals(np.array([i]))[0]) for i in chosen])
    enlarged = functional.interpolate(images, size=(size, size), mode="bilinear")
    return list(enlarged), list(resize_normals(normals, (size, size)))


if __name__ == "__main__":
    main()
