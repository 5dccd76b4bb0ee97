"""The training loop: one for every part, resumable bit for bit, in one process or several."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch import Tensor, nn

from stablenormal.errors import OutputError, SettingError
from stablenormal.io.atomic import atomic_path
from stablenormal.io.checkpoint import load_checkpoint, save_checkpoint
from stablenormal.io.interruption import Interruption
from stablenormal.training.muon import Muon, split_parameters
from stablenormal.training.parallel import Processes, divided, whole
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.records import RunRecords
from stablenormal.training.samples import StepSamples, divide_step
from stablenormal.training.settings import Stage, TrainingSettings

_LOG = logging.getLogger(__name__)
_LOG_EVERY = 50
_FIRST_SAID = 3
"""Steps after which the speed and the hours left are told for the first time."""
_EXPLODED = 100.0
"""A loss so many times the median of the last steps' ends the run."""
_REMEMBERED = 50
"""Steps whose losses that median is of."""
_JUDGED_FROM = 10
"""Remembered steps from which on a loss is judged."""
_BETAS = (0.9, 0.98)  # short runs: the usual 0.999 remembers the first, steep steps too long
CHECKPOINT_FILE = "checkpoint.pt"


@dataclass(frozen=True)
class Progress:
    """Where a run is; given to whoever watches it after each step."""

    step: int
    """Steps done."""
    total: int
    """Steps of the whole training."""
    loss: float
    """Of the last step."""
    images_per_s: float
    """Of this run and stage, without validations."""
    seconds_left: float
    """Until the end, if later stages have this one's speed for each pixel."""
    size: int
    """Pixels of the stage."""


@dataclass
class _Pace:
    """Images per second, without the time of validations."""

    started: float = field(default_factory=time.monotonic)
    images: int = 0
    steps: int = 0

    def speed(self) -> float:
        return self.images / max(time.monotonic() - self.started, 1e-9)


