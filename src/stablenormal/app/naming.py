"""Which photographs a command means, and the name that each result gets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from os.path import commonpath
from pathlib import Path, PurePosixPath

from stablenormal.errors import ImageReadError, StableNormalError
from stablenormal.io.image import list_images

RESULT_ENDINGS = ("_normal", "_normal_8bit", "_uncertainty")
"""What the names of our own pictures end with: such a file in the output folder is never an input."""

PREVIEW_FOLDER = "preview"
"""Sub-folder of the output with the pictures of the page."""


@dataclass(frozen=True)
class Job:
    """One photograph and the name of its result."""

    source: Path
    """The photograph, as the user named it."""
    name: str
    """Path of the result in the output folder, with forward slashes, without ending: `trip/photo`."""


@dataclass(frozen=True)
class Problem:
    """Something that was asked for and cannot be done."""

    source: str
    message: str


def find_jobs(inputs: Sequence[str], output: Path) -> tuple[list[Job], list[Problem]]:
    """Turn what the user typed into photographs with result names.

    A result keeps its place below the folder or glob that found it. Where two photographs would then share a
    name, all names are taken from the deepest folder that holds every photograph; where two still differ
    only in their ending (`photo.jpg`, `photo.png`), the ending joins the name (`photo_jpg`, `photo_png`).

    Args:
        inputs: files, folders (searched recursively) and glob patterns.
        output: where results go; pictures of an earlier run in it are not taken for photographs.

    Returns:
        The jobs in order, each photograph once, and one problem for each input that gave none.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # resolved -> (as named, root)
    problems = []
    for entry in inputs:
        try:
            for source, root in _search(entry, output):
                found.setdefault(source.resolve(), (source, root))
        except StableNormalError as error:
            problems.append(Problem(entry, str(error)))
    jobs, clashes = _name_results(list(found.values()))
    return jobs, problems + clashes


def _search(entry: str, output: Path) -> list[tuple[Path, Path]]:
    """Photographs behind one input, each with the folder its name is relative to."""
    path = Path(entry)
    if path.is_file():
        return [(path, path.parent)]
    sources = [
        image.path for image in list_images([entry]) if not _is_own_result(image.path, path, output)
    ]
    if not sources:
        raise ImageReadError(
            f"{entry}: no photograph in it besides results of an earlier run; name another folder"
        )
    root = path if path.is_dir() else _fixed_part(entry)
    return [(source, root) for source in sources]


def _fixed_part(pattern: str) -> Path:
    """The folder in front of the first wildcard of a glob pattern."""
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _is_own_result(source: Path, searched: Path, output: Path) -> bool:
    """Whether a picture found by searching was written by an earlier run into this output folder."""
    source, output = source.resolve(), output.resolve()
    if not source.is_relative_to(output):
        return False
    if searched.resolve() != output and not searched.resolve().is_relative_to(output):
        return True  # the output folder lies inside the searched one
    return source.stem.endswith(RESULT_ENDINGS) or source.is_relative_to(output / PREVIEW_FOLDER)


def _name_results(found: Sequence[tuple[Path, Path]]) -> tuple[list[Job], list[Problem]]:
    places = [_place(source, root) for source, root in found]
    if _repeated(places):
        top = Path(commonpath([source.resolve().parent for source, _ in found]))
        places = [_place(source.resolve(), top) for source, _ in found]
    stems = [place.with_suffix("") for place in places]
    shared = _repeated(stems)
    names = [
        stem.with_name(f"{stem.name}_{place.suffix[1:].lower()}") if stem in shared else stem
        for stem, place in zip(stems, places, strict=True)
    ]
    jobs: dict[str, Job] = {}
    clashes = []
    for (source, _), name in zip(found, names, strict=True):
        first = jobs.setdefault(str(name), Job(source, str(name)))
        if first.source != source:
            clashes.append(
                Problem(
                    str(source),
                    f"{source}: its result would overwrite that of {first.source}; rename one of them",
                )
            )
    return list(jobs.values()), clashes


def _place(source: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(source.relative_to(root).as_posix())


def _repeated(paths: Sequence[PurePosixPath]) -> set[PurePosixPath]:
    """Paths that occur more than once, as a file system without upper and lower case sees them."""
    counts = Counter(str(path).lower() for path in paths)
    return {path for path in paths if counts[str(path).lower()] > 1}
