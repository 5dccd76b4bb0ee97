"""What a run of `stablenormal predict` computes and writes."""

from dataclasses import dataclass
from pathlib import Path

from stablenormal.app.model_settings import ModelSettings
from stablenormal.app.naming import MAP_ENDINGS
from stablenormal.errors import FrameError, ImageReadError, SettingError
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.choice import UNSAID, Choice

AUTO_MASK = "auto"
"""What `--mask` says for the object that stands out."""


@dataclass(frozen=True)
class PredictSettings(ModelSettings):
    """The options of a run; saved in its `run.json`.

    Raises:
        SettingError, FrameError: when made with an option that does not exist or is out of range.
    """

    frame: str = "opengl"
    """Coordinate frame of the written normals."""
    formats: tuple[str, ...] = ("png16",)
    """Kinds of file to write, of `png16`, `png8`, `exr`, `npy`."""
    seed: int = 0
    """Seed of every random number; each photograph starts from it anew."""
    uncertainty: bool = False
    """Also write the spread of the ensemble, in degrees."""
    batch_size: int = 1
    """Photographs that go through the network together."""
    skip_existing: bool = False
    """Leave photographs alone whose results are complete."""
    choice: Choice = UNSAID
    """Which layer, part or page of photographs that hold several."""
    auto_mask: bool = False
    """Only what stands out from the border of a photograph gets normals."""

    def __post_init__(self) -> None:
        """Refuse what the run could only fail at later."""
        super().__post_init__()
        if not self.formats:
            raise SettingError(f"--format: empty; choose from {', '.join(MAP_ENDINGS)}")
        for name in self.formats:
            if name not in MAP_ENDINGS:
                raise SettingError(f"--format: there is no '{name}'; choose from {', '.join(MAP_ENDINGS)}")
        _require_frame(self.frame)
        if self.uncertainty and self.ensemble < 2:
            raise SettingError("--uncertainty: one prediction has no spread; add --ensemble 2 or more")
        for option, value, least in (("--batch-size", self.batch_size, 1), ("--seed", self.seed, 0)):
            if value < least:
                raise SettingError(f"{option}: {value} is too small; use {least} or more")
        if self.resolution is not None and self.resolution != 0 and self.resolution < 64:
            raise SettingError(
                f"--resolution: {self.resolution} is too small; use 64 or more, or 0 for its own size"
            )


def require_masks(masks: Path | None) -> None:
    """Refuse masks that are not there.

    Raises:
        ImageReadError: if there is neither a picture nor a folder.
    """
    if masks is not None and not masks.exists():
        raise ImageReadError(
            f"--mask: {masks} does not exist; name a picture or a folder of pictures, or {AUTO_MASK}"
        )


def _require_frame(frame: str) -> None:
    choices = [name for name in FRAMES if name != "world"]
    if frame == "world":
        raise FrameError(
            "--frame: world needs the rotation of the camera, which a photograph does not carry; "
            f"choose from {', '.join(choices)}"
        )
    if frame not in choices:
        raise FrameError(f"--frame: there is no '{frame}'; choose from {', '.join(choices)}")
