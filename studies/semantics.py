"""What the semantic part does to the refiner's normals.

Encoders trained by labels and by self-distillation, and none; features aligned bilinearly and by the
upsampler. Refiners go on from the base's with a fresh injector, as the bundled one is trained, or begin with
random weights and see the truth with noise at all levels, as the paper says (then measured with ten steps
from t+ 401). All of one kind have the same start, data, order and number of steps.

python -m studies.semantics --base MODEL --data PACKED --heldout PACKED -o FOLDER [--threads 2]
    [--refiner-steps 200] [--fresh-steps 400] [--semantic-steps 600] [--upsampler-steps 150]
    [--size 128] [--batch 64]

MODEL is a trained one-step model (`stablenormal train yoso` or `angular`). Every training resumes where it
stopped; run the command again until it prints the table. Writes FOLDER/study.json.
"""

import argparse
import itertools
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from runs.evidence import parse, write_record
from stablenormal.io.interruption import Interruption
from stablenormal.models.building import build_injector, build_semantic_encoder
from stablenormal.models.loading import save_components, weight_hash
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.fresh_weights import quieten_semantic_encoder
from stablenormal.training.parts.catalogue import settings_class
from stablenormal.training.run import train
from stablenormal.training.settings import Stage
from studies.claims.networks import rival_components
from studies.claims.plan import STUDIED

MUON: dict[str, Any] = {"optimiser": "muon", "muon_learning_rate": 0.02}
REFINER: dict[str, Any] = {
    "optimiser": "muon",
    "learning_rate": 1.5e-3,
    "muon_learning_rate": 0.01,
    "start_from_yoso": True,
    "own_start_fraction": 0.6,
    "low_noise_fraction": 0.7,
    "angular_weight": 1.0,
    "decode_cells": 6,
}
"""As the bundled refiner is trained."""
FRESH_REFINER: dict[str, Any] = {
    "optimiser": "muon",
    "learning_rate": 3e-3,
    "muon_learning_rate": 0.02,
    "start_from_yoso": False,
    "low_noise_fraction": 0.0,
}
"""As the paper says."""
STARTS = {"trained": REFINER, "nothing": FRESH_REFINER}
_SEED = 0


def main() -> None:
    """Train whatever is missing, print a table, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="trained one-step model: folder, hub id, or small")
    parser.add_argument("--data", required=True, help="packed training corpus")
    parser.add_argument("--heldout", required=True, help="packed corpus of unseen scenes")
    parser.add_argument("--refiner-steps", type=int, default=200)
    parser.add_argument("--fresh-steps", type=int, default=400, help="of refiners with random weights")
    parser.add_argument("--semantic-steps", type=int, default=600)
    parser.add_argument("--upsampler-steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=64, help="held-out images")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.threads:
        torch.set_num_threads(options.threads)
    with Interruption() as interruption:
        rows = _study(options, interruption)
    if rows is None:
        print("stopped with a checkpoint; run again to go on")
        return
    report = {
        "options": {name: Path(str(value)).name for name, value in vars(options).items()},
        "rows": rows,
    }
    write_record(options.out / "study.json", report, dirty=options.dirty)
    print(f"{'start':10}{'encoder':20}{'alignment':12}{'mean':>8}{'median':>8}{'11.25':>8}")
    for row in rows:
        print(
            f"{row['start']:10}{row['encoder']:20}{row['alignment']:12}{row['full_deg']:8.2f}{row['full_median_deg']:8.2f}"
            f"{row['full_below_11.25_percent']:8.1f}"
        )


def _study(options: argparse.Namespace, interruption: Interruption) -> list[dict[str, Any]] | None:
    fresh = _fresh_base(options)
    rows: list[dict[str, Any]] = []
    for encoder in ("none", "labels", "self_distillation"):
        base = fresh
        if encoder != "none":
            supervision = MUON | {"supervision": encoder, "learning_rate": 2e-3, "weight_decay": 0.02}
            semantic = _trained(
                options,
                interruption,
                f"semantic-{encoder}",
                "semantic",
                fresh,
                supervision,
                options.semantic_steps,
            )
            if semantic is None:
                return None
            upsampler = _trained(
                options,
                interruption,
                f"upsampler-{encoder}",
                "upsampler",
                semantic,
                {"learning_rate": 2e-3},
                options.upsampler_steps,
            )
            if upsampler is None:
                return None
            base = upsampler
        alignments = ("bilinear",) if encoder == "none" else ("bilinear", "upsampler")
        for start, alignment in itertools.product(STARTS, alignments):
            settings = STARTS[start] | {"alignment": alignment, "semantics": encoder != "none"}
            name = f"refiner-{encoder}-{alignment}" + ("-fresh" if start == "nothing" else "")
            began = base if start == "trained" else _with_fresh_refiner(base, options.out / f"base-{encoder}")
            steps = options.refiner_steps if start == "trained" else options.fresh_steps
            if _trained(options, interruption, name, "refiner", began, settings, steps) is None:
                return None
            log = (options.out / name / "log.jsonl").read_text().splitlines()
            found = [record for line in log if "full_deg" in (record := json.loads(line))]
            rows.append({"start": start, "encoder": encoder, "alignment": alignment} | found[-1])
            rows[-1]["weight_hash"] = weight_hash(options.out / name / "model")
    return rows


def _fresh_base(options: argparse.Namespace) -> Path:
    """The base with a semantic encoder and an injector that have learnt nothing, so that all begin alike."""
    folder: Path = options.out / "base"
    if folder.exists():
        return folder
    components = StableNormal.from_pretrained(options.base, device="cpu", dtype="float32").components
    torch.manual_seed(_SEED)
    encoder = build_semantic_encoder(STUDIED.semantic, components.spec.semantic_input_size)
    quieten_semantic_encoder(encoder)
    components.semantic_encoder, components.feature_upsampler = encoder, None
    components.refiner.injector = build_injector(
        components.refiner.unet, components.spec, encoder.channels, STUDIED.injector_channels
    )
    return save_components(components, folder, torch.float32)


def _with_fresh_refiner(base: Path, folder: Path) -> Path:
    """The base with a refiner of random weights, the same whatever the encoder is, and the paper's plan."""
    if folder.exists():
        return folder
    components = StableNormal.from_pretrained(base, device="cpu", dtype="float32").components
    components.refiner = rival_components(components, STUDIED, "guided", _SEED).refiner
    components.spec = replace(components.spec, t_plus=401, steps=10)
    return save_components(components, folder, torch.float32)


def _trained(
    options: argparse.Namespace,
    interruption: Interruption,
    name: str,
    part: str,
    base: Path,
    settings: dict[str, Any],
    steps: int,
) -> Path | None:
    """The model of one training, which goes on where it stopped; None if it was interrupted."""
    model: Path = options.out / name / "model"
    if model.exists():
        return model
    named = {"part": part} | {key: settings[key] for key in ("supervision",) if key in settings}
    chosen = settings_class(named)(
        base=str(base),
        data=options.data,
        heldout=options.heldout,
        stages=(Stage(options.size, steps, options.batch),),
        warmup_steps=min(100, max(1, steps // 10)),
        ema_decay=0.995 if steps > 500 else 0.9,
        validate_every=max(1, steps // 3),
        checkpoint_every=max(1, steps // 10),
        validation_images=options.images,
        seed=_SEED,
        **{key: value for key, value in settings.items() if key not in named},
    )
    return train(chosen, options.out / name, interruption=interruption)


if __name__ == "__main__":
    main()
