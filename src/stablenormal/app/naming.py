"""Which photographs a command means, and the files that each result gets."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from stablenormal.errors import StableNormalError
from stablenormal.io.image import ImageEntry, list_images

MAP_ENDINGS = {
    "png16": "_normal.png",
    "png8": "_normal_8bit.png",
    "exr": "_normal.exr",
    "npy": "_normal.npy",
}
"""What each format of a normal map adds to the name of a photograph."""

UNCERTAINTY_PNG, UNCERTAINTY_NPY = "_uncertainty.png", "_uncertainty.npy"

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


@dataclass(frozen=True)
class ResultFiles:
    """Every file of one photograph's result."""

    maps: dict[str, Path]
    """Normal map by format."""
    uncertainty: tuple[Path, ...]
    """Uncertainty maps; none where it was not asked for."""
    photo_preview: Path
    normals_preview: Path
    uncertainty_preview: Path | None

    def wanted(self) -> tuple[Path, ...]:
        """What the user asked for."""
        return (*self.maps.values(), *self.uncertainty)

    def are_complete(self) -> bool:
        """Whether all are there, the page's pictures included."""
        previews = (self.photo_preview, self.normals_preview, self.uncertainty_preview)
        return all(path.is_file() for path in (*self.wanted(), *previews) if path is not None)


def find_jobs(inputs: Sequence[str], output: Path) -> tuple[list[Job], list[Problem]]:
    """Turn what the user typed into photographs with result names.

    A result keeps its place below the folder or glob that found it (see `list_images`). Where two
    photographs differ only in their ending (`photo.jpg`, `photo.png`), the ending joins the name
    (`photo_jpg`, `photo_png`).

    Args:
        inputs: files, folders (searched recursively) and glob patterns.
        output: where results go; those of an earlier run in it are not taken for photographs.

    Returns:
        The jobs in order, each photograph once, and one problem for each input that gave none.
    """
    usable, problems = [], []
    for entry in inputs:
        try:
            list_images([entry])
            usable.append(entry)
        except StableNormalError as error:
            problems.append(Problem(entry, str(error)))
    named = {Path(entry).resolve() for entry in usable if Path(entry).is_file()}
    images = [
        image
        for image in list_images(usable)
        if image.path.resolve() in named or not _is_result(image.path.resolve(), output.resolve())
    ]
    if usable and not images:
        problems += [
            Problem(entry, f"{entry}: holds only results of an earlier run; name photographs")
            for entry in usable
        ]
    jobs, clashes = _name_results(images)
    return jobs, problems + clashes


def result_files(output: Path, name: str, formats: Collection[str], uncertainty: bool) -> ResultFiles:
    """The files of a result.

    Args:
        output: folder of all results.
        name: of this result, `Job.name`.
        formats: keys of `MAP_ENDINGS`.
        uncertainty: whether there are uncertainty maps: a PNG, and with format `npy` an NPY.
    """
    stem, preview = output / name, output / PREVIEW_FOLDER / name
    endings = [UNCERTAINTY_PNG] + ([UNCERTAINTY_NPY] if "npy" in formats else [])
    return ResultFiles(
        maps={format_: _add(stem, MAP_ENDINGS[format_]) for format_ in formats},
        uncertainty=tuple(_add(stem, ending) for ending in endings) if uncertainty else (),
        photo_preview=_add(preview, "_photo.jpg"),
        normals_preview=_add(preview, "_normal.jpg"),
        uncertainty_preview=_add(preview, "_uncertainty.jpg") if uncertainty else None,
    )


def _add(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _is_result(source: Path, output: Path) -> bool:
    """Whether a file looks like one that an earlier run wrote into this output folder."""
    if not source.is_relative_to(output):
        return False
    endings = (*MAP_ENDINGS.values(), UNCERTAINTY_PNG)
    return source.name.endswith(endings) or source.is_relative_to(output / PREVIEW_FOLDER)


def _name_results(images: Sequence[ImageEntry]) -> tuple[list[Job], list[Problem]]:
    stems = [image.relative.with_suffix("") for image in images]
    # Lower case: not every file system tells Photo from photo.
    counts = Counter(str(stem).lower() for stem in stems)
    jobs: dict[str, Job] = {}
    clashes = []
    for image, stem in zip(images, stems, strict=True):
        if counts[str(stem).lower()] > 1:
            stem = _add(stem, "_" + image.relative.suffix[1:].lower())
        first = jobs.setdefault(str(stem).lower(), Job(image.path, stem.as_posix()))
        if first.source != image.path:
            message = f"{image.path}: its result would overwrite that of {first.source}; rename one of them"
            clashes.append(Problem(str(image.path), message))
    return list(jobs.values()), clashes
