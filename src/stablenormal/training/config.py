"""What a training run is told: one frozen dataclass, read from YAML and saved beside the result."""

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml

from stablenormal.errors import SettingError
from stablenormal.models.spec import Start

Part = Literal["autoencoder", "semantic", "yoso", "refiner", "angular"]
Built = TypeVar("Built")
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one image size: small pixels first, they are cheap."""

    size: int
    """Side of the square training images in pixels, a multiple of 32."""
    steps: int
    """Optimiser steps in this stage."""
    batch: int
    """Samples per step."""
    variants: int = 1
    """YOSO and refiner: augmented versions of every image in the stage's latent cache."""

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise SettingError(f"stage size {self.size}: use a multiple of 32, at least 32")
        if min(self.steps, self.batch, self.variants) < 1:
            raise SettingError(f"stage {self}: steps, batch and variants must be at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the weights of one part."""

    part: Part
    """Which part is trained; the others stay as they are in `base`."""
    base: str
    """Model folder to start from, or "new" for random weights of the small architecture."""
    data: str
    """Packed training corpus (a folder written by `stablenormal pack`)."""
    heldout: str
    """Packed corpus of unseen scenes, for validation only."""
    stages: tuple[Stage, ...]
    """Image sizes in order."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup_steps: int = 100
    """Linear warm-up from zero."""
    final_fraction: float = 0.02
    """The cosine decay ends at this fraction of the peak."""
    clip_norm: float = 1.0
    """Gradients are scaled to at most this total norm."""
    ema_decay: float = 0.998
    """Decay of the exponential moving average that is saved and validated."""
    bf16: bool = True
    """Autocast to bfloat16; parameters and optimiser state stay float32."""
    seed: int = 0
    """Decides data order, augmentation, noise and new weights."""
    validate_every: int = 500
    """Steps between validations."""
    checkpoint_every: int = 250
    """Steps between checkpoints; stopping loses at most these."""
    validation_images: int = 64
    """Held-out images per validation."""
    kl_weight: float = 1e-3
    """Autoencoder: weight of the Kullback-Leibler term, per latent value."""
    normals_fraction: float = 0.6
    """Autoencoder: share of normal maps in a batch; the rest are photographs."""
    freeze_encoder: bool = False
    """Autoencoder: train the decoder alone; latents, and what was trained on them, stay as they are."""
    shrinkage: float = 0.4
    """YOSO: probability lambda that the input noise is replaced by zeros."""
    clean_fraction: float = 0.3
    """YOSO: probability that t+ is 0 (turbo's case); otherwise it is uniform in (0, 1000)."""
    low_noise_fraction: float = 0.7
    """Refiner: probability that t is drawn from 1 to t+, where sampling happens; otherwise from (0, 1000)."""
    start_from_yoso: bool = True
    """Refiner: begin with YOSO's weights, which has its shape (the paper begins both from SD)."""
    own_start_fraction: float = 0.0
    """Refiner: share of samples whose x_t is YOSO's own prediction with noise, not the truth with noise:
    what it meets in use."""
    start: Start = "image_latent"
    """Angular: what the one-step network is fed: noise (zeros with probability `shrinkage`), zeros, or the
    image latent; the trained model's spec says the same."""
    latent_weight: float = 0.1
    """Angular: weight of the mean square error of the latent, which keeps it where the decoder works."""
    angular_weight: float = 0.0
    """Refiner: weight of the angle (radians) of the decoded normals beside the latent's mean square error."""
    decode_cells: int = 8
    """Angular and refiner: side of the random window of latent cells that is decoded for the angle, as
    decoding costs more than the denoiser; 0 decodes everything."""

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise SettingError(f"unknown part {self.part!r}; choose one of {', '.join(PARTS)}")
        if not self.stages:
            raise SettingError("a training needs at least one stage (size, steps, batch)")
        for name in (
            "shrinkage",
            "clean_fraction",
            "normals_fraction",
            "ema_decay",
            "final_fraction",
            "low_noise_fraction",
            "own_start_fraction",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise SettingError(f"{name} is {value}; it must lie in [0, 1]")
        for name in ("latent_weight", "angular_weight", "decode_cells"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.start not in get_args(Start):
            raise SettingError(f"unknown start {self.start!r}; choose one of {', '.join(get_args(Start))}")
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be positive")

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
        """Short hash of every field: a checkpoint of another configuration is refused."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def read_config(path: Path, part: str | None = None) -> TrainingConfig:
    """Read a training configuration from YAML.

    Args:
        path: the YAML file; its keys are the fields of `TrainingConfig`.
        part: if given, the part that the file must be for.

    Raises:
        SettingError: if the file cannot be read, a key does not exist (the nearest is named) or a value is
            wrong.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except yaml.YAMLError as error:
        raise SettingError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise SettingError(f"{path}: expected keys and values, got {type(content).__name__}")
    stages = content.pop("stages", [])
    if not isinstance(stages, list):
        raise SettingError(f"{path}: stages must be a list of (size, steps, batch)")
    config = _build(
        TrainingConfig, content | {"stages": tuple(_build(Stage, stage, path) for stage in stages)}, path
    )
    if part is not None and config.part != part:
        raise SettingError(f"{path}: is for part {config.part!r}, not {part!r}")
    return config


def write_config(config: TrainingConfig, path: Path) -> None:
    """Write a configuration as YAML that `read_config` reads back equal."""
    content = asdict(config) | {"stages": [asdict(stage) for stage in config.stages]}
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def _build(cls: type[Built], values: Any, path: Path) -> Built:
    if not isinstance(values, dict):
        raise SettingError(f"{path}: expected the keys of {cls.__name__}, got {values!r}")
    types = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in types:
            near = difflib.get_close_matches(str(key), types, n=1, cutoff=0.0)
            raise SettingError(f"{path}: no setting is named {key!r}; did you mean {near[0]!r}?")
        kind = types[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            values[key] = float(value)
        elif isinstance(kind, type) and not isinstance(value, kind):
            raise SettingError(f"{path}: {key} must be {kind.__name__}, got {value!r}")
    try:
        return cls(**values)
    except TypeError as error:
        raise SettingError(f"{path}: {error}") from error
