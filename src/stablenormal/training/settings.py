"""The settings that the trainings of all parts share: frozen, and checked when they are made.

A part's own settings stand with the part, in `training/parts/`; its class adds them to these.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from stablenormal.data.mixture import SourceConfig
from stablenormal.errors import SettingError

if TYPE_CHECKING:
    from stablenormal.data.corpus import Corpus
    from stablenormal.data.packed import PackedCorpus
    from stablenormal.models.building import ModelComponents
    from stablenormal.training.part import PartTraining

_OF_THE_MACHINE = ("loader_threads", "checkpoints_kept")
"""Settings that decide how a training is run and not what it gives; a run may go on with others."""

Decay = Literal["cosine", "exponential", "constant"]
Optimiser = Literal["adamw", "muon"]


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one image size; small sizes come first, because they are cheap."""

    size: int
    """Side of the square training images in pixels, a multiple of 8."""
    steps: int
    """Optimiser steps in this stage."""
    batch: int
    """Samples per step."""
    variants: int = 1
    """Denoisers: augmented versions of every image in the stage's latent cache; 0 keeps no cache: each sample
    is augmented anew and encoded when it is read."""
    window: int = 0
    """Denoisers on tokens: side in pixels of the random windows of the images that are trained on; 0 takes
    whole images."""

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 8:
            raise SettingError(f"stage size {self.size}: use a multiple of 8, at least 32")
        if min(self.steps, self.batch) < 1 or min(self.variants, self.window) < 0:
            raise SettingError(
                f"stage {self}: steps and batch must be at least 1, variants and window at least 0"
            )


