"""What a training run is told: one frozen dataclass, read from YAML and saved beside the result."""

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml

from stablenormal.data.mixture import SourceConfig, source_config
from stablenormal.errors import SettingError
from stablenormal.io.atomic import write_bytes
from stablenormal.models.spec import Alignment, Start

Part = Literal["autoencoder", "semantic", "upsampler", "yoso", "refiner", "angular"]
Decay = Literal["cosine", "exponential", "constant"]
Supervision = Literal["labels", "self_distillation"]
Optimiser = Literal["adamw", "muon"]
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
    """Denoisers: augmented versions of every image in the stage's latent cache; 0 keeps no cache: each sample
    is augmented anew and encoded when it is read."""

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise SettingError(f"stage size {self.size}: use a multiple of 32, at least 32")
        if min(self.steps, self.batch) < 1 or self.variants < 0:
            raise SettingError(f"stage {self}: steps and batch must be at least 1, variants at least 0")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the weights of one part."""

    part: Part
    """Which part is trained; the others stay as they are in `base`."""
    base: str
    """Model folder to start from; "small" is the bundled one, "new" has random weights of that architecture,
    "sd:FOLDER" or "sd:HUB/ID" begins from Stable Diffusion 1.x or 2.x."""
    data: str
    """Packed training corpus (a folder written by `stablenormal pack`); left out where `sources` stand."""
    heldout: str
    """Packed corpus of unseen scenes, for validation only."""
    stages: tuple[Stage, ...]
    """Image sizes in order."""
    sources: tuple[SourceConfig, ...] = ()
    """Weighted training sets that are read as they are, in place of `data`: reader, root, weight, keep and
    options of each. A packed mixture (`stablenormal pack --mixture`) is faster to read."""
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
    smallest_crop: float = 0.6
    """Denoisers: crops show between this share and all of the image's side."""
    roll_deg: float = 0.0
    """Denoisers: standard deviation of a roll of the whole image, which turns the normals with it."""
    blur_px: float = 0.0
    """Denoisers: largest standard deviation of a blur, which one image in five gets."""
    accumulate: int = 1
    """Passes over which a step's batch is divided: the gradients of a large one in a small memory."""
    gradient_checkpointing: bool = False
    """Compute features again in the backward pass instead of keeping them: less memory, more time."""
    shard: bool = False
    """With several processes, divide weights and optimiser state among them (FSDP), as sd21 needs."""
    seed: int = 0
    """Decides data order, augmentation, noise and new weights."""
    validate_every: int = 500
    """Steps between validations."""
    checkpoint_every: int = 250
    """Steps between checkpoints; stopping loses at most these."""
    validation_images: int = 64
    """Held-out images per validation."""
    pictures: int = 6
    """How many of them are shown: image, prediction, truth."""
    semantic_base: str = "new"
    """With a Stable Diffusion base: folder or hub id of a DINOv2 encoder, or "new" for a small one."""
    kl_weight: float = 1e-3
    """Autoencoder: weight of the Kullback-Leibler term, per latent value."""
    normals_fraction: float = 0.6
    """Autoencoder: share of normal maps in a batch; the rest are photographs."""
    freeze_encoder: bool = False
    """Autoencoder: train the decoder alone; latents, and what was trained on them, stay as they are."""
    supervision: Supervision = "labels"
    """Semantic: the scenes' labels, or self-distillation as DINOv2, which needs none."""
    local_crops: int = 4
    """Self-distillation: small crops of each image, which the student alone sees."""
    prototypes: int = 1024
    """Self-distillation: outputs of the head, over which teacher and student agree."""
    teacher_momentum: float = 0.992
    """Self-distillation: decay of the teacher's average at the start; it rises to 1."""
    masked_fraction: float = 0.3
    """Self-distillation: share of patches that the student does not see in masked images (one in two)."""
    koleo_weight: float = 0.1
    """Self-distillation: weight of the term that spreads the features of a batch."""
    levels: int = 1
    """Upsampler: doublings."""
    jitter_zoom: float = 1.5
    """Upsampler: the jittered view shows at least 1 / this of each side."""
    shrinkage: float = 0.4
    """YOSO: probability lambda that the input noise is replaced by zeros."""
    clean_fraction: float = 0.3
    """YOSO: probability that t+ is 0 (turbo's case); otherwise it is uniform in (0, 1000)."""
    low_noise_fraction: float = 0.7
    """Refiner: probability that t is drawn from 1 to t+, where sampling happens; otherwise from (0, 1000)."""
    semantics: bool = True
    """Refiner: whether it sees semantic features; without, a fresh injector stays as if it were not there."""
    alignment: Alignment = "bilinear"
    """Refiner: what brings semantic features to the latent's size; the trained model's spec says the same."""
    start_from_yoso: bool = True
    """Refiner: begin with YOSO's weights, which has its shape (the paper begins both from SD)."""
    own_start_fraction: float = 0.0
    """Refiner: share of samples whose x_t is YOSO's own prediction with noise, not the truth with noise:
    what it meets in use."""
    coarse_fraction: float = 0.0
    """Refiner: share of samples whose x_t is a blurred or reduced truth with noise:
    what `enhance` gives it."""
    start: Start = "image_latent"
    """Angular: what the one-step network is fed: noise (zeros with probability `shrinkage`), zeros, or the
    image latent; the trained model's spec says the same."""
    train_decoder: bool = False
    """Angular: tune the decoder too; the encoder and so the latents stay, but what a refiner's latents decode
    to changes with it."""
    train_image_encoder: bool = False
    """Angular: give photographs an encoder of their own, which begins as En, and tune it too; needs stages
    without a cache (variants: 0). Normal maps keep En, so latents and decoder stay as they are."""
    image_encoder_channels: tuple[int, ...] = ()
    """Angular with `train_image_encoder`: channels of each level of a fresh encoder, finest first, as many
    levels as En has; with none the base's goes on, or one that begins as En."""
    image_encoder_layers: int = 1
    """Residual blocks of each level of a fresh image encoder."""
    latent_weight: float = 0.1
    """Angular: weight of the mean square error of the latent, which keeps it where the decoder works."""
    angular_weight: float = 0.0
    """Refiner: weight of the angle (radians) of the decoded normals beside the latent's mean square error."""
    edge_weight: float = 0.0
    """Angular and refiner: how much more an angle counts within 3 px of an edge of the true normals, which is
    where `stablenormal evaluate` measures sharpness: 1 doubles it, 0 treats all pixels alike."""
    decode_cells: int = 8
    """Angular and refiner: side of the random window of latent cells that is decoded for the angle, as
    decoding costs more than the denoiser; 0 decodes everything."""

    def __post_init__(self) -> None:
        check_part(self.part)
        if bool(self.data) == bool(self.sources):
            raise SettingError("give either data, a packed corpus, or sources; not both and not neither")
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
            "coarse_fraction",
            "teacher_momentum",
            "masked_fraction",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise SettingError(f"{name} is {value}; it must lie in [0, 1]")
        for name in (
            "latent_weight", "angular_weight", "edge_weight", "decode_cells", "koleo_weight", "local_crops",
            "pictures", "seed", "warmup_steps", "roll_deg", "blur_px",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise SettingError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, choices in (
            ("start", Start), ("decay", Decay), ("supervision", Supervision), ("alignment", Alignment),
            ("optimiser", Optimiser),
        ):  # fmt: skip
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                raise SettingError(f"unknown {name} {getattr(self, name)!r}; choose one of {known}")
        for name in (
            "accumulate", "validate_every", "checkpoint_every", "validation_images", "prototypes",
            "image_encoder_layers",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.source_size < 16:
            raise SettingError(f"source_size is {self.source_size}; it must be at least 16")
        if not 1 <= self.levels <= 4:
            raise SettingError(f"levels is {self.levels}; it must lie between 1 and 4")
        if self.jitter_zoom < 1:
            raise SettingError(f"jitter_zoom is {self.jitter_zoom}; it must be at least 1")
        if self.own_start_fraction + self.coarse_fraction > 1:
            raise SettingError("own_start_fraction and coarse_fraction together must not exceed 1")
        if not 0 < self.smallest_crop <= 1:
            raise SettingError(f"smallest_crop is {self.smallest_crop}; it must lie in (0, 1]")
        if self.train_image_encoder and any(stage.variants for stage in self.stages):
            raise SettingError(
                "train_image_encoder: give every stage variants: 0, as a cache keeps old latents"
            )
        channels = self.image_encoder_channels
        if any(not isinstance(count, int) or count < 1 for count in channels):
            raise SettingError(f"image_encoder_channels are {list(channels)}; give positive whole numbers")
        if channels and not self.train_image_encoder:
            raise SettingError("image_encoder_channels: set train_image_encoder too")
        if self.edge_weight and self.part == "refiner" and not self.angular_weight:
            raise SettingError("edge_weight: weighs angles, which the refiner has with angular_weight alone")
        if self.optimiser == "muon" and self.shard:
            raise SettingError("optimiser: muon needs whole matrices; use adamw with shard")
        for name in ("learning_rate", "muon_learning_rate", "clip_norm"):
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
        """Short hash of every field that is not as by default; a checkpoint with another one is refused.

        Fields of later versions, at their default, change nothing, unless they are of stages or sources.
        """
        chosen = {
            field.name: value
            for field in fields(self)
            if (value := asdict(self)[field.name]) != field.default
        }
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def check_part(part: str) -> None:
    """Refuse a part that does not exist.

    Raises:
        SettingError: naming the nearest one.
    """
    if part not in PARTS:
        near = difflib.get_close_matches(str(part), PARTS, n=1, cutoff=0.0)
        raise SettingError(
            f"unknown part {part!r}; did you mean {near[0]!r}? Choose one of {', '.join(PARTS)}"
        )


def read_config(path: Path, part: str | None = None) -> TrainingConfig:
    """Read a training configuration from YAML.

    Args:
        path: the YAML file; its keys are the fields of `TrainingConfig`.
        part: if given, the part that the file must be for.

    Raises:
        SettingError: if the file cannot be read, a key does not exist (the nearest is named) or a value is
            wrong.
    """
    if part is not None:
        check_part(part)
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
    sources = content.pop("sources", [])
    if not isinstance(sources, list | tuple):
        raise SettingError(f"{path}: sources must be a list of (reader, root, weight)")
    content["stages"] = tuple(_build(Stage, stage, path) for stage in stages)
    content["sources"] = tuple(source_config(source, str(path)) for source in sources)
    if sources:
        content.setdefault("data", "")
    if isinstance(content.get("image_encoder_channels"), list):
        content["image_encoder_channels"] = tuple(content["image_encoder_channels"])
    config = _build(TrainingConfig, content, path)
    if part is not None and config.part != part:
        raise SettingError(f"{path}: is for part {config.part!r}, not {part!r}")
    return config


def write_config(config: TrainingConfig, path: Path) -> None:
    """Write a configuration as YAML that `read_config` reads back equal."""
    content = asdict(config) | {
        "stages": [asdict(stage) for stage in config.stages],
        "sources": [asdict(source) for source in config.sources],
    }
    write_bytes(path, yaml.safe_dump(content, sort_keys=False).encode())


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
