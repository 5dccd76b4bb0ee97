"""How a command runs a model: the options that all of them share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from stablenormal.errors import SettingError
from stablenormal.models.devices import DEVICES, DTYPES
from stablenormal.models.modes import MODES, QUALITIES, Mode
from stablenormal.models.spec import TRAIN_TIMESTEPS, ModelSpec, Quality

if TYPE_CHECKING:
    from torch import Tensor

    from stablenormal.pipelines.stable_normal import StableNormal


@dataclass(frozen=True)
class LoadSettings:
    """Which weights are loaded, and where they compute.

    Raises:
        SettingError: when made with a device or number format that does not exist.
    """

    model: str = "small"
    """`small`, a model folder, or a hub id."""
    device: str | None = None
    """`cpu`, `cuda`, `mps`; None: the best that is there."""
    dtype: str | None = None
    """`float32`, `bfloat16`, `float16`; None: what suits the device."""
    offline: bool = False
    """Never use the network."""
    trust_remote_code: bool = False
    """Run Python files that came with the weights."""

    def __post_init__(self) -> None:
        """Refuse names that do not exist."""
        for option, name, choices in (
            ("--device", None if self.device is None else self.device.partition(":")[0], DEVICES),
            ("--dtype", self.dtype, DTYPES),
        ):
            if name is not None and name not in choices:
                raise SettingError(f"{option}: there is no '{name}'; choose from {', '.join(choices)}")

    def load(self) -> "StableNormal":
        """The model.

        Raises:
            SettingError, ModelError, OfflineError: as `StableNormal.from_pretrained`.
        """
        from stablenormal.pipelines.stable_normal import StableNormal

        return StableNormal.from_pretrained(
            self.model,
            device=self.device,
            dtype=self.dtype,
            offline=self.offline,
            trust_remote_code=self.trust_remote_code,
        )


@dataclass(frozen=True)
class ModelSettings(LoadSettings):
    """How a model is loaded and predicts; saved beside what it gives.

    Raises:
        SettingError: when made with a mode that does not exist or numbers out of range.
    """

    quality: str | None = None
    """`fast`, `normal` or `best`: stages and views, as the model's spec says; None: `normal`, unless there is
    a mode."""
    mode: Mode | None = None
    """`full`: one-step start and refinement; `turbo`: one step alone; None: as the quality says."""
    ensemble: int = 1
    """Predictions per photograph that are averaged."""
    steps: int | None = None
    """Refinement steps; None: the model's own."""
    t_plus: int | None = None
    """Noise level at which the refinement starts; None: the model's own."""
    resolution: int | None = None
    """Longer side in pixels for the network, 0 for the photograph's own; None: the model's."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the model was loaded."""
        super().__post_init__()
        for option, name, choices in (
            ("--quality", self.quality, QUALITIES),
            ("--mode", self.mode, MODES),
        ):
            if name is not None and name not in choices:
                raise SettingError(f"{option}: there is no '{name}'; choose from {', '.join(choices)}")
        for option, value, least in (
            ("--ensemble", self.ensemble, 1),
            ("--t-plus", self.t_plus, 1),
            ("--steps", self.steps, 1),
            ("--resolution", self.resolution, 0),
        ):
            if value is not None and value < least:
                raise SettingError(f"{option}: {value} is too small; use {least} or more")
        if self.t_plus is not None and self.t_plus >= TRAIN_TIMESTEPS:
            raise SettingError(f"--t-plus: {self.t_plus} is too large; use {TRAIN_TIMESTEPS - 1} or less")
        if self.mode == "turbo":
            self._refuse_refinement("turbo")

    def asked(self, spec: ModelSpec) -> Quality:
        """The stages and views that a model runs.

        Args:
            spec: of the model.

        Raises:
            SettingError: if options of the refinement are given, and there is none.
        """
        asked = spec.asked(self.quality, self.mode)
        if asked.mode == "turbo":
            self._refuse_refinement("turbo" if self.quality is None else f"--quality {self.quality}")
        return asked if self.resolution is None else replace(asked, sizes=(self.resolution,))

    def _refuse_refinement(self, who: str) -> None:
        if self.steps is not None or self.t_plus is not None:
            raise SettingError(
                f"--steps, --t-plus: {who} has no refinement; leave them out or use --mode full"
            )

    @property
    def call(self) -> dict[str, Any]:
        """What a call of the pipeline is told."""
        return {
            "quality": self.quality,
            "mode": self.mode,
            "ensemble": self.ensemble,
            "steps": self.steps,
            "t_plus": self.t_plus,
            "processing_resolution": self.resolution,
        }


def described(asked: Quality) -> str:
    """The stages and views of a run in words, for its page."""
    words: list[str] = [asked.mode]
    if asked.sizes:
        words.append(" and ".join("its own size" if size == 0 else f"{size} px" for size in asked.sizes))
    if asked.mirrored:
        words.append("plain and mirrored")
    return ", ".join(words)


class Estimator(NamedTuple):
    """A model as it is measured."""

    estimate: "Callable[[Tensor, int], Tensor]"
    """From an image (3, H, W) and a seed to normals (3, H, W)."""
    weight_hash: str
    asked: Quality
    """The stages and views that run."""
    same_for_every_seed: str | None
    """Why nothing is random, in one line; None where a seed counts."""


def load_estimator(settings: ModelSettings) -> Estimator:
    """A model as a function of image and seed.

    Member k of an ensemble has the seed `seed + k`.

    Raises:
        SettingError, ModelError, OfflineError: as `StableNormal.from_pretrained`.
    """
    pipeline = settings.load()
    asked = settings.asked(pipeline.spec)

    def estimate(image: "Tensor", seed: int) -> "Tensor":
        return pipeline([image], seed=seed, **settings.call).normals[0]

    start = pipeline.spec.start
    same = None
    if asked.mode == "turbo" and start != "noise":
        same = (
            f"turbo mode of this model starts from {_STARTS[start]}, which no seed changes: every seed gives "
            "the same normals; use full mode for the spread of the refinement"
        )
    return Estimator(estimate, pipeline.weight_hash, asked, same)


_STARTS = {"zeros": "zeros", "image_latent": "the image's own latent"}
