"""The job behind `stablenormal enhance`: coarse normal maps and their photographs to sharper normal maps."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from stablenormal.app.model_settings import LoadSettings
from stablenormal.app.naming import MAP_ENDINGS, PREVIEW_FOLDER, UNCERTAINTY_NPY, UNCERTAINTY_PNG
from stablenormal.applications.enhancement import (
    enhance,
    front_to_view,
    right_side,
    t_plus_of_strength,
    turn,
)
from stablenormal.errors import ImageReadError, OutputError, SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.io.image import read_image, read_mask, require_pixels, require_size
from stablenormal.io.image_files import SUFFIXES
from stablenormal.io.map_formats import normal_map_files
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.search import files_below
from stablenormal.io.wonder3d import VIEWS, View, read_views, view_files, write_view
from stablenormal.pipelines import StableNormal

SYSTEMS = ("front", "self")
"""Whose frame the normals of a Wonder3D set are in: the front view's, or each view's own."""


@dataclass(frozen=True)
class EnhanceSettings(LoadSettings):
    """The settings of an enhancement.

    Raises:
        SettingError: if both or wrong noise levels are given, or a name is unknown.
    """

    strength: float | None = None
    """0 stays near the coarse map, 1 forgets it; None with `t_plus` None: the model's own level."""
    t_plus: int | None = None
    """The noise level itself, 1 to 999."""
    steps: int | Literal["auto"] | None = None
    """Refinement steps; `auto`: until the prediction has settled; None: the model's own."""
    seed: int = 0
    """Of the noise, which views of one size share."""
    resolution: int | None = None
    """Longer side in pixels at which the network works, 0 for the image's own; None: the model's."""
    format: str = "png16"
    """Kind of file, of `MAP_ENDINGS`; a Wonder3D set stays 8-bit PNG."""
    kind: str | None = None
    """Of several maps of one photograph, which: a name in `MAP_ENDINGS`."""
    choice: Choice = UNSAID
    """Which layer or part of EXR maps that hold several."""

    def __post_init__(self) -> None:
        if self.strength is not None and self.t_plus is not None:
            raise SettingError("--strength and --t-plus say the same; give one of them")
        for option, name in (("--format", self.format), ("--kind", self.kind)):
            if name is not None and name not in MAP_ENDINGS:
                raise SettingError(f"{option}: there is no '{name}'; choose from {', '.join(MAP_ENDINGS)}")
        _ = self.level

    @property
    def level(self) -> int | None:
        """The noise level asked for; None is the model's own."""
        return self.t_plus if self.strength is None else t_plus_of_strength(self.strength)


@dataclass(frozen=True)
class EnhanceReport:
    """What a run did."""

    files: tuple[Path, ...]
    problems: tuple[str, ...]
    """One line for each map that could not be enhanced."""


def enhance_files(
    coarse: Path,
    image: Path,
    output: Path,
    settings: EnhanceSettings,
    *,
    frame: str | None = None,
    mask: Path | None = None,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: Callable[[], None] = lambda: None,
) -> EnhanceReport:
    """Enhance one map with its photograph, or a folder of maps with a folder of photographs.

    Results keep the size and frame of their map; pixels without a normal stay so. A pair that fails is
    reported and the rest goes on.

    Args:
        coarse: a normal map, or a folder of them, searched through; NAME, NAME_normal or NAME_normal_8bit
            belongs to the photograph NAME in the same sub-folder.
        image: the photograph, or the folder of them.
        output: folder of the results.
        settings: how.
        frame: of maps that do not say theirs.
        mask: a picture of the same size for a single map; dark pixels are left out.
        on_start: is told the number of maps.
        on_result: is called after each.

    Raises:
        StableNormalError: if nothing can work.
    """
    folder = OutputFolder(output)
    pairs, problems = _pairs(coarse, image, output, settings.kind)
    folder.reads([mask, *(file for pair in pairs for file in (pair.map, pair.photograph))])
    pairs, refused = _with_results_of_their_own(pairs, folder, settings.format)
    problems += refused
    if not pairs and not coarse.is_dir():
        raise SettingError(problems[0])
    pipeline = settings.load() if pairs else None
    files = []
    on_start(len(pairs))
    for pair in pairs:
        assert pipeline is not None, "there are pairs"
        try:
            files.append(_enhance_file(pipeline, pair, folder, settings, frame, mask))
        except StableNormalError as error:
            text = str(error)
            named = str(pair.map) in text or str(pair.photograph) in text
            problems.append(text if named else f"{pair.map}: {text}")
        on_result()
    return EnhanceReport(tuple(files), tuple(problems))


