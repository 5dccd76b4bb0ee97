"""Volume rendering of a signed-distance grid: which samples matter, and what their rays see."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from stablenormal.applications.mesh_reconstruction.density import crossing, log_transparency, render_weights
from stablenormal.applications.mesh_reconstruction.node_grid import (
    NodeGrid,
    blend,
    cells_touching,
    gradients,
    moved,
    neighbour_values,
)

GROUP = 4
"""Samples that are looked up together in the coarser test for empty space."""

LEAST_WEIGHT = 1e-4
"""Stretches that are seen less are left out."""

HARMONIC = 0.4886025
"""Of degree 1: sqrt(3 / (4 pi))."""


@dataclass(frozen=True, eq=False)
class Field:
    """The surface and its colour: a row for each node of a grid."""

    grid: NodeGrid
    distances: Tensor
    """(V, 1) signed distances in the cube, negative inside."""
    colours: Tensor
    """(V, 3) or (V, 12): before the sigmoid; red, green, blue of degree 0, then for x, y, z of degree 1."""

    @cached_property
    def around(self) -> Tensor:
        """Distances (V, 6) at each node's neighbours."""
        return neighbour_values(self.grid, self.distances[:, 0])

    @cached_property
    def slopes(self) -> Tensor:
        """Gradient (V, 3) of the distance at each node, in the cube."""
        return gradients(self.grid, self.around)


@dataclass(frozen=True, eq=False)
class Occupancy:
    """Cells in which there may be surface, flat (R^3,)."""

    fine: Tensor
    coarse: Tensor
    """With all neighbours."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """What rays see."""

    rgb: Tensor
    """(B, 3), of the surface alone: divided by the opacity."""
    opacity: Tensor
    """(B,) in [0, 1]."""
    normals: Tensor
    """(B, 3) in the world, not unit length: the weighted mean of unit vectors."""
    distance: Tensor
    """(B,) along the ray, in the cube's unit; 0 where the ray sees nothing."""


@dataclass(frozen=True, eq=False)
class _Stretches:
    """Pairs of neighbouring samples that are seen, each ray's nearest first."""

    ray: Tensor
    """(S,) long."""
    place_in_ray: Tensor
    """(S,) 0, 1, 2, ... in each ray."""
    near: Tensor
    """(S,) distance of the nearer sample along the ray."""
    length: float


def occupancy(field: Field, band: float) -> Occupancy:
    """Cells that come within `band` grid spacings of the surface."""
    grid = field.grid
    r = grid.resolution
    size = torch.full((r**3,), torch.inf, device=grid.nodes.device)
    size[grid.nodes] = field.distances.detach()[:, 0].abs().float()
    near = cells_touching(size.view(r, r, r) < band * grid.spacing)
    fine = near & grid.cells.view(r, r, r)
    coarse = fine.clone()
    for axis in range(3):
        coarse = coarse | moved(coarse, axis, 1) | moved(coarse, axis, -1)
    return Occupancy(fine.reshape(-1), coarse.reshape(-1))


def render(
    field: Field,
    occupied: Occupancy,
    origins: Tensor,
    directions: Tensor,
    jitter: Tensor,
    step: float,
    sharpness: float,
) -> Rendered:
    """Render rays.

    Args:
        field: the surface; gradients flow to its distances and colours.
        occupied: where to look.
        origins: (B, 3) in the cube's coordinates.
        directions: (B, 3), unit length.
        jitter: (B,) in [0, 1): shifts each ray's samples by this share of a step.
        step: distance of samples in grid spacings.
        sharpness: s of the density, in the inverse of the cube's unit.
    """
    found = _visible_stretches(field, occupied, origins, directions, jitter, step, sharpness)
    ends = torch.stack([found.near, found.near + found.length])  # (2, S)
    places = origins[found.ray] + ends[..., None] * directions[found.ray]  # (2, S, 3)
    distances = blend(field.distances, *field.grid.corners(places.reshape(-1, 3))).view(2, -1)
    near, far = distances[0], distances[1]
    weights = _in_rows(log_transparency(near, far, sharpness), found, len(origins))
    weights = render_weights(weights)  # (B, K)
    seen = weights[found.ray, found.place_in_ray]  # (S,)
    part = crossing(near, far, least_fall=0.1 * found.length)
    along = found.near + part * found.length
    middle = origins[found.ray] + along.detach()[:, None] * directions[found.ray]
    rows, shares = field.grid.corners(middle)
    normals = F.normalize(blend(field.slopes, rows, shares), dim=1, eps=1e-6)
    rgb = _colour(blend(field.colours, rows, shares), directions[found.ray])
    values = seen[:, None] * torch.cat([rgb, normals, along[:, None]], dim=1)  # (S, 7)
    summed = values.new_zeros(len(origins), 7).index_add(0, found.ray, values)
    opacity = weights.sum(dim=1)
    share = opacity.clamp(min=1e-3)
    return Rendered(summed[:, :3] / share[:, None], opacity, summed[:, 3:6], summed[:, 6] / share)


