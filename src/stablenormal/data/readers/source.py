"""What every reader has in common: a list of views by key, and how a view becomes a sample."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stablenormal.data.keep_list import read_keep_list
from stablenormal.data.readers.conventions import CONVENTIONS, Convention
from stablenormal.data.sample import UNLABELLED, Sample
from stablenormal.errors import DataError, FrameError, SettingError, StableNormalError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.depth import depth_from_distance, normals_from_depth
from stablenormal.geometry.frames import FRAMES, check_frame
from stablenormal.geometry.layout import channels_last
from stablenormal.geometry.normals import convert_frame
from stablenormal.io.depth_map import read_depth_map
from stablenormal.io.image import read_image, read_mask
from stablenormal.io.normal_map import NO_DIRECTION, read_stored_normals

Image = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Depth = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

ASSUMED_FOV_DEG = 60.0
"""Of pictures whose camera nobody knows; `meta["intrinsics"]` then says "assumed"."""

Entry = TypeVar("Entry")


@dataclass(frozen=True, eq=False)
class View:
    """What the files of one view hold, in our axes and units but otherwise as stored: nothing is mended."""

    image: Image
    """(H, W, 3) display-coded RGB."""
    vectors: Vectors
    """(H', W', 3) normals in the OpenGL camera frame, of any length, NaN and all."""
    valid: Flags
    """(H', W') where the set says that there is a surface."""
    depth: Depth | None = None
    """(H, W) metres along the viewing axis, zero where unknown."""
    labels: npt.NDArray[np.uint8] | None = None
    """(H, W) indices into `CLASSES`, or `UNLABELLED`."""
    instances: npt.NDArray[np.uint16] | None = None
    """(H, W) object numbers."""
    intrinsics: Intrinsics | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    """For `Sample.meta`; `tilt_deg` and `skew` say how far the camera is from a pinhole one."""


@dataclass(eq=False)
class Source(ABC, Generic[Entry]):
    """A set on disk, read one view at a time; made by listing files, without reading them.

    A reader's options are the fields that its class adds, by keyword; it needs no constructor of its own.

    Raises:
        DataError: if nothing of the set's layout is below `root`, or the keep-list does not fit it.
        FrameError: if the frame does not exist.
        SettingError: if an option is out of range.
    """

    reader: ClassVar[str]
    """Name in `CONVENTIONS` and in the catalogue."""
    layout: ClassVar[str]
    """Files that are looked for, for messages."""

    root: Path
    """Folder of the set."""
    keep: Path | None = None
    """File of `keep_list`; views that it does not name are left out."""
    frame: str | None = None
    """Frame of the stored normals, if it is not the set's declared one."""

    def __post_init__(self) -> None:
        if self.frame is not None:
            if self.convention.derived:
                raise SettingError(
                    f"{self.reader}: its normals come from depth, there is no frame; leave it out"
                )
            check_frame(self.frame)
        self.frame = self.frame or self.convention.frame
        self.prepare()
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; give the folder of the set")
        entries = self.find(self.root)
        if not entries:
            raise DataError(f"{self.root}: holds nothing of {self.reader}; looked for {self.layout}")
        if self.keep is not None:
            entries = {key: entries[key] for key in read_keep_list(self.keep, self.reader, entries)}
        self._entries = entries
        self.keys = tuple(entries)
        """Name of every view, stable between runs."""

    def prepare(self) -> None:  # noqa: B027 (most readers have nothing to do here)
        """Check the options and read the set's tables, before its files are listed.

        Raises:
            SettingError: naming an option and what it may be.
            DataError: if a table is damaged.
        """

    @property
    def convention(self) -> Convention:
        """Frame, axes and units of the set."""
        return CONVENTIONS[self.reader]

    @abstractmethod
    def find(self, root: Path) -> dict[str, Entry]:
        """Every view's files by key, in a stable order, without reading pixels."""

    @abstractmethod
    def read(self, entry: Entry) -> View:
        """Read the files of one view."""

    def __len__(self) -> int:
        return len(self.keys)

    def files(self, index: int) -> list[Path]:
        """The files of a view that its entry names, to tell when one changed."""
        return _paths_in(self._entries[self.keys[index]])

    def view(self, index: int) -> View:
        """One view as it is stored.

        Raises:
            StableNormalError: if a file is missing or damaged; the message names it.
        """
        key = self.keys[index]
        try:
            return self.read(self._entries[key])
        except StableNormalError:
            raise
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"{self.root}, {key}: damaged ({type(error).__name__}: {error}); copy it again"
            ) from error

    def __getitem__(self, index: int) -> Sample:
        """One view as a training sample.

        Raises:
            IndexError: if there are not so many.
            StableNormalError: if it cannot be used; the message names the files.
        """
        key = self.keys[index]
        return to_sample(self.view(index), self.reader, key, f"{self.root}, {key}")


@dataclass(eq=False, kw_only=True)
class MeasuredSource(Source[Entry]):
    """A set that stores depth along the axis, in a unit that the set declares or the user knows better."""

    depth_unit_m: float | None = None
    """Metres per unit of the depth files, if it is not the set's declared one."""

    def unit_m(self) -> float:
        """Metres per unit of the depth files."""
        return self.depth_unit_m or self.convention.depth_unit_m

    def depth(self, file: Path | None) -> Depth | None:
        """Depth (H, W) of a file in metres; of none, none."""
        return None if file is None else read_depth_map(file, self.unit_m())


