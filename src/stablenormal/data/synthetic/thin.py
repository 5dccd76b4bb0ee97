"""Thin things: grilles, baskets, racks, railings, ladders; and leaves, grass and bushes."""

import numpy as np

from stablenormal.data.synthetic.draws import Array, Rng, chance, direction
from stablenormal.data.synthetic.meshes import Mesh, box, grid, merged, rod, rounded_box


def grille(rng: Rng) -> Mesh:
    """A panel of bars: slats, a mesh, a grating, a drying rack; in the plane y = 0."""
    wide, tall, bar = rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0), rng.uniform(0.012, 0.05)
    parts = [box((2 * wide, bar * 1.5, bar * 1.5), (0, 0, side * tall)) for side in (-1, 1)]
    parts += [box((bar * 1.5, bar * 1.5, 2 * tall), (side * wide, 0, 0)) for side in (-1, 1)]
    both, flat = chance(rng, 0.4), rng.uniform(0.4, 2.5)
    for x in np.linspace(-wide, wide, int(rng.integers(4, 16)))[1:-1]:
        parts.append(box((bar, bar * flat, 2 * tall), (x, 0, 0)))
    if both:
        for z in np.linspace(-tall, tall, int(rng.integers(3, 12)))[1:-1]:
            parts.append(box((2 * wide, bar, bar), (0, bar * 0.4, z)))
    return merged(parts)


def basket(rng: Rng) -> Mesh:
    """A crate or a laundry basket: slats or bars around an open top, and a floor."""
    half = rng.uniform(0.4, 1.0, 2)
    tall, thick = rng.uniform(0.4, 1.0), rng.uniform(0.02, 0.05)
    parts = [box((2 * half[0], 2 * half[1], thick), (0, 0, thick / 2))]
    rows, columns = int(rng.integers(2, 6)), int(rng.integers(2, 9))
    for side in (-1, 1):
        for z in np.linspace(0.08, tall, rows):
            slat = tall / rows * rng.uniform(0.3, 0.6)
            parts.append(box((2 * half[0] + thick, thick, slat), (0, side * half[1], z)))
            parts.append(box((thick, 2 * half[1] + thick, slat), (side * half[0], 0, z)))
        for place in np.linspace(-1, 1, columns):
            parts.append(box((thick * 1.5, thick * 1.5, tall), (place * half[0], side * half[1], tall / 2)))
            parts.append(box((thick * 1.5, thick * 1.5, tall), (side * half[0], place * half[1], tall / 2)))
    return merged(parts)


def bent_wire(rng: Rng) -> Mesh:
    """Bent wire: a hook rack, a stand, a wire figure; round bars from joint to joint."""
    points, radius = np.zeros((1, 3)), rng.uniform(0.015, 0.04)
    parts = []
    for _ in range(rng.integers(4, 12)):
        start = points[rng.integers(len(points))]
        axis = np.eye(3)[rng.integers(3)] if chance(rng, 0.6) else direction(rng)
        end = start + axis * rng.uniform(0.3, 1.0) * rng.choice([-1, 1])
        parts.append(rod(start, end, radius, sections=8))
        points = np.vstack([points, end])
    return merged(parts)


def balusters(rng: Rng, long: float, tall: float, rise: float = 0.0) -> Mesh:
    """A railing along x from 0 to `long`, climbing by `rise` in all: posts, bars, a handrail."""
    parts, bar = [], rng.uniform(0.01, 0.03)
    along = np.array([long, 0, rise])
    style = rng.integers(3)
    for t in np.linspace(0, 1, max(2, int(long / rng.uniform(0.8, 1.6)) + 1)):
        foot = along * t
        parts.append(rod(foot, foot + [0, 0, tall], bar * 1.6, sections=8))
    parts.append(rod(np.array([0, 0, tall]), along + [0, 0, tall], bar * 1.8, sections=10))
    parts.append(rod(np.array([0, 0, 0.1 * tall]), along + [0, 0, 0.1 * tall], bar, sections=8))
    if style == 0:
        for t in np.linspace(0, 1, max(3, int(long / rng.uniform(0.08, 0.16)))):
            foot = along * t
            parts.append(rod(foot + [0, 0, 0.1 * tall], foot + [0, 0, tall], bar * 0.7, sections=6))
    elif style == 1:
        for level in np.linspace(0.1, 1, int(rng.integers(3, 8)))[1:-1]:
            parts.append(
                rod(np.array([0, 0, level * tall]), along + [0, 0, level * tall], bar * 0.6, sections=6)
            )
    else:
        for t in np.linspace(0, 1, max(3, int(long / rng.uniform(0.12, 0.25)))):
            middle = along * t + [0, 0, 0.55 * tall]
            parts.append(box((bar * 3.5, bar, 0.9 * tall), middle))
    return merged(parts)


