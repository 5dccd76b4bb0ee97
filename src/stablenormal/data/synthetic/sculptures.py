"""Sculpted forms: heads, busts, animals, fruit and carved panels, as level sets of distance-like fields.

A field is negative inside. Vertex normals are the gradient of the field itself, by central differences.
"""

from collections.abc import Callable

import numpy as np

from stablenormal.data.synthetic.draws import Array, Rng, chance, pick
from stablenormal.data.synthetic.meshes import (
    Faces,
    Mesh,
    box,
    grid,
    merged,
    revolved,
    rod,
    with_normals,
)
from stablenormal.data.synthetic.waves import wave_field

Field = Callable[[Array], Array]
"""Points (N, 3) -> values (N,), negative inside."""


def level_set(field: Field, low: Array, high: Array, count: int) -> Mesh:
    """The surface where a field is zero, closed where it meets the box from low to high.

    Args:
        field: continuous, negative inside.
        low: lowest corner (3,) of the box.
        high: highest corner (3,).
        count: lattice points along the longest side of the box.
    """
    from skimage.measure import marching_cubes  # of the extra "synth"

    step = float((high - low).max()) / (count - 1)
    axes = [np.arange(low[k], high[k] + step, step) for k in range(3)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = field(lattice.reshape(-1, 3)).reshape(lattice.shape[:3])
    for axis in range(3):
        edge = np.moveaxis(values, axis, 0)
        edge[[0, -1]] = np.maximum(edge[[0, -1]], step)  # closed at the walls of the lattice
    surface: Callable[..., tuple[Array, Faces, Array, Array]] = marching_cubes  # scikit-image has no types
    points, faces, _, _ = surface(values, 0.0, spacing=(step,) * 3)
    points = points.astype(float) + low
    return with_normals(points, faces.astype(np.int64), slope_of(field, points, 0.2 * step))


def slope_of(field: Field, points: Array, step: float) -> Array:
    """Unit gradient (N, 3) of a field at points (N, 3), by central differences over `step`."""
    slope = np.stack([field(points + offset) - field(points - offset) for offset in step * np.eye(3)], 1)
    unit: Array = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    return unit


def ellipsoid(points: Array, centre: Array, radii: Array) -> Array:
    """Distance-like value (N,) of an ellipsoid with axes along x, y, z."""
    value: Array = (np.linalg.norm((points - centre) / radii, axis=1) - 1) * np.min(radii)
    return value


def capsule(points: Array, start: Array, end: Array, radius: float, end_radius: float) -> Array:
    """Distance-like value (N,) of a round bar that tapers from one radius to another."""
    along = end - start
    place = np.clip((points - start) @ along / (along @ along), 0, 1)
    away = np.linalg.norm(points - start - place[:, None] * along, axis=1)
    value: Array = away - radius - (end_radius - radius) * place
    return value


def joined(first: Array, second: Array, softness: float) -> Array:
    """Smooth union: a fillet of about `softness` where the two meet (the polynomial smooth minimum)."""
    blend = np.clip(0.5 + 0.5 * (second - first) / softness, 0, 1)
    value: Array = second + (first - second) * blend - softness * blend * (1 - blend)
    return value


def carved(body: Array, tool: Array, softness: float) -> Array:
    """Smooth difference: the tool is taken out of the body."""
    return -joined(-body, tool, softness)


def _mirrored(points: Array) -> Array:
    return np.column_stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]])


