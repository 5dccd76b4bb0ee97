"""A sparse grid: only nodes near a surface are stored, as rows of a table; trilinear between them.

Places are in the cube [-1, 1]^3; node (i, j, k) of R a side lies at -1 + 2 (i, j, k) / (R - 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CORNERS = ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1))


@dataclass(frozen=True, eq=False)
class NodeGrid:
    """Which nodes have a row in tables (V, C), and who their neighbours are."""

    resolution: int
    """Nodes along each side, R."""
    nodes: Tensor
    """(V,) flat index of each row's node, ascending."""
    rows: Tensor
    """(R^3,) row of each node; -1 where there is none."""
    cells: Tensor
    """(R^3,) bool by lowest corner: all eight corners have rows."""
    neighbours: Tensor
    """(V, 6) rows before and after along x, y, z; the row itself where there is none."""
    reach: Tensor
    """(V, 3) distance between those two neighbours in the cube."""
    inner: Tensor
    """(V,) bool: all six neighbours exist."""

    @property
    def spacing(self) -> float:
        """Distance of nodes in the cube."""
        return 2 / (self.resolution - 1)

    @classmethod
    def around(cls, wanted: Tensor) -> "NodeGrid":
        """The grid of the cells that are wanted.

        Args:
            wanted: bool (R, R, R), by lowest corner; the last layer along each axis has no cells.
        """
        resolution = wanted.shape[0]
        cells = wanted.clone()
        cells[-1], cells[:, -1], cells[:, :, -1] = False, False, False
        present = torch.zeros_like(cells)
        for x, y, z in CORNERS:
            present[x:, y:, z:] |= cells[: resolution - x, : resolution - y, : resolution - z]
        nodes = present.reshape(-1).nonzero()[:, 0]
        rows = torch.full((resolution**3,), -1, dtype=torch.long, device=wanted.device)
        rows[nodes] = torch.arange(len(nodes), device=wanted.device)
        neighbours, reach, inner = _neighbours(resolution, nodes, rows)
        return cls(resolution, nodes, rows, cells.reshape(-1), neighbours, reach, inner)

    def places(self) -> Tensor:
        """Where the rows' nodes lie, (V, 3) in the cube."""
        r = self.resolution
        index = torch.stack([self.nodes // (r * r), self.nodes // r % r, self.nodes % r], dim=1)
        return index * self.spacing - 1

    def cell_of(self, places: Tensor) -> Tensor:
        """Flat index (...) of the cell around places (..., 3) of the cube."""
        low = self._low(places)
        return (low[..., 0] * self.resolution + low[..., 1]) * self.resolution + low[..., 2]

    def corners(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (N, 8) of the nodes around places (N, 3), and their trilinear weights (N, 8).

        Places must lie in `cells`.
        """
        low = self._low(places)
        part = (places + 1) / self.spacing - low
        offsets = torch.tensor(CORNERS, device=places.device)  # (8, 3)
        index = low[:, None] + offsets  # (N, 8, 3)
        flat = (index[..., 0] * self.resolution + index[..., 1]) * self.resolution + index[..., 2]
        sides = torch.where(offsets.bool(), part[:, None], 1 - part[:, None])  # (N, 8, 3)
        return self.rows[flat], sides.prod(dim=-1)

    def _low(self, places: Tensor) -> Tensor:
        index = ((places + 1) / self.spacing).floor().long()
        return index.clamp(0, self.resolution - 2)


class _Blend(torch.autograd.Function):
    """Weighted sums of rows; the weights carry no gradient.

    Its backward pass adds each share to its row: 12 ms where embedding_bag's own takes 16 (24 k sums
    of 8 rows of 16 numbers, one core).
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.size = table.shape
        return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        shares = grads[0][:, None] * weights[..., None]  # (N, K, C)
        table = grads[0].new_zeros(ctx.size)
        return table.index_add_(0, rows.reshape(-1), shares.reshape(-1, shares.shape[-1])), None, None


def blend(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows of a table: (N, C) of a table (V, C), rows and weights (N, K)."""
    apply: Callable[[Tensor, Tensor, Tensor], Tensor] = _Blend.apply
    blended: Tensor = apply(table, rows, weights)
    return blended


def neighbour_values(grid: NodeGrid, values: Tensor) -> Tensor:
    """The values (V,) of each node's six neighbours, (V, 6)."""
    return values.index_select(0, grid.neighbours.reshape(-1)).view(-1, 6)


def gradients(grid: NodeGrid, around: Tensor) -> Tensor:
    """Central differences (V, 3) in the cube from `neighbour_values`; one-sided at the rim of the cells."""
    return (around[:, 1::2] - around[:, 0::2]) / grid.reach


def bends(grid: NodeGrid, values: Tensor, around: Tensor) -> Tensor:
    """How much the gradient changes from node to node: the discrete Laplacian times the spacing, (V,).

    Zero at the rim of the cells.
    """
    change = (around.sum(dim=1) - 6 * values) / grid.spacing
    return torch.where(grid.inner, change, torch.zeros_like(change))


def cells_touching(nodes: Tensor) -> Tensor:
    """Cells (R, R, R) by lowest corner of which some corner is among the nodes (R, R, R) bool."""
    cells = nodes
    for axis in range(3):
        cells = cells | moved(cells, axis, -1)
    cells = cells.clone()
    cells[-1], cells[:, -1], cells[:, :, -1] = False, False, False
    return cells


def moved(flags: Tensor, axis: int, by: int) -> Tensor:
    """Flags (R, R, R) shifted by one along an axis, up (1) or down (-1); False comes in."""
    length = flags.shape[axis] - 1
    result = torch.zeros_like(flags)
    result.narrow(axis, max(by, 0), length).copy_(flags.narrow(axis, max(-by, 0), length))
    return result


def _neighbours(resolution: int, nodes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    own = torch.arange(len(nodes), device=nodes.device)
    found, sides = [], []
    for stride in (resolution * resolution, resolution, 1):
        along = nodes // stride % resolution
        for step in (-1, 1):
            inside = (along + step >= 0) & (along + step < resolution)
            row = rows[torch.where(inside, nodes + step * stride, nodes)]
            there = inside & (row >= 0)
            found.append(torch.where(there, row, own))
            sides.append(there)
    present = torch.stack(sides, dim=1)  # (V, 6)
    steps = (present[:, 0::2].float() + present[:, 1::2].float()).clamp(min=1)
    return torch.stack(found, dim=1), steps * (2 / (resolution - 1)), present.all(dim=1)