@dataclass(frozen=True)
class TrainingSettings(ABC):
    """The settings of every part that decide its weights."""

    keys: ClassVar[Mapping[str, str]]
    """What names the part in a file: `part`, and what else tells it from others of that name."""
    caches_latents: ClassVar[bool] = False
    """Whether the part reads latents from a cache, of which stages then have `variants`."""

    base: str
    """Model folder to start from; "small" is the bundled one, "new" has random weights of that architecture,
    "dinov2:FOLDER" or "dinov2:HUB/ID" the same on a pretrained DINOv2 ViT-S/14,
    "sd:FOLDER" or "sd:HUB/ID" begins from Stable Diffusion 1.x or 2.x."""
    data: str
    """Packed training corpus (a folder written by `stablenormal pack`); left out where `sources` stand."""
    heldout: str
    """Packed corpus of unseen scenes, for validation only."""
    stages: tuple[Stage, ...]
    """Image sizes in order."""
    sources: tuple[SourceConfig, ...] = ()
    """Weighted training sets that are read as they are, in place of `data`: reader, root, weight, keep and
    options of each. A packed mixture (`stablenormal pack` makes one of a mixture too) is faster to read."""
    tokens: tuple[str, ...] = ()
    """Folders that `stablenormal data tokens` wrote, in place of `data`. Denoisers whose photographs are
    encoded from tokens read the tokens, which must be of the transformer of `base`; others the images."""
    source_size: int = 256
    """Side in pixels to which the middle square of each of their views is resized."""
    optimiser: Optimiser = "adamw"
    """AdamW for everything, or Muon for the matrices of hidden layers and AdamW for the rest: fewer samples
    from nothing, but each process holds every weight (not with `shard`)."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    muon_learning_rate: float = 0.02
    """Peak learning rate of Muon."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup_steps: int = 100
    """Linear warm-up from zero."""
    decay: Decay = "cosine"
    """How the learning rate falls after the warm-up."""
    final_fraction: float = 0.02
    """The decay ends at this fraction of the peak; a constant one does not decay."""
    clip_norm: float = 1.0
    """Gradients are scaled to at most this total norm."""
    ema_decay: float = 0.998
    """Decay of the exponential moving average that is saved and validated."""
    bf16: bool = True
    """Autocast to bfloat16, also in caches and validation; parameters and optimiser state stay float32."""
    accumulate: int = 1
    """Passes over which a step's batch is divided: the gradients of a large one in a small memory."""
    gradient_checkpointing: bool = False
    """Compute features again in the backward pass instead of keeping them: less memory, more time."""
    shard: bool = False
    """With several processes, divide weights and optimiser state among them (FSDP), as sd21 needs."""
    loader_threads: int = 0
    """Denoisers, in stages without a cache: threads that read and augment the next batches while the network
    works on this one, as a GPU needs; 0 does one after the other. Changes nothing in the result."""
    seed: int = 0
    """Decides data order, augmentation, noise and new weights."""
    validate_every: int = 500
    """Steps between validations."""
    checkpoint_every: int = 250
    """Steps between checkpoints; stopping loses at most these."""
    checkpoints_kept: int = 2
    """How many of the last ones stay; where the newest is damaged, a run goes on from the one before."""
    validation_images: int = 64
    """Held-out images per validation."""
    pictures: int = 6
    """How many of them are shown: image, prediction, truth."""
    semantic_base: str = "new"
    """With a Stable Diffusion base: folder or hub id of a DINOv2 encoder, or "new" for a small one."""

    def __post_init__(self) -> None:
        if [bool(self.data), bool(self.sources), bool(self.tokens)].count(True) != 1:
            raise SettingError("give one of data, a packed corpus, sources, or tokens; not several, not none")
        if not self.tokens and any(stage.window for stage in self.stages):
            raise SettingError("window: of images with tokens, so give tokens too")
        if not self.stages:
            raise SettingError("a training needs at least one stage (size, steps, batch)")
        if not self.caches_latents and any(stage.variants != 1 for stage in self.stages):
            raise SettingError(
                f"variants: of a stage's latent cache, which part {self.part!r} does not have; leave it out"
            )
        refuse_outside_unit_interval(self, "ema_decay", "final_fraction")
        refuse_negative(self, "pictures", "seed", "warmup_steps", "loader_threads")
        refuse_unknown(self, decay=Decay, optimiser=Optimiser)
        refuse_below(self, 1, "accumulate", "validate_every", "checkpoint_every", "validation_images")
        refuse_below(self, 1, "checkpoints_kept")
        refuse_below(self, 16, "source_size")
        if self.optimiser == "muon" and self.shard:
            raise SettingError("optimiser: muon needs whole matrices; use adamw with shard")
        for name in ("learning_rate", "muon_learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be positive")

    @abstractmethod
    def prepare(self, components: "ModelComponents") -> "ModelComponents":
        """The model that the training begins with, in which the part alone takes gradients.

        Args:
            components: the base, without gradients; stays as it is. What changes is a copy in the result, the
                spec included, which says how the trained part is run.

        Raises:
            SettingError: if a setting does not fit the base.
        """

    @abstractmethod
    def training(
        self, components: "ModelComponents", corpus: "Corpus", heldout: "PackedCorpus", folder: Path
    ) -> "PartTraining":
        """The part's loss and validation, on a model that `prepare` made ready.

        Args:
            components: the model, in which the part is trained in place.
            corpus: the training samples.
            heldout: unseen ones.
            folder: of the run, where caches go.
        """

    @property
    def part(self) -> str:
        """Name of the part, on the command line and in files."""
        return self.keys["part"]

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Index and stage that optimiser step `step` (from 0) belongs to."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, stage
            step -= stage.steps
        return len(self.stages) - 1, self.stages[-1]

    def fingerprint(self) -> str:
        """Short hash of the part and every setting that is not as by default; a checkpoint has it.

        Settings of later versions, at their default, change nothing, unless they are of stages or sources.
        """
        values = asdict(self)
        chosen: dict[str, Any] = {
            field.name: values[field.name]
            for field in fields(self)
            if values[field.name] != field.default and field.name not in _OF_THE_MACHINE
        }
        return hashlib.sha256(json.dumps(chosen | dict(self.keys), sort_keys=True).encode()).hexdigest()[:16]


def refuse_outside_unit_interval(settings: object, *names: str) -> None:
    """Refuse settings that are no shares.

    Raises:
        SettingError: naming the first outside [0, 1].
    """
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise SettingError(f"{name} is {getattr(settings, name)}; it must lie in [0, 1]")


def refuse_negative(settings: object, *names: str) -> None:
    """Refuse settings below zero.

    Raises:
        SettingError: naming the first.
    """
    for name in names:
        if getattr(settings, name) < 0:
            raise SettingError(f"{name} is {getattr(settings, name)}; it must not be negative")


def refuse_below(settings: object, least: int, *names: str) -> None:
    """Refuse settings below `least`.

    Raises:
        SettingError: naming the first.
    """
    for name in names:
        if getattr(settings, name) < least:
            raise SettingError(f"{name} is {getattr(settings, name)}; it must be at least {least}")


def refuse_unknown(settings: object, **choices: Any) -> None:
    """Refuse words that are not among those of a `Literal`.

    Raises:
        SettingError: naming the choices.
    """
    for name, literal in choices.items():
        if getattr(settings, name) not in get_args(literal):
            known = ", ".join(get_args(literal))
            raise SettingError(f"unknown {name} {getattr(settings, name)!r}; choose one of {known}")