def enhance_wonder3d(
    folder: Path, output: Path, settings: EnhanceSettings, *, system: str = "front", frame: str | None = None
) -> EnhanceReport:
    """Enhance a set of views as Wonder3D writes it, into the same layout, system and frame.

    Args:
        folder: `rgb_000_<view>.png` and `normals_000_<view>.png`.
        output: another folder.
        settings: how; the views share their noise.
        system: "front" or "self".
        frame: of the axes; None is OpenGL.

    Raises:
        StableNormalError: if anything does not fit; nothing is written then.
    """
    if system not in SYSTEMS:
        raise SettingError(f"--wonder3d: there is no system '{system}'; choose from {', '.join(SYSTEMS)}")
    if output.resolve() == folder.resolve():
        raise SettingError(f"{output}: would overwrite the coarse views; choose another folder")
    written = OutputFolder(output, (file for name in VIEWS for file in view_files(folder, name)))
    written.check(file for name in VIEWS for file in view_files(output, name))
    views = read_views(folder, frame or "opengl")
    maps = {name: channels_first(view.normals) for name, view in views.items()}
    side = right_side(maps) if system == "front" else 1
    turns = {name: front_to_view(name, side) if system == "front" else torch.eye(3).double() for name in maps}
    result = enhance(
        settings.load(),
        [channels_first(view.rgb) for view in views.values()],
        [turn(normals, turns[name]) for name, normals in maps.items()],
        t_plus=settings.level,
        steps=settings.steps,
        seed=settings.seed,
        processing_resolution=settings.resolution,
    )
    files: list[Path] = []
    for (name, view), normals in zip(views.items(), result.normals, strict=True):
        back = channels_last(turn(normals, turns[name].T))  # (H, W, 3)
        with written.writing(view_files(output, name)):
            files += write_view(output, name, View(view.rgb, back), frame or "opengl")
    return EnhanceReport(tuple(files), ())


@dataclass(frozen=True)
class _Pair:
    """A coarse map, its photograph, and the name of the result."""

    map: Path
    photograph: Path
    name: str
    """Path in the output folder, without ending."""

    def result(self, folder: OutputFolder, format: str) -> Path:
        """The refined map."""
        return folder.path(self.name + MAP_ENDINGS[format])


def _enhance_file(
    pipeline: StableNormal,
    pair: _Pair,
    folder: OutputFolder,
    settings: EnhanceSettings,
    frame: str | None,
    mask: Path | None,
) -> Path:
    map_path, photo_path = pair.map, pair.photograph
    photograph = read_image(photo_path, mask)
    require_pixels(photograph.valid, photo_path)
    inside = None if mask is None else read_mask(mask)
    coarse = read_normal_map(map_path, frame, inside, any_length=True, choice=settings.choice)
    require_size(
        photo_path, photograph.valid.shape, map_path, coarse.valid.shape, "resize one to the other first"
    )
    if coarse.stored_frame == "world":
        raise SettingError(f"{map_path}: is in world space; turn it into its camera's frame first")
    normals = np.where(photograph.valid[..., None], coarse.normals, 0)
    result = enhance(
        pipeline,
        [channels_first(photograph.rgb)],
        [channels_first(normals)],
        t_plus=settings.level,
        steps=settings.steps,
        seed=settings.seed,
        processing_resolution=settings.resolution,
    )
    path = pair.result(folder, settings.format)
    refined = channels_last(result.normals[0])  # (H, W, 3)
    with folder.writing(normal_map_files(path, settings.format)):
        write_normal_map(path, refined, coarse.stored_frame or "opengl", settings.format)
    return path


