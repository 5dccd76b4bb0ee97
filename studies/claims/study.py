"""The paper's claims at small scale: train every network, measure every row, write the page. One command.

python -m studies.claims OUT --corpus PACKED --heldout PACKED [--pairs DIR] [--budget small] [--docs docs]

Needs two packed corpora (`stablenormal synth`, `stablenormal pack`) of different scenes. Every network and
every row is a run of its own below OUT; started again, the command goes on after the last complete one, and
inside a network's training after the last checkpoint. Pairs (NAME_rgb.jpg beside NAME_normal.png) are
measured, never trained on. `--page-only` writes the page of what is there. All is computed under autocast to
bfloat16. Several processes may share OUT once OUT/latents is complete, each with training seeds of its own
(`--seeds 0`, `--seeds 1 2`): on a few cores one thread for each is faster than one process with all threads.

OUT/networks/NAME-sSEED       config.yaml, log.jsonl, weights.safetensors, result.json
RECORDS/networks/NAME-sSEED   result.json
RECORDS/rows/NAME-sSEED       result.json: settings, commit, hashes, values of every image
RECORDS/times                 result.json
OUT/claims.json, OUT/plots

RECORDS (`--records`) is OUT unless named. It holds the small files alone: a study whose OUT was lost goes on
from them, and trains again only the networks that a row still lacks. `--page-only` also reads an archive of
them: the records of the published page are `results/study.tar.xz`.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from runs.evidence import origin, parse, write_record
from stablenormal.data.packed import open_corpus
from stablenormal.errors import DataError
from stablenormal.evaluation.pairs import Pair, read_pairs
from stablenormal.io.atomic import write_bytes
from stablenormal.io.interruption import Interruption
from stablenormal.models.building import ModelComponents
from stablenormal.models.spec import Start
from stablenormal.pipelines.noise import NoiseSource
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.latent_cache import LatentCache, build_latent_cache
from stablenormal.training.loop import fit
from stablenormal.training.parallel import Processes
from stablenormal.training.part import PartTraining
from stablenormal.training.parts.denoiser import DenoiserSettings
from stablenormal.training.parts.refiner import RefinerSettings, RefinerTraining
from stablenormal.training.parts.yoso import YosoSettings, YosoTraining
from stablenormal.training.settings import Stage
from stablenormal.training.settings_file import write_settings
from studies.claims import page
from studies.claims.measuring import Measuring, measuring
from studies.claims.networks import rival_components
from studies.claims.plan import ARCHITECTURES, BUDGETS, NETWORKS, ROWS, Budget, Network, Row
from studies.claims.rivals import RIVALS, Rival
from studies.claims.training import rival_training

OPTIMISER: dict[str, Any] = {"optimiser": "muon", "learning_rate": 3e-3, "muon_learning_rate": 0.02}
LOG = logging.getLogger("study")

Sampler = Callable[[NoiseSource], Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, time, and write the page; leave out what is complete."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    if not options.page_only:
        try:
            with Interruption() as interruption:
                _run(Study(options, interruption), options)
        except KeyboardInterrupt:
            raise SystemExit("stopped; run the same command again to go on") from None
    page.write(options.out, options.records, options.docs)


def _run(study: "Study", options: argparse.Namespace) -> None:
    """Train and measure what is not there yet."""
    for seed in range(study.budget.training_seeds) if options.seeds is None else options.seeds:
        study.train_and_measure(seed)
        if seed == 0:
            study.measure_times()
        page.write(options.out, options.records, options.docs)  # of what is there so far


class Study:
    """Everything that the runs share.

    Args:
        options: of the command line.
        interruption: stops a training with a checkpoint.
    """

    def __init__(self, options: argparse.Namespace, interruption: Interruption) -> None:
        self.interruption = interruption
        self.out: Path = options.out
        self.records: Path = options.records
        self.budget: Budget = BUDGETS[options.budget]
        self.pipeline = StableNormal.from_pretrained(
            options.model, dtype="float32", device="cpu", offline=True
        )
        self.base: ModelComponents = self.pipeline.components
        if self.base.spec.name not in ARCHITECTURES:
            raise DataError(f"{options.model}: give a model named {' or '.join(ARCHITECTURES)}")
        self.architecture = ARCHITECTURES[self.base.spec.name]
        if self.base.condition_channels != self.architecture.condition_channels:
            raise DataError(
                f"{options.model}: photographs become {self.base.condition_channels} channels, those of the "
                f"study {self.architecture.condition_channels}; take src/stablenormal/weights/small "
                "from commit 3a09254"
            )
        self.corpus, self.heldout = open_corpus(options.corpus), open_corpus(options.heldout)
        self.corpus_folders = (str(options.corpus), str(options.heldout))
        self.pairs: list[Pair] = list(read_pairs(options.pairs)) if options.pairs else []
        self.measuring = Measuring(self.base, self.heldout, self.budget)
        self.settings: dict[str, object] = {
            "budget": asdict(self.budget),
            "corpus": [len(self.corpus), _hash_of_array(self.corpus.images[:4])],
            "heldout": [len(self.heldout), _hash_of_array(self.heldout.images[:4])],
            "base": self.pipeline.weight_hash,
            "optimiser": OPTIMISER,
        }
        self.dirty: bool = options.dirty
        self.evidence = origin(self.pipeline) | {"autocast": "bfloat16"}  # of the code that is loaded now

    # Training

    def train_and_measure(self, seed: int) -> None:
        """Measure every row of a training seed, each as soon as its networks are trained.

        A network is trained if a row, or the timing, still lacks it.
        """
        rows = [
            row
            for name, row in ROWS.items()
            if seed < row.seeds
            and not _is_complete(self._row_folder(name, seed), self._row_settings(row, seed))
        ]
        if seed == 0 and not _is_complete(self.records / "times", self._times_settings()):
            rows += [row for row in ROWS.values() if row.timed]
        lacking = {name for row in rows for name in row.networks}
        for name, network in NETWORKS.items():
            if name in lacking and seed < network.seeds:
                self.train(name, network, seed)
                self.measure_ready(seed)

    def train(self, name: str, network: Network, seed: int) -> None:
        """Train a network, unless that is done."""
        folder = self._network_folder(name, seed)
        settings = self.settings | {"network": asdict(network), "seed": seed}
        if _is_complete(folder, settings):
            return
        rival = RIVALS[network.rival] if network.kind == "rival" else None
        steps = max(1, round(self.budget.steps * network.share))
        kind: type[DenoiserSettings] = RefinerSettings if network.kind == "refiner" else YosoSettings
        own: dict[str, Any] = {"start_from_yoso": False} if network.kind == "refiner" else {}
        if rival:
            kind, own = rival.part, dict(rival.settings)
        training = kind(
            base=self.base.spec.name,
            data=self.corpus_folders[0],
            heldout=self.corpus_folders[1],
            stages=(Stage(self.budget.size, steps, self.budget.batch, self.budget.variants),),
            **OPTIMISER,
            warmup_steps=max(1, self.budget.steps // 15),
            ema_decay=0.995 if steps >= 100 else 0.5,
            seed=seed,
            validate_every=steps,
            validation_images=min(32, self.budget.heldout_images),
            checkpoint_every=100,
            **own | network.settings,
        )
        components = rival_components(
            self.base, self.architecture, rival.network if rival else "guided", seed
        )
        if not network.semantics:
            components.refiner.injector = None
        part = self._part(training, components, rival)
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(training, folder / "config.yaml")
        started, cpu = time.monotonic(), time.process_time()
        LOG.info("training %s, seed %d", name, seed)
        averaged = fit(part, training, folder, Processes(shard=False), interruption=self.interruption)
        if averaged is None:
            raise KeyboardInterrupt  # with a checkpoint; the same command goes on
        weights = {key: value.contiguous() for key, value in averaged.items()}
        save_file(weights, folder / "weights.safetensors")
        self._finish(
            folder,
            settings,
            {
                "parameters": sum(p.numel() for p in part.module.parameters() if p.requires_grad),
                "samples": steps * self.budget.batch,
                "seconds_of_this_run": time.monotonic() - started,
                "cpu_seconds_of_this_run": time.process_time() - cpu,
                "weights": sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
            },
        )
        if self.records != self.out:
            kept = self.records / "networks" / folder.name / "result.json"
            write_bytes(kept, (folder / "result.json").read_bytes())
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    def _part(
        self, training: DenoiserSettings, components: ModelComponents, rival: Rival | None
    ) -> PartTraining:
        """The training of a network, ours or a rival's, on the common latents."""
        data = (self.corpus, self.heldout)
        caches = self._latents(components)
        if rival:
            return rival_training(rival, components, *data, training, caches)
        ready = training.prepare(components)
        if isinstance(training, RefinerSettings):
            return RefinerTraining(training, ready, ready.refiner, *data, caches)
        assert isinstance(training, YosoSettings), "the study trains no other part of ours"
        return YosoTraining(training, ready, ready.yoso, *data, caches)

    def _latents(self, components: ModelComponents) -> LatentCache:
        """One cache for all networks, so that all see the same samples."""
        budget = self.budget
        wanted = min(len(self.corpus), budget.corpus_images) * budget.variants
        folder = self.out / "latents"
        return build_latent_cache(
            folder, self.corpus, components, budget.size, budget.variants, wanted, 0, ("semantic", "normals")
        )

    # Measuring

    def measure_ready(self, seed: int) -> None:
        """Measure every row of a training seed whose networks are all there."""
        for name, row in ROWS.items():
            trained = (self._network_folder(network, seed) / "result.json" for network in row.networks)
            if seed < row.seeds and all(path.exists() for path in trained):
                self.measure(name, row, seed)

    def measure(self, name: str, row: Row, seed: int) -> None:
        """Measure a row, unless that is done."""
        folder, settings = self._row_folder(name, seed), self._row_settings(row, seed)
        if _is_complete(folder, settings):
            return
        started, cpu = time.monotonic(), time.process_time()
        networks, hashes = self._networks(row, seed)
        values: dict[str, list[float | None]] = {}
        with measuring():
            for place in _batches(self._images_of(row), self.budget.batch_images):
                for metric, found in self.measuring.batch(row, networks, place).items():
                    values.setdefault(metric, []).extend(found)
            if row.photographs and self.pairs:
                values["photographs"] = [
                    self.measuring.photograph_error(row, networks, pair) for pair in self.pairs
                ]
        numbers = {
            "seconds": time.monotonic() - started,
            "cpu_seconds": time.process_time() - cpu,
            "weights": hashes,
        }
        self._finish(folder, settings, numbers | {"values": values})
        errors = [value for value in values["error"] if value is not None]
        LOG.info("%s, seed %d: %.2f degrees, %.0f s", name, seed, np.mean(errors), numbers["seconds"])

    def _network_folder(self, name: str, seed: int) -> Path:
        return self.out / "networks" / f"{name}-s{seed}"

    def _row_folder(self, name: str, seed: int) -> Path:
        return self.records / "rows" / f"{name}-s{seed}"

    def _row_settings(self, row: Row, seed: int) -> dict[str, object]:
        pairs = len(self.pairs) * row.photographs
        return self.settings | {"row": asdict(row), "seed": seed, "pairs": pairs}

    def _times_settings(self) -> dict[str, object]:
        return self.settings | {"rows": [name for name, row in ROWS.items() if row.timed]}

    def measure_times(self) -> None:
        """Seconds for one image, every method of the table in turns, so that load falls on all alike."""
        folder, settings = self.records / "times", self._times_settings()
        rows = {name: row for name, row in ROWS.items() if row.timed}
        if _is_complete(folder, settings):
            return
        networks = {name: self._networks(row, 0)[0] for name, row in rows.items()}
        seconds: dict[str, list[float]] = {name: [] for name in rows}
        with measuring():
            for round_number in range(self.budget.timing_rounds + 1):
                for name, row in rows.items():
                    started = time.perf_counter()
                    image = self.measuring.images[:1]
                    latent = self.base.encode_image(image).latent
                    semantic = self.base.semantic_encoder(image) if row.kind == "two_stage" else None
                    sampler = self.measuring.sampler(row, networks[name], latent, semantic)
                    self.measuring.estimate(row, sampler, latent, 0)
                    if round_number:  # the first warms up
                        seconds[name].append(time.perf_counter() - started)
        medians = {name: statistics.median(found) for name, found in seconds.items()}
        self._finish(folder, settings, {"medians": medians, "seconds": seconds})

    def _finish(self, folder: Path, settings: dict[str, object], numbers: dict[str, object]) -> None:
        """Write a run's result: complete, or absent."""
        content = self.evidence | {"settings": settings} | numbers
        write_record(folder / "result.json", content, pipeline=self.pipeline, dirty=self.dirty)

    def _images_of(self, row: Row) -> int:
        return self.budget.ensemble_images if row.ensemble > 1 else self.budget.heldout_images

    def _networks(self, row: Row, seed: int) -> tuple[list[ModelComponents], list[str]]:
        """For each network of a row the components that hold it, and its hash."""
        found, hashes = [], []
        for name in row.networks:
            network = NETWORKS[name]
            rival = RIVALS[network.rival] if network.kind == "rival" else None
            components = rival_components(
                self.base, self.architecture, rival.network if rival else "guided", seed
            )
            if not network.semantics:
                components.refiner.injector = None
            folder = self._network_folder(name, seed)
            module = components.refiner if network.kind == "refiner" else components.yoso
            module.load_state_dict(load_file(folder / "weights.safetensors"))
            module.eval()
            start: Start = "noise"
            if rival and not rival.predicts:
                start = rival.settings.get("start", "zeros")
            components.spec = replace(components.spec, start=start)
            found.append(components)
            hashes.append(json.loads((folder / "result.json").read_text())["weights"])
        return found, hashes


