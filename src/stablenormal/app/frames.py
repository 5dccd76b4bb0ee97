"""The job behind `stablenormal frames`: normal maps in, the same maps in another frame or format out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from stablenormal.app.naming import UNCERTAINTY_NPY, UNCERTAINTY_PNG
from stablenormal.errors import FrameError, NormalMapError, OutputError, SettingError, StableNormalError
from stablenormal.geometry.camera import check_rotation
from stablenormal.geometry.normal_map import NormalMap
from stablenormal.io.array_file import parse_array
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.io.image_files import ImageEntry, list_images
from stablenormal.io.map_formats import MAP_FORMATS, normal_map_files
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.scene_formats import read_scene
from stablenormal.io.source import load_bytes, text_of

Rotation = npt.NDArray[np.float64]

MAP_SUFFIXES = frozenset(MAP_FORMATS.values())


@dataclass(frozen=True)
class FrameSettings:
    """What becomes of every map."""

    to: str | None = None
    """Frame of the written maps; None: each its own."""
    said: str | None = None
    """Frame of maps that do not say."""
    format: str | None = None
    """Kind of file; None: each its own."""
    scene: str | None = None
    """Posed photographs, from and to whose cameras maps of the frame `world` are turned."""
    rotation: str | None = None
    """File with one camera-to-world rotation (3, 3) of the OpenGL camera, for all maps."""
    choice: Choice = UNSAID
    """Which layer or part of EXR maps that hold several."""

    def __post_init__(self) -> None:
        if self.scene is not None and self.rotation is not None:
            raise SettingError("--scene, --rotation: both say how the camera stood; give one of them")
        if self.to is None and self.format is None:
            raise SettingError("nothing to change: give --to, a frame, or --format, or both")


@dataclass(frozen=True)
class FrameReport:
    """What a run did."""

    files: tuple[Path, ...]
    """The maps that were written."""
    problems: tuple[str, ...]
    """One line for each that was not."""


def convert_maps(
    inputs: Sequence[str],
    output: Path,
    settings: FrameSettings,
    *,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: Callable[[], None] = lambda: None,
) -> FrameReport:
    """Write every map again, below `output` at its place below the folder or glob that found it.

    A map that fails is a problem, and the rest goes on.

    Args:
        inputs: normal maps, folders of them and glob patterns; uncertainty maps in folders are left out.
        output: folder of the results.
        settings: what to change.
        on_start: is told the number of maps.
        on_result: is called after each.

    Raises:
        ImageReadError: if an input is missing, or none has a map in it.
        SceneError, FrameError: if the scene or the rotation cannot be read.
        OutputError: if nothing can be written.
    """
    maps = [entry for entry in list_maps(inputs) if not _is_left_out(entry.path, inputs, output)]
    rotation_of = _rotations(settings)
    folder = OutputFolder(output, [entry.path for entry in maps])
    folder.require_writable()
    files, problems = list[Path](), list[str]()
    taken: dict[str, Path] = {}
    on_start(len(maps))
    for entry in maps:
        try:
            read = read_normal_map(
                entry.path,
                settings.said,
                choice=settings.choice,
                camera_to_world=_as_tensor(rotation_of(entry, False)),
            )
            target = _target(folder, entry, settings.format or read.format or "png16")
            first = taken.setdefault(str(target).lower(), entry.path)
            if first != entry.path:
                raise OutputError(f"{entry.path}: its result would overwrite that of {first}; rename one")
            _write(folder, target, read, settings, rotation_of, entry)
            files.append(target)
        except StableNormalError as error:
            problems.append(str(error))
        on_result()
    return FrameReport(tuple(files), tuple(problems))


def list_maps(inputs: Sequence[str]) -> list[ImageEntry]:
    """The normal maps that inputs mean, by their endings.

    Raises:
        ImageReadError: if an input does not exist or has none in it.
    """
    return list_images(inputs, MAP_SUFFIXES, "normal map")


def _write(
    folder: OutputFolder,
    target: Path,
    read: NormalMap,
    settings: FrameSettings,
    rotation_of: "_RotationOf",
    entry: ImageEntry,
) -> None:
    frame, format = settings.to or read.stored_frame or "opengl", settings.format or read.format or "png16"
    rotation = None
    if frame == "world":
        rotation = read.camera_to_world if read.camera_to_world is not None else rotation_of(entry, True)
    with folder.writing(normal_map_files(target, format)):
        write_normal_map(target, read.normals, frame, format, rotation, read.texts)


def _target(folder: OutputFolder, entry: ImageEntry, format: str) -> Path:
    return folder.path(entry.relative.with_suffix(MAP_FORMATS[format]).as_posix())


_RotationOf = Callable[[ImageEntry, bool], Rotation | None]
"""The rotation of a map's camera; None, or an error where it is needed, if nobody knows it."""


def _rotations(settings: FrameSettings) -> _RotationOf:
    """How the cameras stood.

    Raises:
        SceneError, FrameError: if the scene or the rotation cannot be read.
    """
    if settings.rotation is not None:
        rotation = _read_rotation(Path(settings.rotation))
        return lambda entry, needed: rotation
    cameras: dict[str, Rotation] = {}
    if settings.scene is not None:
        cameras = {view.name: view.camera.rotation for view in read_scene(settings.scene).views}

    def rotation_of(entry: ImageEntry, needed: bool) -> Rotation | None:
        found = [cameras[name] for name in _names(entry) if name in cameras]
        if not found and needed:
            where = f"{settings.scene} has no photograph of its name" if cameras else "nobody says"
            raise FrameError(
                f"{entry.path}: frame world needs the rotation of the camera, and {where}; "
                "give --scene or --rotation"
            )
        return found[0] if found else None

    return rotation_of


def _names(entry: ImageEntry) -> list[str]:
    """What a scene may call the photograph of a map: `a/b_normal.png` is `a/b` or `b`."""
    stem = entry.relative.with_suffix("").as_posix()
    bare = [stem.removesuffix(ending) for ending in ("_normal_8bit", "_normal", "")]
    names = dict.fromkeys(bare)
    return [*names, *(Path(name).name for name in names)]


def _read_rotation(path: Path) -> Rotation:
    data = load_bytes(path, NormalMapError)
    try:
        if path.suffix.lower() == ".npy":
            matrix = parse_array(data).astype(np.float64)
        else:
            matrix = np.loadtxt(text_of(data).replace(",", " ").splitlines(), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise FrameError(f"{path}: not a rotation; write three rows of three numbers") from error
    if matrix.shape not in ((3, 3), (4, 4)):
        raise FrameError(f"{path}: expected a rotation (3, 3) or a pose (4, 4), got shape {matrix.shape}")
    rotation: Rotation = matrix[:3, :3]
    try:
        check_rotation(torch.from_numpy(rotation.copy()))
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error
    return rotation


def _as_tensor(rotation: Rotation | None) -> torch.Tensor | None:
    return None if rotation is None else torch.from_numpy(rotation.copy())


def _is_left_out(path: Path, inputs: Sequence[str], output: Path) -> bool:
    """Whether a map that a search found is none to convert: an uncertainty map, or a result."""
    if str(path) in inputs:
        return False
    is_result = path.resolve().is_relative_to(output.resolve())
    return is_result or path.name.endswith((UNCERTAINTY_PNG, UNCERTAINTY_NPY))
