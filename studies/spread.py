"""Spread over seeds: full against the same refiner that starts from pure noise; write one JSON.

python -m studies.spread --heldout PACKED -o results/variance.json [--model small] [--count 128] [--seeds 10]

Both see the same images at the model's own size. From noise, the refiner takes DDIM steps that descend from
t = 999 ("trailing"), as many as full takes and ten. Reported, as means over images: the mean error, the
variance of an image's mean error over seeds (the paper's; divided by K - 1), and the angle between each
seed's normals and their mean. Autocast to bfloat16.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runs.evidence import of_heldout, parse, write_record
from stablenormal.data.packed import open_corpus
from stablenormal.geometry.normals import angular_error_deg, unit_length, valid_mask
from stablenormal.models.autoencoder import decode
from stablenormal.pipelines.ensemble import average_normals, spread_deg
from stablenormal.pipelines.noise import NoiseSource, seeded_noise
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.pipelines.two_stage import TwoStageSampler, plan_refinement
from stablenormal.training.augmentation import in_native_frame, load_batch
from studies.claims.sampling import DiffusionSampler, trailing_ddim

BATCH = 8


def main() -> None:
    """Print a line per start, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heldout", type=Path, required=True, help="packed corpus of unseen scenes")
    parser.add_argument("--model", default="small")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model, dtype="float32", device="cpu")
    components, spec = pipeline.components, pipeline.spec
    corpus = open_corpus(options.heldout)
    chosen = np.linspace(0, len(corpus) - 1, min(options.count, len(corpus))).astype(np.int64)
    plan = plan_refinement(spec)
    values: dict[str, list[list[float]]] = {}
    for place in range(0, len(chosen), BATCH):
        batch = in_native_frame(
            load_batch(corpus, chosen[place : place + BATCH], spec.processing_resolution, None), spec
        )
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            encoded = components.encode_image(batch.image)
            semantic = components.semantic_features(batch.image, encoded)
            samplers: dict[str, Callable[[NoiseSource], Tensor]] = {
                f"full, {plan.steps} steps from t+ {plan.t_plus}": TwoStageSampler(
                    components, encoded, semantic, plan, None
                )
            }
            for steps in sorted({plan.steps, 10}):
                samplers[f"from noise, {steps} steps"] = DiffusionSampler(
                    components.refiner, encoded.condition, trailing_ddim(steps), "x0", semantic
                )
            for name, sampler in samplers.items():
                found = []
                for seed in range(options.seeds):
                    latent = sampler(seeded_noise(seed, encoded.latent))
                    found.append(unit_length(decode(components.autoencoder, latent, encoded.guides).float()))
                values.setdefault(name, []).extend(of_images(found, batch.normals))
    rows: list[dict[str, Any]] = []
    for name, each in values.items():
        error, variance, spread = np.mean(each, axis=0).tolist()
        rows.append({"start": name, "error_deg": error, "variance_deg2": variance, "spread_deg": spread})
        print(rows[-1], flush=True)
    record = of_heldout(pipeline.weight_hash, options.heldout, len(chosen)) | {
        "seeds": options.seeds,
        "processing_resolution": spec.processing_resolution,
        "rows": rows,
    }
    write_record(options.out, record, pipeline=pipeline, dirty=options.dirty)


def of_images(found: list[Tensor], truth: Tensor) -> list[list[float]]:
    """Mean error over seeds, its variance, and the spread, of every image of a batch."""
    spread = spread_deg(found, average_normals(found))
    angles = [angular_error_deg(one, truth) for one in found]
    rows = []
    for image, normals in enumerate(truth):
        valid = valid_mask(normals)
        means = [float(angle[image][valid].mean()) for angle in angles]
        rows.append([float(np.mean(means)), float(np.var(means, ddof=1)), float(spread[image][valid].mean())])
    return rows


if __name__ == "__main__":
    main()