def _pairs(coarse: Path, image: Path, output: Path, kind: str | None) -> tuple[list[_Pair], list[str]]:
    """Maps with their photographs, and a line for each map that has none."""
    for path in (coarse, image):
        if not path.exists():
            raise ImageReadError(f"{path}: no such file or folder; check the path")
    if coarse.is_dir() != image.is_dir():
        raise SettingError(f"{coarse}, {image}: give two files or two folders")
    if not coarse.is_dir():
        return [_Pair(coarse, image, _photograph_name(coarse.stem))], []
    maps = [path for path in _below(coarse, (".png", ".exr", ".npy"), output) if _is_kind(path, kind)]
    if not maps:
        wanted = "(.png, .exr, .npy)" if kind is None else f"NAME{MAP_ENDINGS[kind]}"
        raise ImageReadError(f"{coarse}: no normal map {wanted} in it; name another folder")
    photographs: dict[Path, list[Path]] = {}
    for path in _below(image, SUFFIXES, output):
        photographs.setdefault(path.relative_to(image).with_suffix(""), []).append(path)
    pairs, problems = [], []
    for path in maps:
        place = path.relative_to(coarse).with_suffix("")
        stem = place.with_name(_photograph_name(place.name))
        found = [one for one in photographs.get(stem) or photographs.get(place) or [] if one != path]
        if not found:
            problems.append(f"{path}: no photograph of its name in {image}; add one")
        elif len(found) > 1:
            problems.append(f"{path}: {found[0]} and {found[1]} both have its name; take one away")
        else:
            pairs.append(_Pair(path, found[0], stem.as_posix()))
    return pairs, problems


def _below(folder: Path, endings: Collection[str], output: Path) -> list[Path]:
    """Files of these kinds below a folder, without results of an earlier run and pictures of a page."""
    beyond = [place for place in (output, folder / PREVIEW_FOLDER) if place.resolve() != folder.resolve()]
    skipped = tuple(place.resolve() for place in beyond)
    return [
        path
        for path in files_below(folder)
        if path.suffix.lower() in endings
        and not any(path.resolve().is_relative_to(place) for place in skipped)
        and not path.name.endswith((UNCERTAINTY_PNG, UNCERTAINTY_NPY))
    ]


def _is_kind(path: Path, kind: str | None) -> bool:
    if kind is None:
        return True
    others = [ending for name, ending in MAP_ENDINGS.items() if name != kind]
    return path.suffix == Path(MAP_ENDINGS[kind]).suffix and not path.name.endswith(tuple(others))


def _photograph_name(stem: str) -> str:
    """The photograph's name from that of a map."""
    endings = (ending.partition(".")[0] for ending in MAP_ENDINGS.values())
    for ending in sorted(endings, key=len, reverse=True):
        if stem.endswith(ending) and stem != ending:
            return stem.removesuffix(ending)
    return stem


def _with_results_of_their_own(
    pairs: Sequence[_Pair], folder: OutputFolder, format: str
) -> tuple[list[_Pair], list[str]]:
    """Pairs whose result is theirs alone and may be written, and a line for each of the others."""
    sharing: dict[str, list[_Pair]] = {}
    for pair in pairs:  # lower case: not every file system tells Photo from photo
        sharing.setdefault(pair.name.lower(), []).append(pair)
    kept, problems = [], []
    for several in sharing.values():
        path = several[0].result(folder, format)
        if len(several) > 1:
            maps = ", ".join(str(pair.map) for pair in several)
            problems.append(f"{maps}: all would become {path}; choose one with --kind, or take others away")
            continue
        try:
            folder.check(normal_map_files(path, format))
            kept.append(several[0])
        except OutputError as error:
            problems.append(str(error))
    return kept, problems
