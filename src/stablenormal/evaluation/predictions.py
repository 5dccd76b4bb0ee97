"""Normal maps that any estimator wrote, found by the names of the photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stablenormal.errors import NormalMapError, SettingError, argument
from stablenormal.evaluation.pairs import Entry
from stablenormal.geometry.layout import channels_first
from stablenormal.io import png
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.search import files_below

KINDS = {"png8": ".png", "png16": ".png", "exr": ".exr", "npy": ".npy"}

NAME_ENDINGS = ("", "_normal", "_normal_8bit")
"""What may stand between a photograph's name and the file ending of its prediction."""


@dataclass(frozen=True)
class Predictions:
    """The prediction file of each image of a set."""

    folder: Path
    kind: str
    """Of all files, a name in `KINDS`."""
    paths: dict[str, Path]
    """By name of the entry."""
    unused: int
    """Normal maps in the folder that belong to no image of the set."""


def find_predictions(folder: Path, entries: Sequence[Entry], format: str | None = None) -> Predictions:
    """Find one prediction for every image, before any is read.

    Folders count from the set's root, or from the folder that all its photographs share. The image
    `a/X_img.png` has its prediction in `FOLDER/a/X` or `FOLDER/a/X_img`, each with one of `NAME_ENDINGS`, as
    `.png`, `.exr` or `.npy`.

    Args:
        folder: where the predictions are.
        entries: the images.
        format: take files of this kind only; by default of any, if all have the same.

    Raises:
        SettingError: if there is no such kind.
        NormalMapError: if the folder or a prediction is missing, an image has several, one is of a wrong bit
            depth, or it is the ground truth itself.
    """
    if format is not None and format not in KINDS:
        raise SettingError(f"no format '{format}'; choose one of {', '.join(KINDS)}")
    if not folder.is_dir():
        raise NormalMapError(f"{folder}: no such folder; give the one that holds the predictions")
    paths = {entry.name: _find(folder, entry, format) for entry in entries}
    kinds = {path: _kind(path) for path in paths.values()}
    first = next(iter(kinds.values()))
    for path, found in kinds.items():
        if found != (format or first):
            raise NormalMapError(
                f"{path}: is {found}, {'expected' if format else 'but the predictions before it are'} "
                f"{format or first}; make all predictions of a set the same way"
            )
    there = [path for path in files_below(folder) if path.suffix.lower() == KINDS[first]]
    return Predictions(folder, first, paths, len({*there} - {*paths.values()}))


def read_prediction(path: Path, frame: str | None, size: tuple[int, int]) -> Tensor:
    """Read one prediction.

    Args:
        path: the file.
        frame: its frame; None if the file says so itself.
        size: height and width of the ground truth.

    Returns:
        Unit normals (3, H, W), OpenGL, zero where the file has none.

    Raises:
        NormalMapError: if it cannot be read, has another size, is not unit length or has no normal at all.
        FrameError: if the frame is missing or contradicts the file.
    """
    normals = read_normal_map(path, frame=frame).normals
    if normals.shape[:2] != size:
        raise NormalMapError(
            f"{path}: is {normals.shape[1]} x {normals.shape[0]} px, its ground truth {size[1]} x {size[0]} "
            "px; "
            "predictions are never resized: write them at the size of the photograph"
        )
    if not normals.any():
        raise NormalMapError(f"{path}: all normals are zero; predict this image again")
    return channels_first(normals)


def _find(folder: Path, entry: Entry, kind: str | None) -> Path:
    name = Path(entry.name)
    stems = dict.fromkeys((name.name, entry.photograph.stem))
    endings = (KINDS[kind],) if kind else dict.fromkeys(KINDS.values())
    places = [
        folder / parent / f"{stem}{extra}{ending}"
        for parent in dict.fromkeys((name.parent, entry.below_root))
        for stem in stems
        for extra in NAME_ENDINGS
        for ending in endings
    ]
    found = [path for path in places if path.is_file() and (kind is None or _kind(path) == kind)]
    if not found:
        other = [path for path in places if path.is_file()]
        if other:
            raise NormalMapError(
                f"{other[0]}: is {_kind(other[0])}, not {kind}; give the right {argument('format')}"
            )
        raise NormalMapError(
            f"{folder / name.parent / name.name}_normal{next(iter(endings))}: missing; every image of the "
            "set needs a "
            f"prediction of its name (looked for {len(places)} spellings)"
        )
    if len(found) > 1:
        raise NormalMapError(
            f"{found[1]}: a second prediction besides {found[0].name}; take one away or give "
            f"{argument('format')}"
        )
    if found[0].resolve() in (entry.truth.resolve(), entry.photograph.resolve()):
        raise NormalMapError(
            f"{found[0]}: is a file of the set itself, not a prediction; give another folder"
        )
    return found[0]


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    if ending != ".png":
        return ending.removeprefix(".")
    try:
        with path.open("rb") as file:
            bits = png.bit_depth(file.read(64))  # the header is the first 33 bytes
    except ValueError as error:
        raise NormalMapError(f"{path}: not a readable PNG ({error}); copy or make it again") from error
    if bits not in (8, 16):
        raise NormalMapError(f"{path}: has {bits} bits a channel; a normal map has 8 or 16")
    return f"png{bits}"
