"""What distinguishes one set of weights from another: the fields of `ModelSpec`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from stablenormal.errors import ModelError, SettingError
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.plain_values import parse_json
from stablenormal.models.modes import MODES, QUALITIES, Mode

Start = Literal["noise", "zeros", "image_latent"]
TextCondition = Literal["prompt", "zeros"]
Refinement = Literal["hold_then_descend", "fixed_level"]
Injection = Literal["input", "every_stage"]
Alignment = Literal["bilinear", "upsampler"]

SPEC_FILE = "spec.json"
TRAIN_TIMESTEPS = 1000
LARGEST_SIZE = 1 << 15
"""Pixels of the longer side of a photograph that networks see."""


@dataclass(frozen=True)
class Quality:
    """How much is spent on a photograph: which stages run, and on which views of it.

    Raises:
        SettingError: for a mode that does not exist, or sizes that are no sizes.
    """

    mode: Mode = "full"
    """`full`, or `turbo`: the one-step start alone."""
    sizes: tuple[int, ...] = ()
    """Pixels of the longer side of each view, whose normals are averaged on the sphere; none: the one size
    of the spec."""
    mirrored: bool = False
    """Whether each view is seen mirrored too."""

    def __post_init__(self) -> None:
        """Check every field."""
        if self.mode not in MODES:
            raise SettingError(f"mode: {self.mode!r} does not exist; choose one of {', '.join(MODES)}")
        whole = all(isinstance(size, int) and not isinstance(size, bool) for size in self.sizes)
        if not whole or not all(0 <= size <= LARGEST_SIZE for size in self.sizes):
            raise SettingError(f"sizes: expected whole numbers from 0 to {LARGEST_SIZE}, got {self.sizes}")
        if not isinstance(self.mirrored, bool):
            raise SettingError(f"mirrored: expected true or false, got {self.mirrored!r}")


@dataclass(frozen=True)
class ModelSpec:
    """How a set of weights must be run; saved beside the weights as `spec.json`.

    Raises:
        SettingError: when a field is out of range or names a choice that does not exist.
    """

    name: str
    """What the weights are called, for example `small`."""
    start: Start = "noise"
    """What YOSO's denoiser eats: Gaussian noise, zeros, or the image latent (released v1.5 and later)."""
    t_plus: int = 401
    """The noise level t+ at which the refinement starts."""
    turbo_t: int = 0
    """The timestep of YOSO where it predicts the clean latent in one step."""
    text: TextCondition = "prompt"
    """YOSO's text condition: a stored constant, or zeros (1, 257, width) as in released v1.5."""
    refinement: Refinement = "hold_then_descend"
    """The rule of the refinement; see `stablenormal.sampling.refine`."""
    steps: int = 10
    """Network calls of the refinement."""
    tau: float = 0.0
    """Fresh noise in each DDIM step of `hold_then_descend`, as a share of DDPM's; 0 is deterministic."""
    native_frame: str = "opengl"
    """The frame in which the autoencoder codes normals; outputs are converted from it."""
    processing_resolution: int = 768
    """Pixels of the longer side at which the networks see the image; 0 keeps the image's own size."""
    zero_convolutions: bool = False
    """Whether the condition encoders end in zero-initialised convolutions; released ones skip them."""
    injection: Injection = "input"
    """Where semantics enter the refiner: its input features (paper), or every encoder stage (released)."""
    semantic_input_size: int = 672
    """Pixels of the square image that the semantic encoder sees, where photographs are not encoded from its
    tokens: then it sees them at the size and in the shape in which the other networks do."""
    alignment: Alignment = "bilinear"
    """What brings semantic features to the latent's size: interpolation (released), or the learned
    upsampler (paper)."""
    predicts_change: bool = False
    """Whether the denoisers give what is to be added to their input, not the latent itself. A network that is
    trained from nothing then begins where the image encoder already leads."""
    mirror_ensemble: bool = False
    """Whether every second member of an ensemble sees the mirrored image. Where noise decides little, seeds
    alone say nothing about how sure an answer is."""
    qualities: Mapping[str, Quality] = field(default_factory=dict, hash=False)
    """What was measured to be worth its time for these weights, by names in `QUALITIES`; `quality` gives the
    others."""

    def __post_init__(self) -> None:
        """Check every field."""
        self._check_choice("start", get_args(Start))
        self._check_choice("text", get_args(TextCondition))
        self._check_choice("refinement", get_args(Refinement))
        self._check_choice("injection", get_args(Injection))
        self._check_choice("alignment", get_args(Alignment))
        self._check_choice("native_frame", tuple(name for name, signs in FRAMES.items() if signs))
        self._check_range("t_plus", 1, TRAIN_TIMESTEPS - 1)
        self._check_range("turbo_t", 0, TRAIN_TIMESTEPS - 1)
        self._check_range("steps", 1, TRAIN_TIMESTEPS)
        self._check_range("tau", 0.0, 1.0)
        self._check_range("processing_resolution", 0, LARGEST_SIZE)
        self._check_range("semantic_input_size", 1, LARGEST_SIZE)
        for name in ("zero_convolutions", "predicts_change", "mirror_ensemble"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name}: expected true or false, got {getattr(self, name)!r}")
        for name in self.qualities:
            _check_quality(name)
        if not isinstance(self.name, str) or not self.name:
            raise SettingError(f"name: expected a non-empty string, got {self.name!r}")

    def quality(self, name: str) -> Quality:
        """What a quality means: as measured, or else turbo, both stages, and both stages mirrored too.

        Raises:
            SettingError: if there is none of that name.
        """
        _check_quality(name)
        usual = {"fast": Quality("turbo"), "normal": Quality("full"), "best": Quality("full", mirrored=True)}
        return self.qualities.get(name, usual[name])

    def asked(self, quality: str | None, mode: Mode | None) -> Quality:
        """What a caller asks for.

        Args:
            quality: `normal` if nothing is said; none where there is a mode alone, which is one plain view.
            mode: in place of the quality's.

        Raises:
            SettingError: if the quality or the mode does not exist.
        """
        if quality is None and mode is not None:
            return Quality(mode)
        preset = self.quality("normal" if quality is None else quality)
        return preset if mode is None else replace(preset, mode=mode)

    def _check_choice(self, field: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, field)
        if value not in choices:
            raise SettingError(f"{field}: {value!r} does not exist; choose one of {', '.join(choices)}")

    def _check_range(self, field: str, low: float, high: float) -> None:
        value = getattr(self, field)
        expected = float if isinstance(low, float) else int
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (expected is int and not isinstance(value, int)) or not low <= value <= high:
            raise SettingError(f"{field}: expected a number between {low} and {high}, got {value!r}")


