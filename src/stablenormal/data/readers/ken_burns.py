"""The 3D Ken Burns set (Niklaus et al., SIGGRAPH Asia 2019): rendered scenes, four views a place.

    ROOT/.../00000-bl-image.png      ROOT/.../00000-bl-depth.exr      ROOT/.../00000-bl-normal.exr
    ROOT/.../00000-meta.json         {"fltFov": degrees}

The views are `bl`, `br`, `tl` and `tr`. Colours, depth and normals come in three archives for each scene;
unpack them into one folder. The fields of view lie in `PREFIX-meta.json` (or `PREFIX.json`), for the place or
for the view.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stablenormal.data.readers.source import MeasuredSource, View, first_existing, picture, stored_vectors
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io.plain_values import parse_json
from stablenormal.io.search import files_below

_FOV_KEYS = ("fltFov", "fov", "fov_deg")


@dataclass(eq=False, kw_only=True)
class KenBurns(MeasuredSource[Path]):
    """3D Ken Burns; its root is the folder of the unpacked archives."""

    reader = "ken_burns"
    layout = "**/*-image.png"

    def find(self, root: Path) -> dict[str, Path]:
        """Every `*-image.png`, without that ending."""
        ending = "-image.png"
        stems = (path.with_name(path.name.removesuffix(ending)) for path in files_below(root, f"*{ending}"))
        return {stem.relative_to(root).as_posix(): stem for stem in stems}

    def read(self, entry: Path) -> View:
        """Picture, normals, depth and field of view."""
        image, _ = picture(Path(f"{entry}-image.png"))
        vectors = stored_vectors(Path(f"{entry}-normal.exr"), self.frame)
        return View(
            image=image,
            vectors=vectors,
            valid=np.ones(vectors.shape[:2], np.bool_),
            depth=self.depth(first_existing(Path(f"{entry}-depth.exr"))),
            intrinsics=_intrinsics(entry, image.shape[1], image.shape[0]),
            meta={"scene": entry.parent.name},
        )


def _intrinsics(entry: Path, width: int, height: int) -> Intrinsics | None:
    """From the field of view of the view or of its place; None if nothing says it."""
    place = entry.with_name(entry.name.rpartition("-")[0] or entry.name)
    path = first_existing(
        *(Path(f"{stem}{end}") for stem in (entry, place) for end in ("-meta.json", ".json"))
    )
    if path is None:
        return None
    try:
        facts = dict(parse_json(path.read_bytes()))
        fov = next((float(facts[key]) for key in _FOV_KEYS if key in facts), None)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a camera in JSON ({error}); copy the set again") from error
    if fov is None:
        raise DataError(f"{path}: has none of {', '.join(_FOV_KEYS)}; add the field of view in degrees")
    return Intrinsics.from_fov(fov, width, height)