def steps(rng: Rng, wide: float, count: int, tread: float, riser: float) -> Mesh:
    """Stairs that climb along y from the origin; x is across. Solid, or open boards on stringers."""
    parts, nosing = [], rng.uniform(0, 0.03)
    solid = chance(rng, 0.7)
    for k in range(count):
        top, front = (k + 1) * riser, k * tread
        if solid:
            parts.append(
                box((wide, (count - k) * tread, riser), (0, front + (count - k) * tread / 2, top - riser / 2))
            )
        board = (wide + 0.04, tread + nosing + 0.02, 0.03)
        if nosing > 0.01 or not solid:
            parts.append(rounded_box(board, 0.008, (0, front + tread / 2 - nosing / 2, top + 0.005)))
    if not solid:
        end = np.array([0, count * tread - 0.06, count * riser - 0.11])
        for side in (-1, 1):
            foot = np.array([side * wide * 0.4, 0.03, 0.05])
            parts.append(rod(foot, foot + end, 0.05, sections=6))
    return merged(parts)


def leaf_quads(rng: Rng, places: Array, sizes: Array, up: float, slender: float) -> Mesh:
    """Many bent leaves, four triangles each.

    Args:
        rng: source of all choices.
        places: (N, 3) where they hang.
        sizes: (N,) their lengths.
        up: how much they point upward (grass: large).
        slender: width over length.
    """
    count = len(places)
    along = rng.standard_normal((count, 3)) + [0, 0, up]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, rng.standard_normal((count, 3)))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    t = np.array([0.0, 0.5, 1.0])
    width = np.array([0.25, 1.0, 0.12]) * slender / 2
    spine = places[:, None] + sizes[:, None, None] * (
        t[:, None] * along[:, None] - np.array([0, 0, 0.35]) * (t**2)[:, None]
    )
    half = (sizes[:, None] * width)[..., None] * across[:, None]
    lattice = np.stack([spine - half, spine + half], 2)  # (N, 3, 2, 3)
    facing = np.cross(np.gradient(spine, axis=1), across[:, None])
    facing /= np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-9)
    vertices = np.zeros((count, 3, 2, 8), np.float32)
    vertices[..., :3] = lattice
    vertices[..., 3:6] = facing[:, :, None]
    vertices[..., 6] = (t[:, None] + 0 * lattice[..., 0]) * sizes[:, None, None]
    vertices[..., 7] = np.array([0, 1]) * slender * sizes[:, None, None]
    quad = np.array([[0, 2, 3], [0, 3, 1], [2, 4, 5], [2, 5, 3]])
    faces = (quad[None] + 6 * np.arange(count)[:, None, None]).reshape(-1, 3)
    return Mesh(vertices.reshape(-1, 8), faces.astype(np.int32))


def bush(rng: Rng) -> Mesh:
    """A crown of leaves: a bush, a hedge plant, the top of a tree; about one across, centred."""
    count = int(rng.integers(160, 460))
    inside = rng.standard_normal((count, 3))
    inside *= (rng.random((count, 1)) ** 0.4) / np.linalg.norm(inside, axis=1, keepdims=True)
    clumps = rng.standard_normal((int(rng.integers(3, 9)), 3)) * 0.45
    places = clumps[rng.integers(len(clumps), size=count)] + 0.5 * inside
    return leaf_quads(
        rng, places, rng.uniform(0.7, 1.3, count) * rng.uniform(0.16, 0.36), 0.3, rng.uniform(0.3, 0.9)
    )


def tuft(rng: Rng) -> Mesh:
    """Grass or reeds from one root."""
    count = int(rng.integers(40, 160))
    places = np.column_stack([rng.normal(0, rng.uniform(0.1, 0.5), (count, 2)), np.zeros(count)])
    return leaf_quads(rng, places, rng.uniform(0.5, 1.2, count), rng.uniform(1, 4), rng.uniform(0.03, 0.12))


def creeper(rng: Rng, wide: float, tall: float) -> Mesh:
    """Leaves all over an upright plane y = 0, from -wide / 2 and up from the ground."""
    count = int(rng.integers(500, 1400))
    places = np.column_stack(
        [rng.uniform(-wide / 2, wide / 2, count), rng.uniform(-0.12, 0.0, count), rng.uniform(0, tall, count)]
    )
    return leaf_quads(rng, places, rng.uniform(0.6, 1.3, count) * 0.14, 0.0, rng.uniform(0.5, 1.0))


def curved_blade(rng: Rng) -> Mesh:
    """A palm-like plant: long arching leaves with a keel, from one root."""
    parts = []
    for _ in range(rng.integers(5, 14)):
        heading = direction(rng, up=0.3)
        t, size = np.linspace(0, 1, 9)[:, None], rng.uniform(0.6, 1.1)
        spine = size * (t * heading - [0, 0, 0.6] * t**2.2)
        across = np.cross(heading, [0, 0, 1.0])
        across /= np.linalg.norm(across)
        half = rng.uniform(0.04, 0.1) * np.sin(np.pi * np.clip(t, 0.08, 1)) * across
        parts.append(
            grid(np.stack([spine - half + [0, 0, 0.02], spine, spine + half + [0, 0, 0.02]]), crease_deg=75.0)
        )
    return merged(parts)
