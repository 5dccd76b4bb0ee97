"""Paper and cloth: folded, crumpled and curled sheets, pouches, heaps and hanging drapery."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull, Delaunay

from stablenormal.data.synthetic.draws import Array, Rng, chance, log_uniform, pick
from stablenormal.data.synthetic.meshes import Mesh, grid, merged, mesh_from_faces
from stablenormal.data.synthetic.waves import wave_field

FACET_DEG = 4.0
"""Facets of paper that meet at less than this are shaded as one."""


def crumpled_sheet(rng: Rng) -> Mesh:
    """Paper that was crumpled and opened: flat facets, large and small, between sharp creases."""
    width, count = rng.uniform(0.6, 1.0), int(log_uniform(rng, 25, 420))
    rim = np.linspace(-1, 1, int(rng.integers(5, 12)))
    edge = np.concatenate(
        [[(t, s) for t in rim for s in (-1, 1)], [(s, t) for t in rim[1:-1] for s in (-1, 1)]]
    )
    knots = np.vstack([edge, rng.uniform(-0.96, 0.96, (count, 2))]) * [1, width]
    coarse = np.vstack(
        [rng.uniform(-1.2, 1.2, (rng.integers(5, 16), 2)), np.array([[-4, -4], [-4, 4], [4, -4], [4, 4]])]
    )
    height = facets(coarse, rng.normal(0, rng.uniform(0.05, 0.25), len(coarse)), knots)
    height = height + rng.normal(0, rng.uniform(0.1, 0.45) / np.sqrt(count), len(knots))
    height = height + rng.uniform(0, 0.3) * wave_field(rng, 1, 1.2)(np.column_stack([knots, height]))
    faces = Delaunay(knots).simplices.astype(np.int64)
    return mesh_from_faces(np.column_stack([knots, height]), faces, rng.choice([FACET_DEG, 14.0, 25.0]))


def facets(knots: Array, heights: Array, query: Array) -> Array:
    """Heights (...) at query points (..., 2), linear on the Delaunay triangles of the knots."""
    triangulation = Delaunay(knots)
    simplex = triangulation.find_simplex(query)
    affine = triangulation.transform[simplex]
    first = np.einsum("...ij,...j->...i", affine[..., :2, :], query - affine[..., 2, :])
    weights = np.concatenate([first, 1 - first.sum(-1, keepdims=True)], -1)
    return np.asarray((weights * heights[triangulation.simplices[simplex]]).sum(-1))


def folded_sheet(rng: Rng) -> Mesh:
    """A letter, map or leaflet: a rectangle creased along a few straight lines, flat in between."""
    width = rng.uniform(0.5, 1.0)
    cells = [np.array([[-1, -width], [1, -width], [1, width], [-1, width]])]
    lines = []
    if chance(rng, 0.5):  # accordion or letter folds
        turn, pitch, sign = pick(rng, (0.0, np.pi / 2)), rng.uniform(0.3, 0.9), 1.0
        for offset in np.arange(-1 + pitch * rng.uniform(0.4, 1), 1, pitch):
            lines.append((turn, offset, sign * rng.uniform(0.15, 0.6)))
            sign = -sign if chance(rng, 0.7) else sign
    for _ in range(rng.integers(0 if lines else 1, 5)):
        lines.append((rng.random() * np.pi, rng.uniform(-0.6, 0.6), rng.normal(0, 0.25)))
    for turn, offset, _ in lines:
        along = np.array([np.cos(turn), np.sin(turn)])
        cells = [piece for cell in cells for piece in _cut(cell, along, offset)]
    points: list[Array] = []
    faces: list[list[int]] = []
    for cell in cells:
        start = sum(map(len, points))
        faces += [[start, start + k, start + k + 1] for k in range(1, len(cell) - 1)]
        points.append(cell)
    flat = np.vstack(points)
    height = flat @ rng.normal(0, 0.1, 2)
    for turn, offset, slope in lines:
        height = height + slope * np.maximum(flat @ np.array([np.cos(turn), np.sin(turn)]) - offset, 0)
    return mesh_from_faces(np.column_stack([flat, height]), np.array(faces, np.int64), FACET_DEG)


def _cut(cell: Array, along: Array, offset: float) -> list[Array]:
    """A convex polygon (K, 2) cut by a line: one or two polygons."""
    side = cell @ along - offset
    pieces: list[list[Array]] = [[], []]
    for k in range(len(cell)):
        here, onward = side[k], side[(k + 1) % len(cell)]
        pieces[int(here > 0)].append(cell[k])
        if (here > 0) != (onward > 0):
            crossing = cell[k] + (cell[(k + 1) % len(cell)] - cell[k]) * here / (here - onward)
            pieces[0].append(crossing)
            pieces[1].append(crossing)
    return [np.array(piece) for piece in pieces if len(piece) > 2]


def curled_page(rng: Rng) -> Mesh:
    """A page or a poster that bends along one direction, as paper does."""
    bends, width = int(rng.integers(1, 4)), rng.uniform(0.4, 1.0)
    along = np.linspace(0, 1, 40)
    angle = sum(
        rng.normal(0, 1.6 / k) * np.cos(k * np.pi * along + rng.random() * 6) for k in range(1, bends + 1)
    )
    x, z = np.cumsum(np.cos(angle)) / 40, np.cumsum(np.sin(angle)) / 40
    points = [np.stack([x, np.full(40, y), z], 1) for y in np.linspace(-width / 2, width / 2, 3)]
    return grid(np.stack(points, 1), crease_deg=75.0)


def paper_ball(rng: Rng) -> Mesh:
    """A sheet crushed into a ball: flat facets of all sizes."""
    directions = rng.standard_normal((int(rng.integers(60, 260)), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    bumps = 0.12 * wave_field(rng, 2, rng.uniform(1.5, 4))(directions)
    reach = 1 + bumps + rng.normal(0, rng.uniform(0.02, 0.07), len(directions))
    faces = ConvexHull(directions).simplices.astype(np.int64)
    outward = np.cross(
        directions[faces[:, 1]] - directions[faces[:, 0]], directions[faces[:, 2]] - directions[faces[:, 0]]
    )
    inward = (outward * directions[faces].mean(1)).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return mesh_from_faces(directions * reach[:, None], faces, rng.choice([FACET_DEG, 20.0]))


def pouch(rng: Rng) -> Mesh:
    """A tea bag, sachet or crisp packet: two bulging sides, crimped ends, wrinkles from the seams."""
    size, width = 40, rng.uniform(0.6, 0.9)
    axis = np.linspace(-1, 1, size)
    u, v = np.meshgrid(axis, axis, indexing="ij")
    seam = rng.uniform(0.06, 0.2)
    inner = np.clip((1 - np.abs(u)) / seam - 1, 0, None) * seam
    puff = np.sqrt(np.clip(inner, 0, 1)) * np.sqrt(np.clip(1 - v**2, 0, 1)) * rng.uniform(0.1, 0.4)
    flat = np.stack([u, 0.5 * v, 0 * u], -1)
    crimp = rng.uniform(0, 0.012) * np.sin(v * rng.uniform(20, 60)) * (inner == 0)
    sides = []
    for side in (1, -1):
        rays = wave_field(rng, 2, rng.uniform(3, 7))(flat * [0.35, 2.5, 1])
        dents = wave_field(rng, 3, rng.uniform(2, 4))(flat)
        creases = np.abs(dents) * rng.uniform(0, 0.25) + rays * rng.uniform(0, 0.06)
        bulge = puff * (1 - creases) + 0.04 * rays * (puff > 0) * np.sqrt(np.clip(puff, 0, 1))
        sides.append(grid(np.stack([u, v * width, side * bulge + crimp], -1), crease_deg=35.0))
    return merged(sides)


def heap_of_cloth(rng: Rng, size: int = 56) -> Mesh:
    """Cloth thrown down: long bent folds, some sharp, over a mound."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis * rng.uniform(0.6, 1.0), indexing="ij")
    return grid(np.stack([x, y, folds(rng, x, y)], -1), crease_deg=70.0)


