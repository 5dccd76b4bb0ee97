"""Errors over the images seen: measure copies of a run's checkpoints on held-out renders and on photographs.

python runs/curve.py --run models/angular-2 --checkpoints copies/*.pt --heldout PACKED --pairs DIR -o OUT.json

The copies are of `checkpoint.pt`, made while the run went on; each is measured with its averaged weights, at
the image size that it was trained at.
Run it in the folder in which the run was started.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from evidence import parse, write_record
from torch import Tensor

from stablenormal.data.packed import open_corpus
from stablenormal.evaluation.pairs import Pair, read_pairs
from stablenormal.evaluation.run import score
from stablenormal.io.checkpoint import load_checkpoint
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.run import begin, training_corpus
from stablenormal.training.settings_file import read_settings


def main() -> None:
    """Print and write a row for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="run folder, for its configuration")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--heldout", type=Path, required=True, help="packed corpus")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of NAME_rgb.jpg, NAME_normal.png")
    parser.add_argument("--images", type=int, default=128, help="of the held-out ones")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    settings = read_settings(options.run / "config.yaml")
    heldout, corpus = open_corpus(options.heldout), training_corpus(settings)
    pairs = list(read_pairs(options.pairs))
    chosen = np.linspace(0, len(heldout) - 1, options.images).astype(np.int64)
    unseen = [
        Pair(str(i), heldout.kinds[i], (heldout.images[i] / 255).astype(np.float32), normals)
        for i, normals in zip(chosen, heldout.normals(chosen), strict=True)
    ]
    rows = []
    for path in options.checkpoints:
        part = begin(settings, corpus, heldout, options.run)
        saved = load_checkpoint(path, settings.fingerprint())
        assert saved is not None, f"{path}: missing"
        part.module.load_state_dict(saved.state["module"])
        trained = (parameter for parameter in part.module.parameters() if parameter.requires_grad)
        with torch.no_grad():
            for parameter, value in zip(trained, saved.state["average"]["shadow_params"], strict=True):
                parameter.copy_(value)
        part.module.eval()
        pipeline, mode = StableNormal(part.components), "full" if settings.part == "refiner" else "turbo"

        size = settings.stage_at(int(saved["step"]) - 1)[1].size

        def predict(
            image: Tensor, pipeline: StableNormal = pipeline, mode: str = mode, size: int = size
        ) -> Tensor:
            return pipeline([image], mode=mode, processing_resolution=size).normals[0].cpu()

        seen, left = 0, int(saved["step"])
        for stage in settings.stages:
            seen += min(left, stage.steps) * stage.batch
            left -= min(left, stage.steps)
        found = [score(predict, of) for of in (unseen, pairs)]
        row = {
            "run": options.run.name,
            "step": int(saved["step"]),
            "images_seen": seen,
            "mode": mode,
            "size": size,
            "heldout_deg": float(np.mean([one["mean"] for one in found[0].per_image.values()])),
            "photographs_deg": found[1].mean_over_sources,
        }
        rows.append(row)
        print(row, flush=True)
    record = {
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "heldout_images": len(unseen),
        "rows": rows,
    }
    write_record(options.out, record, dirty=options.dirty)


if __name__ == "__main__":
    main()