def head(rng: Rng) -> Mesh:
    """A head or a bust with brows, eye sockets, nose, lips, ears and hair; it faces -y."""
    bust = chance(rng, 0.5)

    def at(*place: float) -> Array:
        return np.array(place) * rng.normal(1, 0.06, 3)

    skull, jaw = at(0, 0.06, 0.28), at(0, -0.12, -0.22)
    skull_size, jaw_size = at(0.56, 0.7, 0.62), at(0.43, 0.5, 0.58)
    nose, tip, nose_width = at(0, -0.63, 0.12), at(0, -0.8, -0.16), rng.uniform(0.06, 0.11)
    brow, brow_end = at(0.07, -0.64, 0.2), at(0.38, -0.48, 0.17)
    eye, lips = at(0.21, -0.6, 0.06), at(0.15, -0.55, -0.4)
    chin, cheek, ear = at(0, -0.5, -0.66), at(0.27, -0.44, -0.15), at(0.54, 0.05, 0.0)
    open_mouth, lip = rng.uniform(0.015, 0.05), rng.uniform(0.035, 0.065)
    curls = wave_field(rng, 2, rng.uniform(4, 11))
    hair, hairline = rng.uniform(0.02, 0.14), rng.uniform(-0.1, 0.35)
    beard = rng.uniform(0.04, 0.16) if chance(rng, 0.25) else 0.0
    shoulders, cut = at(0, 0.15, -1.52), rng.uniform(-1.65, -1.3) if bust else rng.uniform(-1.15, -0.75)

    def field(points: Array) -> Array:
        p = _mirrored(points)
        curl = curls(p)
        value = joined(ellipsoid(p, skull, skull_size), ellipsoid(p, jaw, jaw_size), 0.25)
        locks = np.where(p[:, 2] > hairline - 0.6 * (p[:, 1] + 0.2), 1.0, 0.0)
        value = value - hair * np.clip(4 * (p[:, 2] - hairline + 0.8 * (p[:, 1] + 0.35)), 0, 1) * (
            0.7 + 0.6 * curl * locks
        )
        value = joined(value, capsule(p, brow, brow_end, 0.07, 0.05), 0.09)
        value = carved(value, ellipsoid(p, eye - [0, 0.06, 0], np.array([0.15, 0.12, 0.1])), 0.07)
        value = joined(value, ellipsoid(p, eye + [0, 0.06, 0], np.full(3, 0.11)), 0.015)
        value = joined(value, capsule(p, nose, tip, 0.05, nose_width), 0.08)
        nostril = tip + [nose_width * 0.9, 0.06, -0.02]
        value = joined(value, ellipsoid(p, nostril, np.full(3, 0.06)), 0.04)
        value = joined(value, ellipsoid(p, cheek, np.full(3, 0.16)), 0.15)
        value = joined(value, ellipsoid(p, chin, np.full(3, 0.14)), 0.15)
        middle = lips * [0, 1, 1] - [0, 0.06, 0]
        for rise in (lip, -lip):
            value = joined(value, capsule(p, middle + [0, 0, rise], lips + [0, 0.05, 0], lip, 0.02), 0.03)
        value = carved(value, capsule(p, middle - [0, lip, 0], lips, open_mouth, 0.01), 0.02)
        if beard:
            reach = np.clip(-3 * (p[:, 2] + 0.42), 0, 1) * np.clip(-4 * (p[:, 1] + 0.1), 0, 1)
            value = value - beard * reach * (0.8 + 0.6 * curl)
        value = joined(value, ellipsoid(p, ear, np.array([0.07, 0.14, 0.2])), 0.05)
        value = carved(value, ellipsoid(p, ear + [0.07, -0.04, 0.02], np.array([0.05, 0.07, 0.11])), 0.03)
        value = joined(
            value, capsule(p, np.array([0, 0.1, -0.5]), np.array([0, 0.16, -1.4]), 0.3, 0.36), 0.12
        )
        if bust:
            value = joined(value, ellipsoid(p, shoulders, np.array([0.98, 0.46, 0.42])), 0.25)
        return np.maximum(value, cut - p[:, 2])

    return level_set(field, np.array([-1.2, -1.1, -1.75]), np.array([1.2, 1.0, 1.15]), 44)


