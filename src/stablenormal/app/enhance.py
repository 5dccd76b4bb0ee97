"""The job behind `stablenormal enhance`: coarse normal maps and their photographs to sharper normal maps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stablenormal.app.naming import MAP_ENDINGS
from stablenormal.applications.enhancement import (
    enhance,
    front_to_view,
    right_side,
    t_plus_of_strength,
    turn,
)
from stablenormal.errors import ImageReadError, ImageShapeError, SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.image import SUFFIXES, read_image, read_mask
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.wonder3d import View, read_views, write_view
from stablenormal.pipelines import StableNormal

SYSTEMS = ("front", "self")
"""Whose frame the normals of a Wonder3D set are in: the front view's, or each view's own."""


@dataclass(frozen=True)
class EnhanceSettings:
    """How to enhance.

    Raises:
        SettingError: if both or wrong noise levels are given, or a name is unknown.
    """

    strength: float | None = None
    """0 stays near the coarse map, 1 forgets it; None with `t_plus` None: the model's own level."""
    t_plus: int | None = None
    """The noise level itself, 1 to 999."""
    steps: int | None = None
    """Refinement steps; None: the model's own."""
    seed: int = 0
    """Of the noise, which views of one size share."""
    resolution: int | None = None
    """Longer side in pixels at which the network works, 0 for the image's own; None: the model's."""
    format: str = "png16"
    """Kind of file, of `MAP_ENDINGS`; a Wonder3D set stays 8-bit PNG."""
    model: str = "small"
    """`small`, a model folder, or a hub id."""
    device: str | None = None
    """`cpu`, `cuda`, `mps`; None: the best that is there."""
    offline: bool = False
    """Never use the network."""

    def __post_init__(self) -> None:
        if self.strength is not None and self.t_plus is not None:
            raise SettingError("--strength and --t-plus say the same; give one of them")
        if self.format not in MAP_ENDINGS:
            raise SettingError(f"--format: there is no '{self.format}'; choose from {', '.join(MAP_ENDINGS)}")
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
        coarse: a normal map, or a folder of them; NAME or NAME_normal belongs to the photograph NAME.
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
    pairs, problems = _pairs(coarse, image)
    pipeline = _pipeline(settings)
    files = []
    on_start(len(pairs))
    for map_path, photo_path in pairs:
        try:
            files.append(_enhance_file(pipeline, map_path, photo_path, output, settings, frame, mask))
        except StableNormalError as error:
            text = str(error)
            named = str(map_path) in text or str(photo_path) in text
            problems.append(text if named else f"{map_path}: {text}")
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
    views = read_views(folder, frame or "opengl")
    maps = {name: channels_first(view.normals) for name, view in views.items()}
    side = right_side(maps) if system == "front" else 1
    turns = {name: front_to_view(name, side) if system == "front" else torch.eye(3).double() for name in maps}
    result = enhance(
        _pipeline(settings),
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
        files += write_view(output, name, View(view.rgb, back), frame or "opengl")
    return EnhanceReport(tuple(files), ())


def _enhance_file(
    pipeline: StableNormal,
    map_path: Path,
    photo_path: Path,
    output: Path,
    settings: EnhanceSettings,
    frame: str | None,
    mask: Path | None,
) -> Path:
    photograph = read_image(photo_path, mask)
    coarse = read_normal_map(map_path, frame, None if mask is None else read_mask(mask), any_length=True)
    if photograph.valid.shape != coarse.valid.shape:
        height, width = coarse.valid.shape
        shown = photograph.valid.shape
        raise ImageShapeError(
            f"{photo_path}: is {shown[1]} x {shown[0]} px, {map_path} {width} x {height} px; "
            "resize one to the other first"
        )
    if coarse.frame == "world":
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
    path = output / (map_path.stem.removesuffix("_normal") + MAP_ENDINGS[settings.format])
    if path.resolve() == map_path.resolve():
        raise SettingError(f"{path}: would overwrite the coarse map; choose another output folder")
    refined = channels_last(result.normals[0])  # (H, W, 3)
    write_normal_map(path, refined, coarse.frame, settings.format)
    return path


def _pairs(coarse: Path, image: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Maps with their photographs, and a line for each map that has none."""
    for path in (coarse, image):
        if not path.exists():
            raise ImageReadError(f"{path}: no such file or folder; check the path")
    if coarse.is_dir() != image.is_dir():
        raise SettingError(f"{coarse}, {image}: give two files or two folders")
    if not coarse.is_dir():
        return [(coarse, image)], []
    photos = {path.stem: path for path in sorted(image.iterdir()) if path.suffix.lower() in SUFFIXES}
    maps = [path for path in sorted(coarse.iterdir()) if path.suffix.lower() in (".png", ".exr", ".npy")]
    if not maps:
        raise ImageReadError(f"{coarse}: no normal map (.png, .exr, .npy) in it; name another folder")
    pairs, problems = [], []
    for path in maps:
        photo = photos.get(path.stem.removesuffix("_normal")) or photos.get(path.stem)
        if photo is None:
            problems.append(f"{path}: no photograph of its name in {image}; add one")
        else:
            pairs.append((path, photo))
    return pairs, problems


def _pipeline(settings: EnhanceSettings) -> StableNormal:
    return StableNormal.from_pretrained(settings.model, device=settings.device, offline=settings.offline)