def _batches(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _is_complete(folder: Path, settings: dict[str, object]) -> bool:
    """Whether the run is there.

    Raises:
        DataError: if it is there with other settings.
    """
    path = folder / "result.json"
    if not path.exists():
        return False
    found = json.loads(path.read_text())["settings"]
    if found != json.loads(json.dumps(settings)):
        raise DataError(f"{path}: belongs to another study; give another folder, or delete this one")
    return True


def _hash_of_array(array: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of all runs; the same folder resumes")
    parser.add_argument(
        "--records", type=Path, help="folder of the small result files, by default OUT; or an archive of it"
    )
    parser.add_argument("--corpus", type=Path, help="packed training corpus")
    parser.add_argument("--heldout", type=Path, help="packed corpus of other scenes")
    parser.add_argument("--pairs", type=Path, help="NAME_rgb.jpg beside NAME_normal.png; measured only")
    parser.add_argument("--budget", choices=list(BUDGETS), default="small")
    parser.add_argument("--model", help="gives the frozen autoencoder and encoders; see plan.STUDIED")
    parser.add_argument("--docs", type=Path, help="folder in which claims.md and its pictures are written")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 takes all")
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds of this process; all by default")
    parser.add_argument("--page-only", action="store_true", help="write the page of what is there")
    options = parse(parser, arguments, unless="page_only")
    options.records = options.records or options.out
    if not options.page_only and None in (options.corpus, options.heldout, options.model):
        parser.error("--corpus, --heldout and --model are needed")
    if not options.page_only and options.records.is_file():
        parser.error(f"{options.records}: an archive takes no new results; unpack it, or add --page-only")
    return options
