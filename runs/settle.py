"""When `steps="auto"` should end: errors and network calls of thresholds and of fixed schedules, on renders.

python runs/settle.py MODEL --heldout PACKED -o results/NAME.json [--count 128] [--steps 1 2 4 10]
    [--changes 0.05 0.1 0.2 0.4 0.8] [--slack 0.05] [--size PIXELS]

Each image is refined once by the longest schedule, and every x0 on the way is decoded, so that all thresholds
are judged on the same trajectory. The chosen threshold is that of the fewest calls, and of these the
smallest, whose mean error is within `--slack` degrees of the best threshold's; put it into the model's spec
as `settled_change`.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import of_heldout, parse, write_record
from torch import Tensor

from stablenormal.data.packed import open_corpus
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normals import angular_error_deg, valid_mask
from stablenormal.models.autoencoder import decode, reduction
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.pipelines.processing import prepare, restore, unpad
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.pipelines.two_stage import Steps, TwoStageSampler, plan_refinement
from stablenormal.sampling.refine import predictions, relative_change


def main() -> None:
    """Print a line per schedule and threshold, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--heldout", type=Path, required=True, help="packed corpus of unseen scenes")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 10], help="of fixed schedules")
    parser.add_argument("--changes", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4, 0.8])
    parser.add_argument("--slack", type=float, default=0.05, help="degrees")
    parser.add_argument("--size", type=int, help="processing resolution; the model's by default")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model, device="cpu", dtype="float32")
    size = pipeline.spec.processing_resolution if options.size is None else options.size
    corpus = open_corpus(options.heldout)
    chosen = np.linspace(0, len(corpus) - 1, min(options.count, len(corpus))).astype(int)
    images = [channels_first(corpus.images[i] / 255).float() for i in chosen]
    truths = [channels_first(corpus.normals(np.array([i]))[0]).float() for i in chosen]
    fixed = [schedule(pipeline, images, truths, steps, size) for steps in options.steps]
    ways = [trajectory(pipeline, image, truth, size) for image, truth in zip(images, truths, strict=True)]
    settled = [ended(ways, change) for change in options.changes]
    for row in settled:
        print(row, flush=True)
    best = min(row["mean_deg"] for row in settled)
    near = [row for row in settled if row["mean_deg"] <= best + options.slack]
    chosen_change = min(near, key=lambda row: (row["calls"], row["largest_change"]))["largest_change"]
    print(f"chosen: {chosen_change}")
    pipeline.components.spec = replace(pipeline.spec, settled_change=chosen_change)
    auto = schedule(pipeline, images, truths, "auto", size)
    record = {
        "size": size,
        "slack_deg": options.slack,
        "fixed": fixed,
        "settled": settled,
        "chosen": chosen_change,
        "auto": auto,
    }
    write_record(
        options.out,
        of_heldout(pipeline.weight_hash, options.heldout, len(chosen)) | record,
        pipeline=pipeline,
        dirty=options.dirty,
    )


def schedule(
    pipeline: StableNormal, images: list[Tensor], truths: list[Tensor], steps: Steps, size: int
) -> dict[str, Any]:
    """Error, network calls and processor seconds an image of a number of steps, or of `auto`."""
    start = time.process_time()
    outputs = [pipeline(image, mode="full", steps=steps, processing_resolution=size) for image in images]
    seconds = (time.process_time() - start) / len(images)
    errors = [error_deg(one.normals[0], truth) for one, truth in zip(outputs, truths, strict=True)]
    calls = float(np.mean([one.steps for one in outputs]))
    row = {"steps": steps, "mean_deg": float(np.mean(errors)), "calls": calls, "cpu_s": seconds}
    print(row, flush=True)
    return row


@torch.no_grad()
def trajectory(pipeline: StableNormal, image: Tensor, truth: Tensor, size: int) -> list[tuple[float, float]]:
    """Of each x0 of the longest schedule: its change from the one before, and its normals' error."""
    components, spec = pipeline.components, pipeline.spec
    frame = prepare(image, size, reduction(components.autoencoder))
    encoded = components.encode_image(frame.image)
    plan = plan_refinement(spec, "auto")
    sampler = TwoStageSampler(components, encoded, components.semantic_features(frame.image, encoded), plan)
    x, before, noise = sampler.begin(seeded_noise(0, encoded.latent))
    way = []
    for x0 in predictions(sampler.refiner, x, plan.table, noise, plan.tau):
        change = float("inf") if before is None else float(relative_change(before, x0)[0])
        decoded = decode(components.autoencoder, x0, encoded.guides).float()
        way.append((change, error_deg(restore(unpad(decoded, frame), frame, spec.native_frame), truth)))
        before = x0
    return way


def ended(ways: list[list[tuple[float, float]]], largest_change: float) -> dict[str, float]:
    """Mean error and mean number of calls where each image ends at the first change that is small enough."""
    ends = [
        next((call for call, (change, _) in enumerate(way) if change <= largest_change), len(way) - 1)
        for way in ways
    ]
    return {
        "largest_change": largest_change,
        "mean_deg": float(np.mean([way[end][1] for way, end in zip(ways, ends, strict=True)])),
        "calls": float(np.mean(ends)) + 1,
    }


def error_deg(normals: Tensor, truth: Tensor) -> float:
    """Mean angle over the valid pixels."""
    angles = angular_error_deg(normals[None].float(), truth[None])[0]
    return float(angles[valid_mask(truth)].mean())


if __name__ == "__main__":
    main()
