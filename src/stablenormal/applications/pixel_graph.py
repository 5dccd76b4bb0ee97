"""The pixels of a mask and the edges between four-neighbours, and Laplacians on them.

Everything that an integration needs is a sum over edges, so a new set of edge weights costs a few passes over
arrays: the sparsity pattern is sorted once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PixelGraph:
    """N pixels and E edges; an edge leads from `tail` one step right (the first ones) or down to `head`."""

    mask: Flags
    """(H, W): which pixels are nodes; nodes are numbered row by row."""
    tail: Indices
    """(E,) node at the left or upper end."""
    head: Indices
    """(E,) node at the right or lower end."""
    axis: npt.NDArray[np.int8]
    """(E,) 0 for an edge along the row, 1 for one along the column."""
    pattern: sparse.csr_matrix
    """(N, N) whose data say which of (edges, edges again, nodes) each stored value is, counted from 0."""

    @classmethod
    def of(cls, mask: Flags) -> "PixelGraph":
        """The graph of a mask (H, W)."""
        count = int(mask.sum())
        number = np.full(mask.shape, -1, dtype=np.int32)
        number[mask] = np.arange(count, dtype=np.int32)
        right = mask[:, :-1] & mask[:, 1:]
        down = mask[:-1] & mask[1:]
        tail = np.concatenate([number[:, :-1][right], number[:-1][down]])
        head = np.concatenate([number[:, 1:][right], number[1:][down]])
        axis = np.repeat(np.array([0, 1], np.int8), [int(right.sum()), int(down.sum())])
        return cls(mask, tail, head, axis, _pattern(tail, head, count))

    @property
    def across(self) -> int:
        """Number of edges along rows; they come first."""
        return int(np.searchsorted(self.axis, 1))

    @property
    def nodes(self) -> int:
        """Number of pixels."""
        return int(self.pattern.shape[0])

    def laplacian(self, edge_weights: Floats, node_weights: Floats) -> sparse.csr_matrix:
        """Matrix of sum over edges c (z_head - z_tail)^2 + sum over nodes d z^2.

        Args:
            edge_weights: c, (E,), not negative.
            node_weights: d, (N,), positive.

        Returns:
            Symmetric positive definite (N, N).
        """
        diagonal = node_weights + self.sum_at_heads(edge_weights) + self.sum_at_tails(edge_weights)
        values = np.concatenate([-edge_weights, -edge_weights, diagonal])
        pattern = self.pattern
        return sparse.csr_matrix(
            (values[pattern.data], pattern.indices, pattern.indptr), pattern.shape, copy=False
        )

    def divergence(self, flux: Floats) -> Floats:
        """Right side (N,) that belongs to edges which should differ by flux / weight, (E,)."""
        result: Floats = self.sum_at_heads(flux) - self.sum_at_tails(flux)
        return result

    def sum_at_heads(self, values: Floats) -> Floats:
        """Sum (N,) of edge values (E,) at their heads."""
        return np.bincount(self.head, values, self.nodes).astype(np.float64, copy=False)

    def sum_at_tails(self, values: Floats) -> Floats:
        """Sum (N,) of edge values (E,) at their tails."""
        return np.bincount(self.tail, values, self.nodes).astype(np.float64, copy=False)

    def components(self) -> npt.NDArray[np.int32]:
        """(N,) number of the connected component of each pixel, from 0."""
        labels: npt.NDArray[np.int32] = connected_components(self.pattern, directed=False)[1]
        return labels

    def picture(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Node values (N,) as a picture (H, W), NaN outside the mask."""
        image = np.full(self.mask.shape, np.nan, dtype=np.float32)
        image[self.mask] = values
        return image


def _pattern(tail: Indices, head: Indices, count: int) -> sparse.csr_matrix:
    edges = len(tail)
    nodes = np.arange(count, dtype=np.int32)
    # Counted from 1, because a stored zero may get lost.
    places = np.arange(1, 2 * edges + count + 1, dtype=np.int32)
    rows = np.concatenate([tail, head, nodes])
    columns = np.concatenate([head, tail, nodes])
    pattern = sparse.coo_matrix((places, (rows, columns)), (count, count)).tocsr()
    pattern.data -= 1
    return pattern