def surface_flags(vectors: Vectors, opaque: Flags, mask: Path | None) -> Flags:
    """Where a picture's transparency and its mask file say that there is a surface, (H, W) of the normals.

    Args:
        vectors: normals (H, W, 3).
        opaque: of the picture; does not count where it has another size, which `to_sample` refuses.
        mask: a picture, bright is valid.

    Raises:
        DataError: if the mask has another size than the normals.
    """
    shape = vectors.shape[:2]
    valid = opaque if opaque.shape == shape else np.ones(shape, np.bool_)
    if mask is None:
        return valid
    kept = read_mask(mask)
    if kept.shape != shape:
        raise DataError(
            f"{mask}: is {kept.shape[1]} x {kept.shape[0]} px, the normals {shape[1]} x {shape[0]} px; "
            "make them the same size"
        )
    return valid & kept


def to_sample(view: View, reader: str, key: str, where: str) -> Sample:
    """A training sample from what is stored, or the reason why there is none.

    Args:
        view: as a reader gives it.
        reader: its name.
        key: of the view.
        where: names it in messages.

    Raises:
        DataError: if sizes differ, a valid normal is NaN or infinite, or no pixel is valid.
    """
    shape = view.image.shape[:2]
    for name, values in (
        ("normal map", view.vectors),
        ("mask", view.valid),
        ("depth", view.depth),
        ("map of labels", view.labels),
        ("map of objects", view.instances),
    ):
        if values is not None and values.shape[:2] != shape:
            raise DataError(
                f"{where}: its {name} has {values.shape[1]} x {values.shape[0]} px, its image "
                f"{shape[1]} x {shape[0]} px; leave it out (`stablenormal data check` writes a keep-list)"
            )
    broken = int((view.valid & ~np.isfinite(view.vectors).all(-1)).sum())
    if broken:
        raise DataError(f"{where}: {broken} normals are NaN or infinite; leave it out of the keep-list")
    length = np.linalg.norm(view.vectors, axis=-1)
    surface = view.valid & (length >= NO_DIRECTION)
    if not surface.any():
        raise DataError(f"{where}: has no valid normal; leave it out of the keep-list")
    scale = np.where(surface, length, 1)[..., None]
    normals = np.where(surface[..., None], view.vectors / scale, 0).astype(np.float32)
    intrinsics, meta = view.intrinsics, dict(view.meta)
    if intrinsics is None:
        intrinsics = Intrinsics.from_fov(ASSUMED_FOV_DEG, shape[1], shape[0])
        meta["intrinsics"] = "assumed"
    labels = np.full(shape, UNLABELLED, np.uint8) if view.labels is None else view.labels
    instances = np.zeros(shape, np.uint16) if view.instances is None else view.instances
    depth = np.zeros(shape, np.float32) if view.depth is None else view.depth
    return Sample(
        image=view.image,
        normals=normals,
        depth=np.where(surface, depth, 0).astype(np.float32),
        labels=np.where(surface, np.where(labels == 0, UNLABELLED, labels), 0).astype(np.uint8),
        instances=np.where(surface, instances, 0).astype(np.uint16),
        intrinsics=intrinsics,
        meta={"kind": reader} | meta | {"key": key, "source": reader},
    )


def picture(path: Path) -> tuple[Image, Flags]:
    """A photograph or rendering as 8-bit RGB over white (H, W, 3), and where it is opaque (H, W)."""
    photograph = read_image(path)
    return np.rint(photograph.rgb * 255).astype(np.uint8), photograph.valid


def stored_vectors(path: Path, frame: str | None, camera_to_world: Tensor | None = None) -> Vectors:
    """Normals (H, W, 3) of a PNG, EXR or NPY file in the OpenGL camera frame, otherwise as stored."""
    stored = read_stored_normals(path, frame, camera_to_world)
    converted = convert_frame(
        stored.vectors, stored.frame, "opengl", None if stored.frame != "world" else stored.camera_to_world
    )
    return _channels_last(converted)


def to_opengl(vectors: Vectors, frame: str | None) -> Vectors:
    """Normals (H, W, 3) of a camera frame in the OpenGL one, by the signs of `FRAMES`."""
    signs = FRAMES[frame or "opengl"]
    if signs is None:
        raise FrameError(f"frame '{frame}' needs a camera-to-world rotation, which this set does not have")
    return vectors * np.array(signs, np.float32)


def distance_to_depth(distance: Depth, intrinsics: Intrinsics) -> Depth:
    """Depth along the axis (H, W) from the distance to the camera's centre."""
    return depth_from_distance(torch.from_numpy(distance)[None, None], intrinsics)[0, 0].numpy()


def derived_vectors(depth: Depth, intrinsics: Intrinsics, window: int) -> Vectors:
    """Normals (H, W, 3) computed from depth (H, W), zero where there are none."""
    return _channels_last(normals_from_depth(torch.from_numpy(depth)[None, None], intrinsics, window))


def first_existing(*candidates: Path) -> Path | None:
    """The first file that is there."""
    return next((path for path in candidates if path.is_file()), None)


def _channels_last(planes: Tensor) -> Vectors:
    """(1, 3, H, W) as (H, W, 3)."""
    return channels_last(planes[0])


def _paths_in(entry: Any) -> list[Path]:
    """Every path that an entry holds, however its reader lays it out."""
    if isinstance(entry, Path):
        return [entry]
    if is_dataclass(entry) and not isinstance(entry, type):
        entry = [getattr(entry, one.name) for one in fields(entry)]
    if isinstance(entry, Mapping):
        entry = list(entry.values())
    if isinstance(entry, list | tuple):
        return [path for part in entry for path in _paths_in(part)]
    return []
