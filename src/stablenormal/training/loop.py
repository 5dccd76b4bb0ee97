"""The training loop: one for every part, resumable bit for bit."""

import json
import logging
import math
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch import Tensor, nn

from stablenormal.training.checkpoint import load_checkpoint, save_checkpoint
from stablenormal.training.config import Stage, TrainingConfig

_LOG = logging.getLogger(__name__)
_LOG_EVERY = 50
_BETAS = (0.9, 0.98)  # short runs: the usual 0.999 remembers the first, steep steps too long


class PartTraining(ABC):
    """What the loop needs to know of a part.

    Args:
        module: everything that is trained.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @abstractmethod
    def samples(self, stage_index: int, stage: Stage) -> int:
        """Prepare a stage and return how many samples an epoch of it has."""

    @abstractmethod
    def loss(
        self, stage: Stage, index: NDArray[np.int64], rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss of one batch, and what else is worth logging.

        Args:
            stage: the current stage.
            index: (B,) samples of the epoch.
            rng: draws augmentation.
            noise: draws every tensor.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on held-out scenes, with the weights that are in the module now."""


def learning_rate_factor(config: TrainingConfig, step: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine down to `final_fraction`."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = min(1.0, step / max(1, config.total_steps))
    return warm * (config.final_fraction + (1 - config.final_fraction) * 0.5 * (1 + math.cos(math.pi * done)))


def epoch_indices(seed: int, step: int, batch: int, count: int) -> NDArray[np.int64]:
    """Samples (B,) of a step: every epoch is a new permutation, and the step alone decides."""
    positions = np.arange(step * batch, (step + 1) * batch)
    chosen = [
        np.random.default_rng((seed, epoch)).permutation(count)[
            positions[positions // count == epoch] % count
        ]
        for epoch in np.unique(positions // count)
    ]
    return np.concatenate(chosen)


def fit(part: PartTraining, config: TrainingConfig, folder: Path, stop_after: int | None = None) -> bool:
    """Train a part, from its last checkpoint if there is one, and leave the averaged weights in its module.

    Args:
        part: what is trained.
        config: how.
        folder: for `checkpoint.pt` and `log.jsonl`.
        stop_after: stop with a checkpoint after this many steps in all; None runs to the end.

    Returns:
        Whether the training is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in part.module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=_BETAS, weight_decay=config.weight_decay, fused=True
    )
    average = EMAModel(parameters, decay=config.ema_decay, foreach=True)
    saved = load_checkpoint(folder / "checkpoint.pt", config.fingerprint())
    step = 0
    if saved is not None:
        part.module.load_state_dict(saved["module"])
        optimiser.load_state_dict(saved["optimiser"])
        average.load_state_dict(saved["average"])
        step = int(saved["step"])
        _LOG.info("%s: resuming at step %d of %d", config.part, step, config.total_steps)
    last = config.total_steps if stop_after is None else min(stop_after, config.total_steps)
    prepared, samples, first, started = -1, 0, step, time.monotonic()
    seen, losses = 0, []
    while step < last:
        stage_index, stage = config.stage_at(step)
        if stage_index != prepared:
            samples, prepared = part.samples(stage_index, stage), stage_index
            started, seen = time.monotonic(), 0
            stage_start = sum(s.steps for s in config.stages[:stage_index])
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(config, step)
        index = epoch_indices(config.seed + stage_index, step - stage_start, stage.batch, samples)
        rng, noise = (
            np.random.default_rng((config.seed, step)),
            torch.Generator().manual_seed(config.seed * 10**6 + step),
        )
        part.module.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            loss, figures = part.loss(stage, index, rng, noise)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimiser.step()
        average.step(parameters)
        step += 1
        seen += stage.batch
        losses.append(float(loss.detach()))
        if step % _LOG_EVERY == 0 or step == last:
            speed = seen / (time.monotonic() - started)
            record = {
                "step": step,
                "size": stage.size,
                "loss": float(np.mean(losses)),
                "images_per_s": speed,
            } | figures
            _log(folder, config, record)
            losses = []
        if step % config.validate_every == 0 or step == config.total_steps:
            paused = time.monotonic()
            _log(folder, config, {"step": step} | _validate(part, average, parameters))
            started += time.monotonic() - paused
        if step % config.checkpoint_every == 0 or step == last:
            state: dict[str, Any] = {"module": part.module.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"average": average.state_dict(), "step": step}
            save_checkpoint(folder / "checkpoint.pt", state, config.fingerprint())
    _LOG.info(
        "%s: %d steps in this run, now at %d of %d", config.part, step - first, step, config.total_steps
    )
    if step == config.total_steps:
        average.copy_to(parameters)
        return True
    return False


def _validate(part: PartTraining, average: EMAModel, parameters: list[nn.Parameter]) -> dict[str, float]:
    average.store(parameters)
    average.copy_to(parameters)
    part.module.eval()
    with torch.inference_mode():
        figures = part.validate()
    average.restore(parameters)
    return figures


def _log(folder: Path, config: TrainingConfig, record: dict[str, float]) -> None:
    _LOG.info("%s %s", config.part, " ".join(f"{key} {value:.4g}" for key, value in record.items()))
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