def animal(rng: Rng) -> Mesh:
    """A figurine of an animal: body, head with snout, eyes and ears, limbs, often a tail; it faces -y."""
    sitting = chance(rng, 0.5)
    body = np.array([rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5), rng.uniform(0.45, 0.7)])
    if not sitting:
        body = np.array([rng.uniform(0.25, 0.45), rng.uniform(0.5, 0.8), rng.uniform(0.25, 0.45)])
    head_size = rng.uniform(0.22, 0.42)
    head_at = np.array([0, -0.2, body[2] + 0.5 * head_size])
    if not sitting:
        head_at = np.array([0, -body[1] - 0.2 * head_size, body[2] * rng.uniform(0.2, 1.3)])
    shape = head_size * rng.uniform(0.85, 1.2, 3)
    snout, snout_radius = (
        head_at + head_size * np.array([0, -rng.uniform(0.8, 1.6), -0.25]),
        rng.uniform(0.3, 0.55),
    )
    ear_at = head_at + head_size * np.array([rng.uniform(0.4, 0.8), 0.1, 0.75])
    ear = head_size * np.array([rng.uniform(0.12, 0.35), 0.14, rng.uniform(0.2, 0.7)])
    eye_at = head_at + head_size * np.array([0.42, -0.75, 0.3])
    eye = head_size * rng.uniform(0.14, 0.3)
    leg, spread = rng.uniform(0.07, 0.16), rng.uniform(0.5, 0.95)
    front, back = -body[1] * (0.7 if not sitting else 0.6), body[1] * (0.7 if not sitting else 0.1)
    foot = -body[2] - rng.uniform(0.05, 0.5 if not sitting else 0.1)
    tail = rng.uniform(-0.3, 0.9, 3) * [1, 1, 1] + [0, 0.4, -0.3] if chance(rng, 0.6) else None
    wings = chance(rng, 0.25)
    softness, skin = rng.uniform(0.04, 0.15), wave_field(rng, 2, rng.uniform(4, 14))
    roughness = rng.uniform(0.0, 0.02)
    belly = rng.uniform(0.7, 0.95)

    def field(points: Array) -> Array:
        p = _mirrored(points)
        value = ellipsoid(p, np.zeros(3), body)
        value = joined(value, ellipsoid(p, np.array([0, -0.25 * body[1], -0.2 * body[2]]), belly * body), 0.1)
        neck = 0.6 * head_size
        value = joined(value, capsule(p, head_at * 0.4, head_at, neck, neck), 0.15)
        value = joined(value, ellipsoid(p, head_at, shape), softness)
        value = joined(
            value, capsule(p, head_at, snout, snout_radius * head_size, 0.7 * snout_radius * head_size), 0.06
        )
        value = joined(value, ellipsoid(p, ear_at, ear), 0.04)
        value = carved(value, ellipsoid(p, ear_at - [0, ear[1], 0], 0.7 * ear), 0.02)
        value = carved(value, ellipsoid(p, eye_at, np.full(3, 1.25 * eye)), 0.02)
        value = joined(value, ellipsoid(p, eye_at + [0, 0.3 * eye, 0], np.full(3, eye)), 0.008)
        shoulder = np.array([spread * body[0], front, 0.2 * body[2]])
        paw = np.array([spread * body[0] * 1.15, front - 0.12, foot])
        value = joined(value, capsule(p, shoulder, paw, leg * 1.3, leg), softness)
        hip = np.array([spread * body[0], back, -0.3 * body[2]])
        value = joined(value, ellipsoid(p, hip, np.array([0.16, 0.22, 0.22])), softness)
        toe = np.array([spread * body[0] * 1.2, back - (0.35 if sitting else 0.0), foot])
        value = joined(value, capsule(p, hip, toe, leg * 1.3, leg), softness)
        for end in (paw, toe):
            value = joined(value, ellipsoid(p, end - [0, leg, 0], leg * np.array([1.1, 1.7, 0.8])), 0.05)
        if wings:
            value = joined(
                value, ellipsoid(p, np.array([body[0] * 1.1, 0.1, 0.1]), np.array([0.07, 0.3, 0.42])), 0.05
            )
        if tail is not None:
            root = np.array([0, 0.8 * body[1], -0.4 * body[2]])
            value = joined(value, capsule(points, root, root + tail * [0.5, 1, 0.7], 0.13, 0.04), 0.08)
        return value + roughness * skin(p)

    return level_set(field, np.array([-0.95, -1.75, -1.35]), np.array([0.95, 1.75, 1.7]), 54)


