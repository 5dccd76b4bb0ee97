"""The job behind `stablenormal compare`: two folders of results in, one page with their differences out."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stablenormal.app.gallery import GalleryItem, write_gallery
from stablenormal.app.measurement import made
from stablenormal.app.naming import MAP_ENDINGS, PREVIEW_FOLDER, result_files
from stablenormal.app.previews import angle_preview, frame_legend, normals_preview, problem_of
from stablenormal.app.run_record import FileResult, earlier_results, versions
from stablenormal.errors import NormalMapError, SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normal_map import NormalMap
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import picture_size, write_image
from stablenormal.io.map_formats import MAP_FORMATS
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.plain_values import parse_json
from stablenormal.io.search import files_below

DIFFERENCE_TOP_DEG = 30.0
"""Angle that gets the brightest colour."""

LIMITS_DEG = (5.0, 11.25, 30.0)
"""Angles below which shares of the pixels are told."""

_FORMATS_BY_PRECISION = ("exr", "npy", "png16", "png8")


@dataclass(frozen=True)
class MapDifference:
    """How far two normal maps of one photograph lie apart, over the pixels that both know."""

    name: str
    mean_deg: float
    median_deg: float
    below: dict[str, float]
    """Share of the pixels below each of `LIMITS_DEG`, 0 to 1."""
    pixels: int
    only_one: int
    """Pixels that one of the two leaves out."""


@dataclass(frozen=True)
class CompareReport:
    """What was found, and where it lies."""

    differences: tuple[MapDifference, ...]
    problems: tuple[str, ...]
    """One line for each map that has no partner, or another than of the same photograph."""
    page: Path
    record: Path
    page_problem: str | None = None


@dataclass(frozen=True)
class _Side:
    """One of the two folders."""

    folder: Path
    maps: Mapping[str, Path]
    """Normal map by name, below the folder and without ending."""
    results: Mapping[str, FileResult]
    """What its record says of them, if it has one."""
    settings: Mapping[str, Any]


def compare(
    first: Path,
    second: Path,
    output: Path,
    *,
    frame: str | None = None,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: Callable[[], None] = lambda: None,
) -> CompareReport:
    """Write `index.html` and `comparison.json` of two folders of normal maps of the same photographs.

    Args:
        first: folder of results, left of the line.
        second: another one, right of it.
        output: folder of the page.
        frame: frame of maps that do not say theirs.
        on_start: is told the number of pairs.
        on_result: is called after each.

    Raises:
        SettingError: if a folder has no normal map, or the two have none in common.
        OutputError: if the page cannot be written.
    """
    started = datetime.now(UTC)
    left, right = _side(first), _side(second)
    names = [name for name in left.maps if name in right.maps]
    if not names:
        raise SettingError(
            f"{first}, {second}: have no normal map of one name; give two folders of results of the same "
            "photographs"
        )
    problems = [
        f"{side.maps[name]}: {other.folder} has no map of its name"
        for side, other in ((left, right), (right, left))
        for name in side.maps
        if name not in other.maps
    ]
    folder = OutputFolder(output, [*left.maps.values(), *right.maps.values()])
    folder.require_writable()
    page, record = output / "index.html", output / "comparison.json"
    folder.check([page, record])
    differences, items = list[MapDifference](), list[GalleryItem]()
    on_start(len(names))
    for name in names:
        try:
            difference, item = _compared(folder, name, left, right, frame)
            differences.append(difference)
            items.append(item)
        except StableNormalError as error:
            problems.append(str(error))
        on_result()
    if not differences:
        raise SettingError("; ".join(problems))
    content = {
        "started": started.isoformat(timespec="seconds"),
        "first": str(first),
        "second": str(second),
        "settings": [left.settings, right.settings],
        "versions": versions(),
        "mean_deg": _mean(differences),
        "maps": [asdict(difference) for difference in differences],
        "problems": problems,
    }
    with folder.writing([record]):
        write_bytes(record, (json.dumps(content, indent=1) + "\n").encode("utf-8"))

    def write_page() -> None:
        with folder.writing([page]):
            write_gallery(
                page,
                items,
                title="Two runs compared",
                facts={
                    "Left": _described(left),
                    "Right": _described(right),
                    "Maps": str(len(differences)),
                    "Mean angle between them": f"{_mean(differences):.2f}°",
                    "Colours of a difference": f"black 0° to cream {DIFFERENCE_TOP_DEG:.0f}° and more",
                    "Made": made(started),
                },
                legend=frame_legend("opengl"),
                problems=problems,
                sides=("Left run", "Right run"),
                files={"All numbers": "comparison.json"},
            )

    return CompareReport(
        tuple(differences), tuple(problems), page, record, problem_of(write_page, "the page")
    )


def _side(folder: Path) -> _Side:
    """The maps of a folder; of several kinds of one name the most exact.

    Raises:
        SettingError: if it has none, or its record is damaged.
    """
    maps: dict[str, tuple[int, Path]] = {}
    for path in files_below(folder):
        below = path.relative_to(folder)
        if path.suffix.lower() not in MAP_FORMATS.values() or below.parts[0] == PREVIEW_FOLDER:
            continue
        name, rank = _name_and_rank(below)
        if name is not None and (name not in maps or rank < maps[name][0]):
            maps[name] = (rank, path)
    if not maps:
        raise SettingError(f"{folder}: no normal map in it; looked for *{', *'.join(MAP_ENDINGS.values())}")
    record = folder / "run.json"
    results = earlier_results(record)  # which refuses a damaged one
    said = parse_json(record.read_text(encoding="utf-8-sig")) if record.is_file() else {}
    return _Side(folder, {name: path for name, (_, path) in maps.items()}, results, said.get("settings", {}))


def _name_and_rank(below: Path) -> tuple[str | None, int]:
    for rank, format in enumerate(_FORMATS_BY_PRECISION):
        ending = MAP_ENDINGS[format]
        if below.name.endswith(ending):
            return below.with_name(below.name.removesuffix(ending)).as_posix(), rank
    return None, 0


def _compared(
    folder: OutputFolder, name: str, left: _Side, right: _Side, frame: str | None
) -> tuple[MapDifference, GalleryItem]:
    """Numbers and pictures of two maps.

    Raises:
        NormalMapError: if they are not of the same photograph, or have no pixel in common.
    """
    _require_one_photograph(name, left, right)
    one, other = (read_normal_map(side.maps[name], frame) for side in (left, right))
    if one.normals.shape != other.normals.shape:
        raise NormalMapError(
            f"{left.maps[name]}: is {_size(one)}, {right.maps[name]} {_size(other)}; only maps of one size "
            "can be compared"
        )
    both = one.valid & other.valid
    if not both.any():
        raise NormalMapError(f"{left.maps[name]}, {right.maps[name]}: have no valid pixel in common")
    tensors = [channels_first(side.normals)[None] for side in (one, other)]
    angles = angular_error_deg(*tensors)[0].numpy()  # (H, W)
    known = angles[both]
    difference = MapDifference(
        name=name,
        mean_deg=float(known.mean()),
        median_deg=float(np.median(known)),
        below={f"{limit:g}": float((known < limit).mean()) for limit in LIMITS_DEG},
        pixels=int(both.sum()),
        only_one=int((one.valid ^ other.valid).sum()),
    )
    pictures = {
        "left": normals_preview(one.normals, "opengl"),
        "right": normals_preview(other.normals, "opengl"),
        "difference": angle_preview(angles, both, DIFFERENCE_TOP_DEG),
    }
    shown = {}
    for label, picture in pictures.items():
        file = folder.path(f"shown/{name}-{label}.jpg")
        with folder.writing([file]):
            write_image(file, picture)
        shown[label] = file.relative_to(folder.root).as_posix()
    more = {"Difference": shown["difference"]}
    photograph = _photograph(folder, name, left, right, pictures["left"].shape[:2])
    if photograph is not None:
        more["Photograph"] = photograph
    height, width = pictures["left"].shape[:2]
    note = f"mean {difference.mean_deg:.2f}° · median {difference.median_deg:.2f}° · " + " · ".join(
        f"{100 * share:.0f} % below {limit}°" for limit, share in difference.below.items()
    )
    return difference, GalleryItem(name, shown["left"], shown["right"], width, height, note, more=more)


def _require_one_photograph(name: str, left: _Side, right: _Side) -> None:
    """Refuse maps whose records say that their photographs differ."""
    prints = [
        side.results[name].made_from.get("photograph") for side in (left, right) if name in side.results
    ]
    if len(prints) == 2 and None not in prints and prints[0] != prints[1]:
        raise NormalMapError(
            f"{left.maps[name]}, {right.maps[name]}: were made from two different photographs, which cannot "
            "be compared"
        )


def _photograph(
    folder: OutputFolder, name: str, left: _Side, right: _Side, size: tuple[int, ...]
) -> str | None:
    """A copy of the preview of the photograph, beside the page, if one of the runs has a fitting one."""
    for side in (left, right):
        preview = result_files(side.folder, name, (), False).photo_preview
        try:
            if not preview.is_file() or picture_size(preview) != (size[1], size[0]):
                continue
        except StableNormalError:
            continue
        file = folder.path(f"shown/{name}-photo.jpg")
        with folder.writing([file]):
            write_bytes(file, preview.read_bytes())
        return file.relative_to(folder.root).as_posix()
    return None


def _described(side: _Side) -> str:
    """The folder, and how its run was made."""
    said = [f"{key} {side.settings[key]}" for key in ("model", "mode", "seed") if key in side.settings]
    return ", ".join([os.path.normpath(side.folder), *said])


def _size(read: NormalMap) -> str:
    return f"{read.normals.shape[1]} x {read.normals.shape[0]} px"


def _mean(differences: list[MapDifference]) -> float:
    """Over all maps, each counted once."""
    return float(np.mean([difference.mean_deg for difference in differences]))