def _check_quality(name: str) -> None:
    if name not in QUALITIES:
        raise SettingError(f"quality: {name!r} does not exist; choose one of {', '.join(QUALITIES)}")


def save_spec(spec: ModelSpec, folder: Path) -> None:
    """Write the spec as `spec.json` into a model folder."""
    (folder / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")


def load_spec(folder: Path) -> ModelSpec:
    """Read and check the spec of a model folder.

    Raises:
        ModelError: if the file is missing, is not JSON, has unknown fields or values out of range.
    """
    path = folder / SPEC_FILE
    values = read_json(path)
    unknown = sorted(set(values) - {one.name for one in fields(ModelSpec)})
    if unknown:
        raise ModelError(f"{path}: unknown fields {', '.join(unknown)}; was it written by a newer version?")
    try:
        qualities = {
            name: Quality(**{**said, "sizes": tuple(said.get("sizes", ()))})
            for name, said in values.pop("qualities", {}).items()
        }
        return ModelSpec(**values, qualities=qualities)
    except (SettingError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder.

    Raises:
        ModelError: if the file is missing, unreadable, or holds no JSON object.
    """
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path}: missing; the model is incomplete, download or save it again") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: unreadable ({error}); download or save the model again") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: expected a JSON object; download or save the model again")
    return values
