"""Frame, axes and units of every training set: the one place where they are declared.

`stablenormal data check` compares them with what the files hold. Where something could not be checked against
an original download it stands under `uncertain`, and the reader has an option to say otherwise.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Convention:
    """How one set stores what it knows."""

    frame: str | None
    """Frame of the stored normals, a name in `geometry.frames.FRAMES`; None: the files or an option say
    it."""
    depth: Literal["z", "distance", "none"]
    """Along the viewing axis, from the camera's centre, or not in the set."""
    depth_unit_m: float = 1.0
    """Metres per unit of the depth files."""
    pixel_centre: float = 0.5
    """Coordinate that the set's camera gives to the centre of the top left pixel."""
    derived: bool = False
    """Whether the set has no normals and they are computed from its depth."""
    uncertain: str = ""
    """What is said of the set without having seen its files, if anything."""


CONVENTIONS: dict[str, Convention] = {
    "hypersim": Convention(
        frame="opengl",
        depth="distance",
        uncertain="that normals always face the camera, and are never NaN where there is a surface",
    ),
    "interiorverse": Convention(
        frame="opengl",
        depth="z",
        uncertain="the frame, the depth's unit and whether it is z, the field of view (85 degrees is taken)",
    ),
    "vkitti": Convention(frame="opengl", depth="z", depth_unit_m=0.01, pixel_centre=0.0, derived=True),
    "sintel": Convention(frame="opengl", depth="z", pixel_centre=0.0, derived=True),
    "replica": Convention(
        frame="opencv",
        depth="z",
        depth_unit_m=1 / 512,
        uncertain="the frame, and the depth's unit outside Taskonomy",
    ),
    "ken_burns": Convention(
        frame="opengl",
        depth="z",
        uncertain="the frame, the depth's unit, and whether fltFov is the horizontal angle (the pictures are "
        "square)",
    ),
    "objaverse": Convention(
        frame="world",
        depth="z",
        uncertain="nothing is standard here: name the frame if it is the camera's, and the folder's files",
    ),
    "folder": Convention(frame=None, depth="z"),
    "shards": Convention(frame=None, depth="z"),
}
"""By reader. `derived` sets are in the OpenGL camera because the computation is."""
