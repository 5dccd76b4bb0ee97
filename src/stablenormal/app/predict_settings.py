"""What a run of `stablenormal predict` computes and writes."""

from dataclasses import dataclass
from pathlib import Path

from stablenormal.app.model_settings import ModelSettings
from stablenormal.app.naming import MAP_ENDINGS
from stablenormal.errors import FrameError, ImageReadError, SettingError
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.models.modes import SMALLEST_TILE, TILE_OVERLAPS

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
    tile: bool = False
    """See large photographs in overlapping tiles too."""
    tile_size: int | None = None
    """Pixels of a photograph along the side of a tile; None: a quarter of the longer side."""
    tile_overlap: float | None = None
    """Share of its side that a tile has in common with the next one; None: a quarter."""

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
        self._check_tiles()
        if self.resolution is not None and self.resolution != 0 and self.resolution < 64:
            raise SettingError(
                f"--resolution: {self.resolution} is too small; use 64 or more, or 0 for its own size"
            )

    def _check_tiles(self) -> None:
        given = {"--tile-size": self.tile_size, "--tile-overlap": self.tile_overlap}
        for option, value in given.items():
            if value is not None and not self.tile:
                raise SettingError(f"{option}: only with --tile; add it, or leave {option} out")
        if self.tile and self.resolution == 0:
            raise SettingError(
                "--resolution: 0 sees a photograph whole at its own size, which leaves nothing to tiles; "
                "leave it or --tile out"
            )
        if self.tile_size is not None and self.tile_size < SMALLEST_TILE:
            raise SettingError(f"--tile-size: {self.tile_size} px are too few; use {SMALLEST_TILE} or more")
        least, most = TILE_OVERLAPS
        if self.tile_overlap is not None and not least <= self.tile_overlap <= most:
            raise SettingError(
                f"--tile-overlap: expected a share from {least} to {most} of a tile's side, "
                f"got {self.tile_overlap}"
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
