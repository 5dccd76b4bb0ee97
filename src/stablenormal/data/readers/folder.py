"""A plain folder of pairs, in any frame and format that `io` reads.

ROOT/.../NAME_rgb.jpg               or any other picture
ROOT/.../NAME_normal.png            or .exr, .npy (with NAME_normal.json)
ROOT/.../NAME_mask.png              optional, bright is valid
ROOT/.../NAME_depth.exr             optional, or .npy, .png with its scale; along the axis
ROOT/.../NAME_intrinsics.txt        optional, or .npy: 3 x 3, the top left pixel's centre is (0.5, 0.5)
"""

from dataclasses import dataclass
from pathlib import Path

from stablenormal.data.readers.source import (
    Entry,
    Source,
    View,
    first_existing,
    picture,
    stored_vectors,
    surface_flags,
)
from stablenormal.errors import DataError
from stablenormal.io.camera_file import read_camera_matrix
from stablenormal.io.depth_map import DEPTH_SUFFIXES, read_depth_map
from stablenormal.io.image_files import SUFFIXES
from stablenormal.io.search import files_below

NORMAL_SUFFIXES = (".png", ".exr", ".npy")
MATRIX_SUFFIXES = (".txt", ".npy")


@dataclass(frozen=True)
class Pair:
    """The files of one picture."""

    image: Path
    normals: Path
    mask: Path | None = None
    depth: Path | None = None
    intrinsics: Path | None = None


@dataclass(eq=False, kw_only=True)
class PairSource(Source[Entry]):
    """A set of pictures and normals in `io`'s own formats; `frame` is of those maps that do not say it."""

    depth_scale: float | None = None
    """Metres per unit of depth files that do not say it themselves."""

    def read_pair(self, pair: Pair) -> View:
        """Read one picture with its normals and what else there is."""
        image, opaque = picture(pair.image)
        vectors = stored_vectors(pair.normals, self.frame)
        valid = surface_flags(vectors, opaque, pair.mask)
        intrinsics = None
        if pair.intrinsics is not None:
            intrinsics = read_camera_matrix(pair.intrinsics, image.shape[1], image.shape[0])
        depth = None if pair.depth is None else read_depth_map(pair.depth, self.depth_scale)
        return View(image=image, vectors=vectors, valid=valid, depth=depth, intrinsics=intrinsics)


@dataclass(eq=False, kw_only=True)
class Folder(PairSource[Path]):
    """Pairs of a plain folder, searched with all folders below."""

    reader = "folder"
    layout = "**/NAME_rgb.jpg (or any picture) with NAME_normal.png, .exr or .npy"

    def find(self, root: Path) -> dict[str, Path]:
        """Every `NAME_rgb.*` that is a picture."""
        images = (path for path in files_below(root, "*_rgb.*") if path.suffix.lower() in SUFFIXES)
        return {path.relative_to(root).as_posix().rpartition("_rgb.")[0]: path for path in images}

    def files(self, index: int) -> list[Path]:
        """The picture and what lies beside it under its name."""
        (picture,) = super().files(index)
        name = picture.name.rpartition("_rgb.")[0]
        return sorted(path for path in picture.parent.iterdir() if path.name.startswith(f"{name}_"))

    def read(self, entry: Path) -> View:
        """The files that share the picture's name."""
        stem = f"{entry.parent}/{entry.name.rpartition('_rgb.')[0]}"

        def beside(what: str, endings: tuple[str, ...]) -> Path | None:
            return first_existing(*(Path(f"{stem}_{what}{ending}") for ending in endings))

        normals = beside("normal", NORMAL_SUFFIXES)
        if normals is None:
            raise DataError(f"{stem}_normal.png: missing (also .exr, .npy); every picture needs its normals")
        mask = beside("mask", (".png", ".jpg"))
        pair = Pair(
            entry, normals, mask, beside("depth", DEPTH_SUFFIXES), beside("intrinsics", MATRIX_SUFFIXES)
        )
        return self.read_pair(pair)