def folds(rng: Rng, x: Array, y: Array) -> Array:
    """Heights (U, V) of rumpled cloth over a lattice that spans about -1 to 1."""
    flat = np.stack([x, y, 0 * x], -1)
    bend, pull = wave_field(rng, 2, rng.uniform(0.8, 2))(flat), wave_field(rng, 2, 1.5)(flat)
    height = rng.uniform(0, 0.35) * np.exp(-rng.uniform(0.5, 3) * (x**2 + y**2))
    for _ in range(rng.integers(1, 5)):
        turn, pitch = rng.random() * np.pi, log_uniform(rng, 7, 30)
        phase = pitch * (np.cos(turn) * x + np.sin(turn) * y) + rng.uniform(1, 5) * bend
        sharp = rng.uniform(0.1, 0.9)
        ridge = 1 - np.sqrt(np.sin(phase / 2) ** 2 + 0.02 + sharp**2 * 0.2)
        where = np.clip(0.5 + 1.5 * (pull if chance(rng, 0.5) else -pull), 0, 1)
        height = height + 2.2 / pitch * ridge * where * rng.uniform(0.4, 1.3)
    return np.asarray(gaussian_filter(height, 0.6, mode="nearest"))


def hanging_cloth(rng: Rng, wide: float, tall: float) -> Mesh:
    """A curtain, towel or sheet that hangs from its upper edge: pleats that open and bend downward.

    It hangs in the plane y = 0 from (-wide / 2, 0, tall) to the ground.
    """
    u, v = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 14), indexing="ij")
    pleats, low = rng.uniform(4, 16) * max(wide, 0.4), rng.uniform(0.4, 1.5)
    flat = np.stack([u * 2, v * 2, 0 * u], -1)
    wander = wave_field(rng, 2, 1.2)(flat)
    depth = 0.25 * wide / pleats * (0.35 + low * (1 - v)) * rng.uniform(0.5, 1.4)
    out = depth * np.sin(2 * np.pi * pleats * (u + 0.05 * wander) + 2 * wander)
    out = out + 0.4 * depth * np.sin(4.7 * np.pi * pleats * u + 3 * wander)
    sag = rng.uniform(0, 0.06) * np.abs(np.sin(np.pi * u * rng.integers(2, 7))) * v
    gather = 1 - rng.uniform(0, 0.3) * v**2
    points = np.stack([(u - 0.5) * wide * gather, out, v * tall - sag * tall], -1)
    return grid(points, crease_deg=75.0)
