"""Photographs as rays: one row per pixel of all views, in the cube that holds the object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import resize_normals
from stablenormal.geometry.posed import PosedCamera

Floats = npt.NDArray[np.float32]

OPAQUE = 0.99
"""Mask from which on a pixel sees the object alone."""

MARGIN_SHARE = 0.06
"""Of the picture's side: pixels so near to the object's outline are rendered too."""


@dataclass(frozen=True, eq=False)
class ReconstructionView:
    """One picture of the object.

    Raises:
        ImageShapeError: if the maps have different sizes.
    """

    name: str
    camera: PosedCamera
    rgb: Floats
    """(H, W, 3) in [0, 1]."""
    mask: Floats
    """(H, W) in [0, 1]: share of the pixel that the object covers."""
    normals: Floats | None = None
    """(H, W, 3), OpenGL camera, unit length or zero; None: no prior for this view."""
    confidence: Floats | None = None
    """(H, W) in [0, 1]: weight of each normal; None is 1."""

    def __post_init__(self) -> None:
        size = (self.camera.intrinsics.height, self.camera.intrinsics.width)
        maps = {
            "picture": self.rgb,
            "mask": self.mask,
            "normals": self.normals,
            "confidence": self.confidence,
        }
        for name, values in maps.items():
            if values is not None and values.shape[:2] != size:
                raise ImageShapeError(
                    f"{self.name}: its {name} is {values.shape[1]} x {values.shape[0]} px, its camera "
                    f"{size[1]} x {size[0]} px; make them the same size"
                )

    def shrunk(self, longer_side: int) -> "ReconstructionView":
        """The view at `longer_side` pixels, each the mean of those that it covers; never enlarged."""
        height, width = self.mask.shape
        scale = longer_side / max(height, width)
        if scale >= 1:
            return self
        size = (max(2, round(width * scale)), max(2, round(height * scale)))

        def mean(values: Floats) -> Floats:
            return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)

        normals = None
        if self.normals is not None:
            vectors = channels_first(self.normals)[None]  # (1, 3, H, W)
            normals = channels_last(resize_normals(vectors, size[::-1])[0])
        return replace(
            self,
            camera=self.camera.resized(*size),
            rgb=mean(self.rgb),
            mask=mean(self.mask),
            normals=normals,
            confidence=None if self.confidence is None else mean(self.confidence),
        )


@dataclass(frozen=True)
class Cube:
    """The part of the world that is reconstructed."""

    centre: tuple[float, float, float]
    """In the world."""
    half: float
    """Half of its side, in the world's unit."""

    def to_world(self, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """World points (N, 3) of places (N, 3) in [-1, 1]^3."""
        moved: npt.NDArray[np.float64] = np.asarray(self.centre) + self.half * places
        return moved

    def from_world(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Places of world points."""
        moved: npt.NDArray[np.float64] = (points - np.asarray(self.centre)) / self.half
        return moved


@dataclass(frozen=True, eq=False)
class RayTable:
    """Every pixel of every view; a patch is a pixel, the next, and the two below."""

    origins: Tensor
    """(views, 3) in the cube."""
    view: Tensor
    """(P,) long."""
    directions: Tensor
    """(P, 3) unit vectors."""
    rgb: Tensor
    """(P, 3)."""
    mask: Tensor
    """(P,)."""
    normals: Tensor
    """(P, 3) of the prior, in the world; zero where unknown."""
    confidence: Tensor
    """(P,)."""
    row_length: Tensor
    """(views,) columns of each view."""
    first: Tensor
    """(views + 1,) where each view's pixels begin."""
    anchors: Tensor
    """(A,) first pixels of the patches at and around the object."""

    def patch(self, anchors: Tensor) -> Tensor:
        """Pixels (A, 4) of patches: upper left, upper right, lower left, lower right."""
        below = self.row_length[self.view[anchors]]
        return torch.stack([anchors, anchors + 1, anchors + below, anchors + below + 1], dim=1)


def ray_table(views: Sequence[ReconstructionView], cube: Cube, device: torch.device) -> RayTable:
    """Rays of all pixels of the views."""
    parts: dict[str, list[npt.NDArray[np.float32]]] = {
        name: [] for name in ("directions", "rgb", "mask", "normals", "confidence")
    }
    anchors, counts = [], [0]
    for view in views:
        height, width = view.mask.shape
        directions = view.camera.directions()
        parts["directions"].append(directions / np.linalg.norm(directions, axis=-1, keepdims=True))
        parts["rgb"].append(view.rgb)
        parts["mask"].append(view.mask[..., None])
        normals = np.zeros_like(view.rgb) if view.normals is None else view.normals @ view.camera.rotation.T
        parts["normals"].append(normals.astype(np.float32))
        ones = np.ones_like(view.mask)
        parts["confidence"].append((ones if view.confidence is None else view.confidence)[..., None])
        reach = max(1, round(MARGIN_SHARE * max(height, width)))
        near = cv2.dilate((view.mask > 0).astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
        near[-1], near[:, -1] = False, False
        anchors.append(np.flatnonzero(near) + sum(counts))
        counts.append(height * width)
    flat = {
        name: torch.from_numpy(
            np.concatenate([value.reshape(-1, value.shape[-1]) for value in values]).astype(np.float32)
        ).to(device)
        for name, values in parts.items()
    }
    centres = cube.from_world(np.stack([view.camera.centre for view in views]))
    first = torch.from_numpy(np.cumsum(counts)).to(device)
    return RayTable(
        origins=torch.from_numpy(centres.astype(np.float32)).to(device),
        view=torch.arange(len(views), device=device).repeat_interleave(first.diff()),
        directions=flat["directions"],
        rgb=flat["rgb"],
        mask=flat["mask"][:, 0],
        normals=flat["normals"],
        confidence=flat["confidence"][:, 0],
        row_length=torch.tensor([view.mask.shape[1] for view in views], device=device),
        first=first,
        anchors=torch.from_numpy(np.concatenate(anchors)).to(device),
    )