def fruit(rng: Rng) -> Mesh:
    """A pear, apple, lemon or pumpkin: a turned form with dimples, ribs and a stem."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)[:, None]
    rise = np.linspace(0, np.pi, 26)[None]
    neck, dimple = rng.uniform(0, 0.45), rng.uniform(0, 0.35)
    radius = np.sin(rise) * (1 - neck * (1 + np.cos(rise)) / 2)
    height = np.cos(rise) * (1 + 0.7 * neck) - dimple * np.exp(-((rise / 0.4) ** 2))
    height = height + 0.5 * dimple * np.exp(-(((rise - np.pi) / 0.3) ** 2))
    ribs = rng.uniform(0.02, 0.12) if chance(rng, 0.25) else 0.0
    wobble = 1 + ribs * np.abs(np.sin(turn * rng.integers(3, 7))) + 0.03 * np.cos(turn + 6 * rng.random())
    points = np.stack([radius * wobble * np.cos(turn), radius * wobble * np.sin(turn), height + 0 * turn], -1)
    body = grid(points, wrap=True, crease_deg=75.0)
    top = float(height.max()) if dimple < 0.05 else 1 + 0.7 * neck - dimple
    lean = np.array([*rng.normal(0, 0.12, 2), rng.uniform(0.2, 0.4)])
    return merged([body, rod(np.array([0, 0, top - 0.05]), np.array([0, 0, top]) + lean, 0.05, 0.035, 8)])


def relief_panel(rng: Rng) -> Mesh:
    """A slab, plaque or coin with a carved face: mouldings, bosses and figures on its -y side."""
    count, wide = 52, rng.uniform(0.7, 1.3)
    x, z = np.meshgrid(np.linspace(-wide, wide, count), np.linspace(-1, 1, count), indexing="ij")
    flat = np.stack([x, 0 * x, z], -1)
    rise = 0.05 * wave_field(rng, 3, rng.uniform(2, 5))(flat) * pick(rng, (0, 0, 1))
    for _ in range(rng.integers(1, 12)):
        at, size = rng.uniform(-0.7, 0.7, 2) * [wide, 1], rng.uniform(0.1, 0.4, 2)
        spin = rng.random() * np.pi
        u = ((x - at[0]) * np.cos(spin) + (z - at[1]) * np.sin(spin)) / size[0]
        v = ((z - at[1]) * np.cos(spin) - (x - at[0]) * np.sin(spin)) / size[1]
        dome = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        rise = np.maximum(rise, rng.uniform(0.05, 0.2) * dome) if chance(rng, 0.8) else rise - 0.12 * dome
    edge = np.minimum(wide - np.abs(x), 1 - np.abs(z))
    if chance(rng, 0.6):
        rise = rise + 0.1 * np.exp(-(((edge - 0.12) / 0.05) ** 2))
    face = grid(np.stack([x, -0.12 - rise * np.clip(edge * 12, 0, 1), z], -1), crease_deg=60.0)
    return merged([face, box((2 * wide, 0.2, 2), (0, -0.02, 0))])


def pedestal(rng: Rng, height: float, reach: float) -> Mesh:
    """A turned or square plinth with mouldings: its height, and about half its width."""
    if chance(rng, 0.5):
        sizes = [
            (reach * 2.2, 0.12),
            (reach * 1.9, 0.06),
            (reach * 1.6, 0.64),
            (reach * 1.9, 0.06),
            (reach * 2.1, 0.12),
        ]
        parts, at = [], 0.0
        for wide, share in sizes:
            parts.append(box((wide, wide, share * height), (0, 0, at + share * height / 2)))
            at += share * height
        return merged(parts)
    levels = np.array([0, 0, 0.08, 0.1, 0.16, 0.2, 0.8, 0.84, 0.9, 0.92, 1, 1]) * height
    widths = np.array([0, 1.2, 1.2, 1.05, 1.05, 0.85, rng.uniform(0.65, 0.85), 1.0, 1.0, 1.1, 1.1, 0]) * reach
    return revolved(np.stack([widths, levels], 1), 28)
