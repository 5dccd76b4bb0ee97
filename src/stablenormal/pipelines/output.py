"""What a pipeline returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.geometry.layout import channels_last
from stablenormal.geometry.normals import convert_frame, encode_8bit
from stablenormal.io.normal_map import write_normal_map

FORMATS = {".png": "png16", ".exr": "exr", ".npy": "npy"}
"""What `save` writes, by the ending of the path."""


@dataclass(frozen=True)
class NormalsOutput:
    """Normal maps of a call, in the order of its images.

    `numpy`, `to_pil` and `save` take one of them: the only one, or that of an index.
    """

    normals: list[Tensor]
    """Unit normals (3, H, W) float32 on the CPU, OpenGL camera; invalid pixels are the zero vector."""
    uncertainty_deg: list[Tensor] | None
    """Mean angle (H, W) in degrees between the ensemble's members and their mean; None if not asked for."""
    seed: int
    """The seed of the call; member k of an ensemble used seed + k."""
    mode: str
    """`full` or `turbo`."""
    steps: int
    """Network calls of the refinement, 0 in turbo mode; the most that any image took."""
    t_plus: int
    """The noise level at which the refinement started, or the timestep of the turbo call."""
    processing_resolution: int
    """Pixels of the longer side at which the networks saw the images; 0 for their own size. Of several views
    the largest."""
    ensemble: int
    """Members averaged."""
    sizes: tuple[int, ...] = ()
    """Sizes of all views."""
    mirrored: bool = False
    """Whether each view was seen mirrored too."""
    steps_of_each: tuple[int, ...] = ()
    """Network calls of each image's refinement."""
    tiles: tuple[int, ...] = ()
    """Into how many tiles each image was cut, 1 for one that was seen whole; empty if tiles were not asked
    for."""

    def numpy(self, index: int | None = None, frame: str = "opengl") -> NDArray[np.float32]:
        """One map as an array (H, W, 3), unit vectors or zero.

        Args:
            index: which image of the call; may be left out where there is one.
            frame: `opengl`, `opencv`, `directx` or `dsine`.

        Raises:
            SettingError: if there are several and no index, or none of that number.
            FrameError: if the frame does not exist, or needs a camera.
        """
        vectors: NDArray[np.float32] = channels_last(
            convert_frame(self._one(index)[None], "opengl", frame)[0]
        )
        return vectors

    def to_pil(self, index: int | None = None, frame: str = "opengl") -> Image.Image:
        """One map as a picture: eight bits a channel, (n + 1) / 2; black where invalid.

        Raises:
            SettingError: as `numpy`.
            FrameError: as `numpy`.
        """
        vectors = convert_frame(self._one(index)[None], "opengl", frame)
        return Image.fromarray(channels_last(encode_8bit(vectors)[0]))

    def save(self, path: str | Path, index: int | None = None, frame: str = "opengl", **options: Any) -> Path:
        """Write one map; the ending of the path says how: `.png` (16 bits), `.exr` or `.npy`.

        Args:
            path: the file.
            index: as `numpy`.
            frame: as `numpy`; recorded in the file.
            options: of `write_normal_map`, such as format="png8".

        Returns:
            The path.

        Raises:
            SettingError: as `numpy`, or if the ending is none of these.
            FrameError: as `numpy`.
            OutputError: if the file cannot be written.
        """
        path = Path(path)
        kind = options.pop("format", None) or FORMATS.get(path.suffix.lower())
        if kind is None:
            raise SettingError(f"{path}: normal maps are saved as {', '.join(FORMATS)}; change the ending")
        write_normal_map(path, self.numpy(index), frame=frame, format=kind, **options)
        return path

    def _one(self, index: int | None) -> Tensor:
        count = len(self.normals)
        if index is None and count != 1:
            raise SettingError(f"index: the call had {count} images; say which one, from 0 to {count - 1}")
        if index is not None and not -count <= index < count:
            raise SettingError(f"index: the call had {count} images, so there is no {index}")
        return self.normals[index or 0]