def learning_rate_factor(settings: TrainingSettings, step: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, times a decay down to `final_fraction`."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    done = min(1.0, step / max(1, settings.total_steps))
    if settings.decay == "constant":
        return warm
    if settings.decay == "exponential":
        return float(warm * max(settings.final_fraction, 1e-12) ** done)
    return warm * (
        settings.final_fraction + (1 - settings.final_fraction) * 0.5 * (1 + math.cos(math.pi * done))
    )


def images_left(settings: TrainingSettings, step: int) -> float:
    """Images still to be seen after `step` steps, each counted by its pixels against the current stage's."""
    current, passed, left = settings.stage_at(step)[1], 0, 0.0
    for stage in settings.stages:
        undone = stage.steps - min(max(step - passed, 0), stage.steps)
        left += undone * stage.batch * (stage.size / current.size) ** 2
        passed += stage.steps
    return left


def epoch_indices(seed: int, step: int, batch: int, count: int) -> NDArray[np.int64]:
    """Samples (B,) of a step: every epoch is a new permutation, and the step alone decides."""
    positions = np.arange(step * batch, (step + 1) * batch)
    chosen = [
        _permutation(seed, int(epoch), count)[positions[positions // count == epoch] % count]
        for epoch in np.unique(positions // count)
    ]
    return np.concatenate(chosen)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def fit(
    part: PartTraining,
    settings: TrainingSettings,
    folder: Path,
    processes: Processes,
    stop_after: int | None = None,
    interruption: Interruption | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> dict[str, Tensor] | None:
    """Train a part, from its last checkpoint if there is one.

    Args:
        part: what is trained.
        settings: how.
        folder: for `checkpoint.pt`, `log.jsonl`, `tensorboard/` and `pictures/`.
        processes: that divide the work.
        stop_after: stop with a checkpoint after this many steps in all; None runs to the end.
        interruption: stops with a checkpoint when a signal has come.
        watch: called after each step.

    Returns:
        The averaged weights of the part's module, whole and on the CPU; None if there are steps left.

    Raises:
        DataError: if the checkpoint is damaged or of another configuration.
        SettingError: if a batch cannot be divided as the configuration says, or the loss is not finite or far
            larger than those before; what it read is then in `failed-step-*.npz`.
        OutputError: if a checkpoint cannot be written; the one before is intact.
    """
    _check_division(settings, processes.count)
    run = TrainingRun(part, settings, folder, processes)
    last = settings.total_steps if stop_after is None else min(stop_after, settings.total_steps)
    interruption = interruption or Interruption()
    with RunRecords(folder, settings.part, run.step, processes.is_first) as records:
        try:
            with interruption.held():
                while run.step < last:
                    if run.begins_stage:
                        with interruption.released():  # long, and the last checkpoint has everything
                            run.prepare()
                    run.advance()
                    stops = processes.any(interruption.signal is not None)
                    run.report(records, watch, ends=stops or run.step == last)
                    if stops:
                        break
        except KeyboardInterrupt:
            if interruption.signal is None:
                raise
            return None
    return run.finished() if run.step == settings.total_steps else None


class _Step(nn.Module):
    """A part's loss as a module's `forward`, which is what can be distributed."""

    def __init__(self, part: PartTraining) -> None:
        super().__init__()
        self.module = part.module
        self._part = part

    def forward(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        return self._part.loss(stage, samples)


class TrainingRun:
    """Weights, optimiser, averaged weights and step, and how they go on by one."""

    def __init__(
        self, part: PartTraining, settings: TrainingSettings, folder: Path, processes: Processes
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.part, self.settings, self.processes = part, settings, processes
        self.step, self.folder = 0, folder
        self._stage_index, self._samples, self._stage_start = -1, 0, 0
        self._shares = dict[int, list[StepSamples]]()
        self._pace, self._losses, self._figures = _Pace(), list[float](), dict[str, float]()
        self._recent = deque[float](maxlen=_REMEMBERED)
        self._step_module = _Step(part)
        self._distributed = processes.distribute(self._step_module)
        self._parameters = [p for p in part.module.parameters() if p.requires_grad]
        self._optimisers = _optimisers(part, settings, processes)
        self._peaks = [
            [float(group["lr"]) for group in optimiser.param_groups] for optimiser in self._optimisers
        ]
        self._average = EMAModel(self._parameters, decay=settings.ema_decay, foreach=not processes.sharded)
        self._newest_is_good = True
        saved = load_checkpoint(folder / CHECKPOINT_FILE, settings.fingerprint())
        if saved is not None:
            self._restore(saved.state)
            self._newest_is_good = not saved.damaged
            for error in saved.damaged if processes.is_first else ():
                _LOG.warning("%s; the run goes on from %s, step %d", error, saved.path.name, self.step)

    @property
    def begins_stage(self) -> bool:
        """Whether the current step's stage is not ready yet."""
        return self.settings.stage_at(self.step)[0] != self._stage_index

    def prepare(self) -> None:
        """Make the current stage ready."""
        stage_index, stage = self.settings.stage_at(self.step)
        self._stage_start = sum(one.steps for one in self.settings.stages[:stage_index])
        if not self.processes.is_first:  # the first one writes caches, the others then read them
            self.processes.wait()
        self._samples, self._stage_index = self.part.samples(stage), stage_index
        if self.processes.is_first:
            self.processes.wait()
        self._pace = _Pace()

    def advance(self) -> None:
        """One optimiser step."""
        settings, (stage_index, stage) = self.settings, self.settings.stage_at(self.step)
        factor = learning_rate_factor(settings, self.step)
        for optimiser, peaks in zip(self._optimisers, self._peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        shares = self._next_shares(stage_index, stage)
        self.part.module.train()
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        passes = [self._pass(stage, share, share is shares[-1]) for share in shares]
        means = {name: float(np.mean([one[name] for one in passes])) for name in passes[0]}
        means = self.processes.mean(means)
        loss = means.pop("loss")
        self._refuse(stage, "loss", loss, self._largest_loss())
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm)
        self._refuse(stage, "norm of the gradient", float(whole(norm)), math.inf)
        for optimiser in self._optimisers:
            optimiser.step()
        self._average.step(self._parameters)
        self.part.after_step(self.step, settings.total_steps)
        self.step += 1
        self._pace.images += stage.batch
        self._pace.steps += 1
        self._losses.append(loss)
        self._recent.append(loss)
        self._figures = means

    def _next_shares(self, stage_index: int, stage: Stage) -> list[StepSamples]:
        """What this process computes in the current step; later steps of the stage are announced."""
        settings = self.settings
        last = min(self.step + 2 * settings.loader_threads, self._stage_start + stage.steps - 1)
        for step in range(self.step, last + 1):
            if step in self._shares:
                continue
            shares = self._shares_of(step, stage_index, stage)
            self._shares[step] = shares
            if settings.loader_threads:
                for share in shares:
                    self.part.announce(stage, share)
        return self._shares.pop(self.step)

    def _shares_of(self, step: int, stage_index: int, stage: Stage) -> list[StepSamples]:
        """This process' samples of a step, with their random numbers not yet drawn."""
        settings, processes = self.settings, self.processes
        index = epoch_indices(
            settings.seed + stage_index, step - self._stage_start, stage.batch, self._samples
        )
        return divide_step(
            index,
            settings.seed,
            step,
            processes.rank,
            processes.count,
            settings.accumulate,
            processes.device,
        )

    def _largest_loss(self) -> float:
        """What a loss may be, as the last ones were."""
        if len(self._recent) < _JUDGED_FROM:
            return math.inf
        return _EXPLODED * max(float(np.median(self._recent)), 1e-6)

    def _refuse(self, stage: Stage, what: str, value: float, largest: float) -> None:
        """Stop at a figure that is not finite or far too large, and keep what led to it."""
        if math.isfinite(value) and value <= largest:
            return
        grown = f", over {_EXPLODED:g} times the last ones'" if math.isfinite(value) else ""
        checkpoint = self.folder / CHECKPOINT_FILE
        kept = f"; {checkpoint} holds the last good state" if checkpoint.exists() else ""
        try:
            where = f"the samples of the step, in {self._keep_batch(stage)}"
        except OutputError as error:
            where = f"damaged samples ({error})"
        raise SettingError(
            f"step {self.step + 1}: the {what} is {value:g}{grown}; lower learning_rate or clip_norm, or "
            f"look at {where}{kept}"
        )

    def _keep_batch(self, stage: Stage) -> Path:
        """Write what the current step's loss read, for study; each process writes its own share."""
        shares = self._shares_of(self.step, self._stage_index, stage)
        with torch.no_grad():
            read = [self.part.study(stage, share) for share in shares]
        arrays: dict[str, Any] = {"index": np.concatenate([share.index for share in shares])}
        for name in read[0]:
            arrays[name] = torch.cat([one[name].cpu() for one in read]).float().numpy()
        rank = f"-{self.processes.rank}" if self.processes.count > 1 else ""
        path = self.folder / f"failed-step-{self.step + 1:07d}{rank}.npz"
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)
        return path

    def _pass(self, stage: Stage, share: StepSamples, last: bool) -> dict[str, float]:
        found: dict[str, float] = {}

        def loss() -> Tensor:
            device = self.processes.device.type
            with torch.autocast(device, torch.bfloat16, enabled=self.settings.bf16):
                value, figures = self._distributed(stage, share)
            found.update(figures, loss=float(value.detach()))
            scaled: Tensor = value / self.settings.accumulate
            return scaled

        self.processes.backward(self._distributed, loss, last)
        return found

    def report(self, records: RunRecords, watch: Callable[[Progress], None] | None, ends: bool) -> None:
        """Log, validate and write a checkpoint where this step asks for it."""
        settings, step = self.settings, self.step
        size = settings.stages[self._stage_index].size
        if watch is not None and self.processes.is_first:
            left = images_left(settings, step) / self._pace.speed()
            watch(Progress(step, settings.total_steps, self._losses[-1], self._pace.speed(), left, size))
        if self._pace.steps == _FIRST_SAID and self.processes.is_first:
            speed = self._pace.speed()
            hours = images_left(settings, step) / speed / 3600
            _LOG.info("step %d: %.1f images/s, about %.1f hours left", step, speed, hours)
        if step % _LOG_EVERY == 0 or ends:
            figures = {
                "size": size,
                "loss": float(np.mean(self._losses)),
                "images_per_s": self._pace.speed(),
                "hours_left": images_left(settings, step) / self._pace.speed() / 3600,
                "learning_rate": self._optimisers[0].param_groups[0]["lr"],
            }
            records.figures(step, "training", figures | self._figures)
            self._losses = []
        if step % settings.validate_every == 0 or step == settings.total_steps:
            paused = time.monotonic()
            found = self._validate()
            records.figures(step, "validation", found.figures)
            if found.picture is not None:
                records.picture(step, found.picture)
            self._pace.started += time.monotonic() - paused
        stage_ends = step == self._stage_start + settings.stages[self._stage_index].steps
        if step % settings.checkpoint_every == 0 or stage_ends or ends:
            self._save()

    def _validate(self) -> Validation:
        with self._averaged(), self.processes.gathered(self._step_module), torch.no_grad():
            self.part.module.eval()
            return self.part.validate()

    def finished(self) -> dict[str, Tensor]:
        """The module's weights with the averaged ones in place, which stay there."""
        self._average.copy_to(self._parameters)
        weights: dict[str, Tensor] = whole(self.part.module.state_dict())
        return weights

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        self._average.store(self._parameters)
        self._average.copy_to(self._parameters)
        try:
            yield
        finally:
            self._average.restore(self._parameters)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "module": whole(self.part.module.state_dict()),
            "optimisers": [whole(optimiser.state_dict()) for optimiser in self._optimisers],
            "average": whole(self._average.state_dict()),
            "step": self.step,
            "recent_losses": list(self._recent),
        }
        if self.processes.is_first:
            # A damaged newest one is written over; the one before, which was good, stays where it is.
            keep = self.settings.checkpoints_kept if self._newest_is_good else 1
            save_checkpoint(self.folder / CHECKPOINT_FILE, state, self.settings.fingerprint(), keep)
            self._newest_is_good = True
        self.processes.wait()

    def _restore(self, saved: dict[str, Any]) -> None:
        like = self.part.module.state_dict()
        self.part.module.load_state_dict(
            {name: divided(value, like[name]) for name, value in saved["module"].items()}
        )
        for optimiser, state in zip(self._optimisers, saved["optimisers"], strict=True):
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            for index, values in state["state"].items():
                for name, value in values.items():
                    if isinstance(value, Tensor) and value.ndim:
                        values[name] = divided(value, parameters[index])
            optimiser.load_state_dict(state)
        average = dict(saved["average"])
        average["shadow_params"] = [
            divided(value, parameter)
            for value, parameter in zip(average["shadow_params"], self._parameters, strict=True)
        ]
        self._average.load_state_dict(average)
        self.step = int(saved["step"])
        self._recent.extend(saved.get("recent_losses", ()))  # older checkpoints have none


def _optimisers(
    part: PartTraining, settings: TrainingSettings, processes: Processes
) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices and AdamW for the rest and for slower parts."""
    slower: list[dict[str, Any]] = [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}
        for module, rate in part.slower()
    ]
    set_aside = {id(p) for group in slower for p in group["params"]}
    matrices, others = split_parameters(part.module)
    if settings.optimiser == "adamw":
        matrices, others = [], [p for p in part.module.parameters() if p.requires_grad]
    matrices, others = ([p for p in chosen if id(p) not in set_aside] for chosen in (matrices, others))
    groups: list[dict[str, Any]] = [group for group in [{"params": others}, *slower] if group["params"]]
    built: list[torch.optim.Optimizer] = []
    if groups:
        built.append(
            torch.optim.AdamW(
                groups,
                lr=settings.learning_rate,
                betas=_BETAS,
                weight_decay=settings.weight_decay,
                fused=not processes.sharded,
            )
        )
    if matrices:
        built.append(
            Muon(
                matrices,
                lr=settings.muon_learning_rate,
                weight_decay=settings.weight_decay,
                rank=processes.rank,
                count=processes.count,
                total=processes.total,
                dtype=torch.bfloat16 if settings.bf16 else torch.float32,
            )
        )
    return built


def _check_division(settings: TrainingSettings, processes: int) -> None:
    parts = processes * settings.accumulate
    for stage in settings.stages:
        if stage.batch % parts:
            raise SettingError(
                f"a batch of {stage.batch} cannot be divided among {processes} processes times "
                f"accumulate {settings.accumulate}; make it a multiple of {parts}"
            )
