"""Large photographs in overlapping tiles, guided by one pass over the whole picture.

A tile alone shows edges that the whole picture, reduced to the networks' size, has lost; but it does not
know which way a wall faces of which it sees a piece. So the broad shape is the whole picture's and the
detail the tile's: each tile's normals are turned by the smooth rotation that takes them, blurred, to the
whole picture's, blurred likewise (`geometry.normal_detail`). What is left between overlapping tiles is
blended on the sphere, along arcs from the whole picture's normals (`geometry.tangents`).

Normals of a tile are in the camera frame of the whole picture, as those of a crop are in training.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import SettingError, argument
from stablenormal.geometry.normal_detail import detail_on
from stablenormal.geometry.normals import unit_length, valid_mask
from stablenormal.geometry.tangents import along_arcs, arcs_to
from stablenormal.models.modes import SMALLEST_TILE, TILE_OVERLAPS

_SHARE = 4
"""By default the longer side is this many tiles long, not counting what overlaps."""

_SHAPE_PX = 2.0
"""Pixels of the whole picture, as the networks saw it, over which its shape is taken: the deviation of a
Gaussian. At 4 the mean error grew by 4 %, at 2 by 1 to 2 %, and edges gained 8 to 9 % at either."""

_STRIP = 256
"""Rows that are finished at a time."""

Estimate = Callable[[Sequence[Tensor], Sequence[Tensor]], list[tuple[Tensor, Tensor]]]
"""From pictures (3, H, W), and normals (3, H, W) of the whole there, to normals and spread (H, W)."""


@dataclass(frozen=True)
class Tiling:
    """How a photograph is cut.

    Raises:
        SettingError: if a number is out of range.
    """

    size: int | None = None
    """Pixels of the photograph along the side of a tile; None is a quarter of the longer side, and never less
    than the networks see."""
    overlap: float = 0.25
    """Share of its side that a tile has in common with the next one, at least."""

    def __post_init__(self) -> None:
        """Check both."""
        if self.size is not None and self.size < SMALLEST_TILE:
            raise SettingError(
                f"{argument('tile_size')}: {self.size} px are too few; use {SMALLEST_TILE} or more"
            )
        least, most = TILE_OVERLAPS
        if not least <= self.overlap <= most:
            raise SettingError(
                f"{argument('tile_overlap')}: expected a share from {least} to {most} of a tile's side, "
                f"got {self.overlap}"
            )

    def side(self, size: tuple[int, int], seen_px: int) -> int:
        """Pixels of a tile's side.

        Args:
            size: height and width of the photograph.
            seen_px: pixels of the longer side at which the networks see a tile.
        """
        return max(seen_px, math.ceil(max(size) / _SHARE)) if self.size is None else self.size


class Window(NamedTuple):
    """A part of a picture."""

    top: int
    left: int
    height: int
    width: int

    def of(self, picture: Tensor) -> Tensor:
        """The part of (..., H, W), not copied."""
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]


class Grid:
    """The tiles of a photograph, and how much each counts where they overlap.

    Weights rise over an overlap as the square of a sine, and sum to one at every pixel.

    Args:
        size: height and width of the photograph.
        side: pixels of a tile's side; along a shorter side of the photograph a tile is that long.
        overlap: least share of the side that neighbours have in common.
    """

    def __init__(self, size: tuple[int, int], side: int, overlap: float) -> None:
        self.rows = _spans(size[0], side, overlap)
        self.columns = _spans(size[1], side, overlap)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[Window, Tensor]]:
        """Each tile with its weights (height, width)."""
        for top, down in self.rows:
            for left, right in self.columns:
                yield Window(top, left, len(down), len(right)), down[:, None] * right

    @property
    def borders(self) -> tuple[list[int], list[int]]:
        """Rows and columns at which a tile begins or ends inside the photograph."""
        return _borders(self.rows), _borders(self.columns)


class Whole:
    """The normals of the whole picture, at the size at which the networks saw it, looked up at any pixel.

    Args:
        normals: unit normals (3, h, w).
        size: height and width of the photograph.
    """

    def __init__(self, normals: Tensor, size: tuple[int, int]) -> None:
        self.normals = normals
        self.size = size

    @property
    def shape_px(self) -> float:
        """Pixels of the photograph over which its shape is taken."""
        return _SHAPE_PX * max(self.size) / max(self.normals.shape[1:])

    def at(self, window: Window) -> Tensor:
        """Unit normals (3, height, width) of a part of the photograph, bilinearly."""
        down, right = (
            (2 * torch.arange(first, first + count) + 1) / side - 1
            for first, count, side in zip(window[:2], window[2:], self.size, strict=True)
        )
        places = torch.stack(
            [right.expand(window.height, -1), down[:, None].expand(-1, window.width)], dim=-1
        )
        sampled = functional.grid_sample(
            self.normals[None], places[None], mode="bilinear", padding_mode="border", align_corners=False
        )
        return unit_length(sampled)[0]


def carried(detail: Tensor, shape: Tensor, shape_px: float) -> Tensor:
    """The detail of a tile on the broad shape of the whole picture.

    Args:
        detail: the tile's normals (3, H, W).
        shape: those of the whole picture there.
        shape_px: pixels over which the shape is taken.

    Returns:
        Unit normals (3, H, W); those of the whole picture where the two point apart.
    """
    turned = detail_on(detail, shape, shape_px)
    return torch.where(valid_mask(turned), turned, shape)


def in_tiles(
    image: Tensor, whole: Whole, grid: Grid, estimate: Estimate, batch_size: int, spread: bool
) -> tuple[Tensor, Tensor]:
    """The normals of a photograph, tile by tile.

    Beside the photograph and the result nothing of their size is held.

    Args:
        image: (3, H, W).
        whole: what the whole picture showed.
        grid: how it is cut.
        estimate: the networks.
        batch_size: tiles that they see together.
        spread: whether a spread is wanted.

    Returns:
        Unit normals (3, H, W), and the spread (H, W), empty where none was wanted.
    """
    arcs = torch.zeros(3, *whole.size)
    spreads = torch.zeros(whole.size if spread else (0, 0))
    for tiles in _together(list(grid), batch_size):
        shapes = [whole.at(window) for window, _ in tiles]
        found = estimate([window.of(image) for window, _ in tiles], shapes)
        for (window, weight), shape, (normals, uncertainty) in zip(tiles, shapes, found, strict=True):
            here = carried(normals, shape, whole.shape_px)
            window.of(arcs).add_(arcs_to(shape, here).mul_(weight))
            if spread:
                window.of(spreads).add_(uncertainty * weight)
    for top in range(0, whole.size[0], _STRIP):
        strip = Window(top, 0, min(_STRIP, whole.size[0] - top), whole.size[1])
        strip.of(arcs).copy_(along_arcs(whole.at(strip), strip.of(arcs)))
    return arcs, spreads


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, Tensor]]:
    """Where tiles begin along one side of a photograph, and each one's weights."""
    side = min(side, length)
    common = math.ceil(side * overlap)
    count = max(1, math.ceil((length - common) / (side - common)))
    starts = [round(number * (length - side) / max(1, count - 1)) for number in range(count)]
    weights = []
    for number, start in enumerate(starts):
        weight = torch.ones(side)
        if number > 0:
            shared = starts[number - 1] + side - start
            weight[:shared] *= _ramp(shared)
        if number + 1 < count:
            shared = start + side - starts[number + 1]
            weight[side - shared :] *= _ramp(shared).flip(0)
        weights.append(weight)
    total = torch.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + side] += weight
    return [
        (start, weight / total[start : start + side]) for start, weight in zip(starts, weights, strict=True)
    ]


def _ramp(count: int) -> Tensor:
    """From almost 0 to almost 1 in `count` pixels."""
    return torch.sin((torch.arange(count) + 0.5) / count * (math.pi / 2)) ** 2


def _borders(spans: Sequence[tuple[int, Tensor]]) -> list[int]:
    length = spans[-1][0] + len(spans[-1][1])
    places = {place for start, weight in spans for place in (start, start + len(weight))}
    return sorted(places - {0, length})


def _together(
    tiles: Sequence[tuple[Window, Tensor]], batch_size: int
) -> Iterator[Sequence[tuple[Window, Tensor]]]:
    for first in range(0, len(tiles), batch_size):
        yield tiles[first : first + batch_size]