def _colour(coefficients: Tensor, directions: Tensor) -> Tensor:
    """Colours (S, 3) in (0, 1) of coefficients (S, 3 or 12) seen along directions (S, 3)."""
    base = coefficients[:, :3]
    if coefficients.shape[1] > 3:
        lobes = coefficients[:, 3:].view(-1, 3, 3)  # (S, axis, colour)
        base = base + HARMONIC * torch.einsum("sac,sa->sc", lobes, directions)
    return torch.sigmoid(base)


def _in_rows(values: Tensor, found: _Stretches, rays: int) -> Tensor:
    """Values (S,) as (B, K), zero behind each ray's last."""
    longest = int(found.place_in_ray.max()) + 1 if len(values) else 1
    return values.new_zeros(rays, longest).index_put((found.ray, found.place_in_ray), values)


@torch.no_grad()
def _visible_stretches(
    field: Field,
    occupied: Occupancy,
    origins: Tensor,
    directions: Tensor,
    jitter: Tensor,
    step: float,
    sharpness: float,
) -> _Stretches:
    """March through the occupied cells and keep what is not hidden."""
    grid = field.grid
    length = step * grid.spacing
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (-1 - origins) / safe, (1 - origins) / safe
    enter = torch.minimum(first, second).amax(dim=1).clamp(min=0)
    leave = torch.maximum(first, second).amin(dim=1)
    start = enter + jitter * length
    groups = torch.arange(
        int(((leave - enter).amax().clamp(min=0) / (GROUP * length)).ceil()) + 1, device=origins.device
    )
    along = start[:, None] + (groups + 0.5) * (GROUP * length) - 0.5 * length  # (B, G)
    places = origins[:, None] + along[..., None] * directions[:, None]
    hit = occupied.coarse[grid.cell_of(places)] & (along < leave[:, None] + GROUP * length)
    ray, group = hit.nonzero(as_tuple=True)
    number = (group[:, None] * GROUP + torch.arange(GROUP, device=origins.device)).reshape(-1)  # (4 n,)
    ray = ray.repeat_interleave(GROUP)
    distance = start[ray] + number * length
    places = origins[ray] + distance[:, None] * directions[ray]
    kept = occupied.fine[grid.cell_of(places)] & (places.abs() <= 1).all(dim=1)
    ray, number, distance, places = ray[kept], number[kept], distance[kept], places[kept]
    values = blend(field.distances, *grid.corners(places))[:, 0]
    joined = ((ray[1:] == ray[:-1]) & (number[1:] == number[:-1] + 1)).nonzero()[:, 0]
    clear = log_transparency(values[joined], values[joined + 1], sharpness)
    ray, distance = ray[joined], distance[joined]
    rough = _Stretches(ray, _places_in_rays(ray, len(origins)), distance, length)
    seen = render_weights(_in_rows(clear, rough, len(origins)))[rough.ray, rough.place_in_ray]
    kept = seen > LEAST_WEIGHT
    ray, distance = ray[kept], distance[kept]
    return _Stretches(ray, _places_in_rays(ray, len(origins)), distance, length)


def _places_in_rays(ray: Tensor, rays: int) -> Tensor:
    """0, 1, 2, ... within each run of equal numbers."""
    counts = torch.bincount(ray, minlength=rays)
    starts = counts.cumsum(0) - counts
    return torch.arange(len(ray), device=ray.device) - starts[ray]
