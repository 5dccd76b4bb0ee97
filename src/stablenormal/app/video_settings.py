"""What a run of `stablenormal video` computes and writes."""

from dataclasses import dataclass

from stablenormal.app.model_settings import ModelSettings
from stablenormal.app.naming import MAP_ENDINGS
from stablenormal.errors import FrameError, SettingError
from stablenormal.geometry.frames import FRAMES

PREVIEWS = ("side-by-side", "normals", "none")
CARRY = 0.85
"""As `pipelines.video.CARRY`, which imports torch; a test compares them."""


@dataclass(frozen=True)
class VideoSettings(ModelSettings):
    """The options of a run; saved in its `run.json`.

    Raises:
        SettingError, FrameError: when made with an option that does not exist or is out of range.
    """

    frame: str = "opengl"
    """Coordinate frame of the written normals."""
    format: str = "png16"
    """Kind of file of each frame's normals."""
    seed: int = 0
    """Seed of the noise, the same in every frame."""
    carry: float = CARRY
    """Share of the frame before in each frame; 0: each frame alone."""
    preview: str = "side-by-side"
    """What the preview shows: photograph and normals, normals alone, or nothing."""
    skip_existing: bool = False
    """Go on with an earlier run's frames."""

    def __post_init__(self) -> None:
        """Refuse what the run could only fail at later."""
        super().__post_init__()
        frames = [name for name, signs in FRAMES.items() if signs is not None]
        if self.frame not in frames:
            raise FrameError(f"--frame: there is no '{self.frame}'; choose from {', '.join(frames)}")
        for option, name, choices in (
            ("--format", self.format, tuple(MAP_ENDINGS)),
            ("--preview", self.preview, PREVIEWS),
        ):
            if name not in choices:
                raise SettingError(f"{option}: there is no '{name}'; choose from {', '.join(choices)}")
        if not 0 <= self.carry < 1:
            raise SettingError(f"--carry: {self.carry} is out of range; use 0 or more, and less than 1")
        if self.seed < 0:
            raise SettingError(f"--seed: {self.seed} is too small; use 0 or more")
        if self.resolution is not None and 0 < self.resolution < 64:
            raise SettingError(
                f"--resolution: {self.resolution} is too small; use 64 or more, or 0 for its own size"
            )
