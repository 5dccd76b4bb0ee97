"""InteriorVerse (Zhu et al., SIGGRAPH Asia 2022): path-traced rooms in EXR.

    ROOT/SCENE/000_im.exr       linear light          ROOT/SCENE/000_normal.exr   R, G, B = x, y, z
    ROOT/SCENE/000_depth.exr    grey                  ROOT/SCENE/000_mask.png     optional, bright is valid

Also there, and not read: `000_albedo.exr`, `000_material.exr`. The two releases differ in their field of view
(85 and 120 degrees), which the pictures' folders do not say: give `fov_deg`. Colours are exposed and coded as
`io.decode` does with every linear picture.
"""

from dataclasses import dataclass
from pathlib import Path

from stablenormal.data.readers.source import (
    MeasuredSource,
    View,
    first_existing,
    picture,
    stored_vectors,
    surface_flags,
)
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io.search import files_below


@dataclass(eq=False, kw_only=True)
class InteriorVerse(MeasuredSource[Path]):
    """InteriorVerse; its root is the folder with the scenes."""

    reader = "interiorverse"
    layout = "*/*_im.exr"

    fov_deg: float = 85.0
    """Horizontal field of view."""

    def find(self, root: Path) -> dict[str, Path]:
        """Every `*_im.exr`, without that ending."""
        ending = "_im.exr"
        stems = (path.with_name(path.name.removesuffix(ending)) for path in files_below(root, f"*{ending}"))
        return {stem.relative_to(root).as_posix(): stem for stem in stems}

    def read(self, entry: Path) -> View:
        """Photograph, normals, depth and mask of one number."""
        image, opaque = picture(Path(f"{entry}_im.exr"))
        vectors = stored_vectors(Path(f"{entry}_normal.exr"), self.frame)
        mask = first_existing(Path(f"{entry}_mask.png"), Path(f"{entry}_mask.exr"))
        return View(
            image=image,
            vectors=vectors,
            valid=surface_flags(vectors, opaque, mask),
            depth=self.depth(first_existing(Path(f"{entry}_depth.exr"))),
            intrinsics=Intrinsics.from_fov(self.fov_deg, image.shape[1], image.shape[0]),
            meta={"scene": entry.parent.name},
        )
