"""Which photographs a command means, and the files that each result gets."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stablenormal.errors import StableNormalError
from stablenormal.io.image_files import SUFFIXES, ImageEntry, list_images
from stablenormal.io.map_formats import normal_map_files

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
    relative: Path = Path()
    """Path below the folder or glob that found it, with ending: where its mask lies in a folder of masks."""


@dataclass(frozen=True)
class Problem:
    """Something that was asked for and cannot be done."""

    source: str
    message: str


class Found(NamedTuple):
    """What the inputs of a run mean."""

    jobs: list[Job]
    """The photographs in order, each once."""
    problems: list[Problem]
    """One for each input that gave none."""


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

    def every(self) -> tuple[Path, ...]:
        """All files that are written, records beside the maps included."""
        beside = (
            file for kind, path in self.maps.items() for file in normal_map_files(path, kind) if file != path
        )
        previews = (self.photo_preview, self.normals_preview, self.uncertainty_preview)
        return (*self.wanted(), *beside, *(path for path in previews if path is not None))

    def wanted(self) -> tuple[Path, ...]:
        """What the user asked for."""
        return (*self.maps.values(), *self.uncertainty)

    def are_complete(self) -> bool:
        """Whether all are there, the page's pictures included."""
        return all(path.is_file() for path in self.every())


def find_jobs(inputs: Sequence[str], output: Path, masks: Path | None = None) -> Found:
    """Turn what the user typed into photographs with result names.

    A result keeps its place below the folder or glob that found it (see `list_images`). Where two
    photographs differ only in their ending (`photo.jpg`, `photo.png`), the ending joins the name
    (`photo_jpg`, `photo_png`).

    Args:
        inputs: files, folders (searched recursively) and glob patterns.
        output: where results go; those of an earlier run in it are not taken for photographs.
        masks: the mask, or the folder of masks; they are not taken for photographs either.
    """
    usable, problems = [], []
    for entry in inputs:
        try:
            list_images([entry])
            usable.append(entry)
        except StableNormalError as error:
            problems.append(Problem(entry, str(error)))
    named = {_absolute(Path(entry)) for entry in usable if Path(entry).is_file()}
    found = list_images(usable)
    photographs = {_absolute(image.path) for image in found}
    images = [
        image
        for image in found
        if _absolute(image.path) in named
        or not (
            _is_result(image.path.resolve(), output.resolve())
            or _is_mask(_absolute(image.path), masks, usable, photographs)
        )
    ]
    if usable and not images:
        problems += [
            Problem(entry, f"{entry}: holds only results of an earlier run; name photographs")
            for entry in usable
        ]
    jobs, clashes = name_results(images)
    return Found(jobs, problems + clashes)


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


def _is_mask(source: Path, masks: Path | None, inputs: Sequence[str], photographs: Collection[Path]) -> bool:
    """Whether a file that a search found belongs to the masks that were given beside it."""
    if masks is None:
        return False
    place = _absolute(masks)
    if place == source:
        return True
    if not source.is_relative_to(place):
        return False
    if not any(_absolute(Path(entry)).is_relative_to(place) for entry in inputs):
        return True  # the masks have a folder of their own below the photographs'
    owners = (source.with_name(source.stem), source.with_name(source.stem.removesuffix("_mask")))
    return any(owner in photographs for owner in owners) or (
        source.stem.endswith("_mask")
        and any(source.with_name(owners[1].name + ending) in photographs for ending in SUFFIXES)
    )


def _absolute(path: Path) -> Path:
    """As the user named it, links not followed."""
    return Path(os.path.abspath(path))


def name_results(images: Sequence[ImageEntry]) -> tuple[list[Job], list[Problem]]:
    """Names of the results of photographs, and the photographs that can have none of their own."""
    stems = [image.relative.with_suffix("") for image in images]
    # Lower case: not every file system tells Photo from photo.
    counts = Counter(str(stem).lower() for stem in stems)
    jobs: dict[str, Job] = {}
    clashes = []
    for image, stem in zip(images, stems, strict=True):
        if counts[str(stem).lower()] > 1:
            stem = _add(stem, "_" + image.relative.suffix[1:].lower())
        first = jobs.setdefault(str(stem).lower(), Job(image.path, stem.as_posix(), image.relative))
        if first.source != image.path:
            message = f"{image.path}: its result would overwrite that of {first.source}; rename one of them"
            clashes.append(Problem(str(image.path), message))
    return list(jobs.values()), clashes
