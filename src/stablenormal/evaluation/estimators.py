"""Our own model as an estimator with a seed."""

from dataclasses import dataclass

from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.evaluation.variance import SeededEstimator
from stablenormal.pipelines.stable_normal import MODES, Mode, StableNormal


@dataclass(frozen=True)
class ModelSettings:
    """How a model is run; saved beside its scores.

    Raises:
        SettingError: when made with a mode that does not exist or numbers out of range.
    """

    model: str
    """`small`, a model folder, or a hub id."""
    mode: Mode = "full"
    """`full`: one-step start and refinement; `turbo`: one step alone."""
    ensemble: int = 1
    """Predictions per photograph that are averaged."""
    steps: int | None = None
    """Refinement steps; None: the model's own."""
    resolution: int | None = None
    """Longer side in pixels for the network, 0 for the photograph's own; None: the model's."""
    device: str | None = None
    """`cpu`, `cuda`, `mps`; None: the best that is there."""
    dtype: str | None = None
    """`float32`, `bfloat16`, `float16`; None: what suits the device."""
    offline: bool = False
    """Never use the network."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the model was loaded."""
        if self.mode not in MODES:
            raise SettingError(f"--mode: there is no '{self.mode}'; choose from {', '.join(MODES)}")
        if self.ensemble < 1:
            raise SettingError(f"--ensemble: {self.ensemble} is too small; use 1 or more")
        if self.steps is not None and (self.steps < 1 or self.mode == "turbo"):
            raise SettingError("--steps: use 1 or more, with mode full")
        if self.resolution is not None and self.resolution < 0:
            raise SettingError(f"--resolution: {self.resolution} is too small; use 0 or more")


def load_estimator(settings: ModelSettings) -> tuple[SeededEstimator, str]:
    """A model as a function of image and seed, and the hash of its weights.

    Member k of an ensemble has the seed `seed + k`.

    Raises:
        SettingError, ModelError, OfflineError: as `StableNormal.from_pretrained`.
    """
    pipeline = StableNormal.from_pretrained(
        settings.model, device=settings.device, dtype=settings.dtype, offline=settings.offline
    )

    def estimate(image: Tensor, seed: int) -> Tensor:
        output = pipeline(
            [image],
            mode=settings.mode,
            seed=seed,
            steps=settings.steps,
            ensemble=settings.ensemble,
            processing_resolution=settings.resolution,
        )
        return output.normals[0]

    return estimate, pipeline.weight_hash
