"""What a run of `stablenormal predict` computes and writes."""

from dataclasses import dataclass

from stablenormal.app.naming import MAP_ENDINGS
from stablenormal.errors import FrameError, SettingError
from stablenormal.geometry.normals import FRAMES
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.models.spec import TRAIN_TIMESTEPS
from stablenormal.pipelines.stable_normal import MODES, Mode


@dataclass(frozen=True)
class PredictSettings:
    """The options of a run; saved in its `run.json`.

    Raises:
        SettingError, FrameError: when made with an option that does not exist or is out of range.
    """

    model: str = "small"
    """`small`, a model folder, or a hub id."""
    mode: Mode = "full"
    """`full`: one-step start and refinement; `turbo`: one step alone."""
    frame: str = "opengl"
    """Coordinate frame of the written normals."""
    formats: tuple[str, ...] = ("png16",)
    """Kinds of file to write, of `png16`, `png8`, `exr`, `npy`."""
    seed: int = 0
    """Seed of every random number; each photograph starts from it anew."""
    resolution: int | None = None
    """Longer side in pixels at which the network works, 0 for the photograph's own; None: the model's."""
    ensemble: int = 1
    """Predictions per photograph that are averaged."""
    uncertainty: bool = False
    """Also write the spread of the ensemble, in degrees."""
    steps: int | None = None
    """Refinement steps; None: the model's own."""
    t_plus: int | None = None
    """Time at which the refinement starts; None: the model's own."""
    device: str | None = None
    """`cpu`, `cuda`, `mps`; None: the best that is there."""
    dtype: str | None = None
    """`float32`, `bfloat16`, `float16`; None: what suits the device."""
    batch_size: int = 1
    """Photographs that go through the network together."""
    skip_existing: bool = False
    """Leave photographs alone whose results are complete."""
    offline: bool = False
    """Never use the network."""
    trust_remote_code: bool = False
    """Run Python files that came with the weights."""
    choice: Choice = UNSAID
    """Which layer, part or page of photographs that hold several."""

    def __post_init__(self) -> None:
        """Refuse what the run could only fail at later."""
        if not self.formats:
            raise SettingError(f"--format: empty; choose from {', '.join(MAP_ENDINGS)}")
        for name in self.formats:
            if name not in MAP_ENDINGS:
                raise SettingError(f"--format: there is no '{name}'; choose from {', '.join(MAP_ENDINGS)}")
        if self.mode not in MODES:
            raise SettingError(f"--mode: there is no '{self.mode}'; choose from {', '.join(MODES)}")
        _require_frame(self.frame)
        if self.uncertainty and self.ensemble < 2:
            raise SettingError("--uncertainty: one prediction has no spread; add --ensemble 2 or more")
        for option, value, least in (
            ("--ensemble", self.ensemble, 1),
            ("--batch-size", self.batch_size, 1),
            ("--t-plus", self.t_plus, 1),
            ("--steps", self.steps, 1),
            ("--seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise SettingError(f"{option}: {value} is too small; use {least} or more")
        if self.resolution is not None and self.resolution != 0 and self.resolution < 64:
            raise SettingError(
                f"--resolution: {self.resolution} is too small; use 64 or more, or 0 for its own size"
            )
        if self.t_plus is not None and self.t_plus >= TRAIN_TIMESTEPS:
            raise SettingError(f"--t-plus: {self.t_plus} is too large; use {TRAIN_TIMESTEPS - 1} or less")
        if self.mode == "turbo" and (self.steps is not None or self.t_plus is not None):
            raise SettingError("--steps, --t-plus: turbo has no refinement; leave them out or use full mode")


def _require_frame(frame: str) -> None:
    choices = [name for name in FRAMES if name != "world"]
    if frame == "world":
        raise FrameError(
            "--frame: world needs the rotation of the camera, which a photograph does not carry; "
            f"choose from {', '.join(choices)}"
        )
    if frame not in choices:
        raise FrameError(f"--frame: there is no '{frame}'; choose from {', '.join(choices)}")
