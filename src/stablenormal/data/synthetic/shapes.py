"""Single objects: smooth organic forms, turned and boxed things, cloth and paper. Each fits the unit ball."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from stablenormal.data.synthetic import sculptures, sheets, thin
from stablenormal.data.synthetic.draws import Array, Rng, chance, direction, pick
from stablenormal.data.synthetic.meshes import (
    Faces,
    Mesh,
    box,
    cylinder,
    fitted_to_unit_ball,
    grid,
    merged,
    mesh_from_faces,
    moved,
    revolved,
    rod,
    rotation,
    rounded_box,
    scaling,
    sphere,
    sphere_points,
    transformed,
    translation,
    tube,
    with_normals,
)
from stablenormal.data.synthetic.sheets import crumpled_sheet
from stablenormal.data.synthetic.waves import waves


@dataclass(frozen=True)
class Shape:
    """An object of the bank."""

    mesh: Mesh
    """Inside the unit ball, z up as the object usually stands."""
    kind: str
    """A key of `MAKERS`."""
    role: str
    """What it may be made of: a key of materials.ROLES."""
    label: str
    """A name of sample.CLASSES."""
    upright: bool
    """Whether it usually stands as it is modelled (a cup) or lies anyhow (a stone)."""


def figurine(rng: Rng, count: int = 40) -> Mesh:
    """A mirrored union of soft ellipsoids, like an animal, a statue or a head, sometimes with relief.

    Args:
        rng: source of all choices.
        count: points along each side of the lattice from which its triangles are cut.
    """
    from skimage.measure import marching_cubes  # of the extra "synth"

    axis = np.linspace(-1.25, 1.25, count)
    space = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    softness, total = rng.uniform(8, 30), np.zeros(space.shape[:3])
    centres = [np.zeros(3)]
    for _ in range(rng.integers(3, 13)):
        centre = np.clip(pick(rng, centres) + rng.uniform(0.2, 0.6) * direction(rng), -0.8, 0.8)
        centres.append(centre)
        radii = rng.uniform(0.12, 0.45, 3) * rng.uniform(0.5, 1.0)
        turn = rotation(direction(rng), rng.random() * 2 * np.pi)[:3, :3]
        for side in (1, -1) if chance(rng, 0.8) else (1,):
            local = (space * [side, 1, 1] - centre) @ turn
            distance = (np.linalg.norm(local / radii, axis=-1) - 1) * radii.min()
            total += np.exp(-softness * np.clip(distance, -2, 2))
    field = -np.log(total + 1e-9) / softness
    if chance(rng, 0.5):
        relief = waves(rng, space.reshape(-1, 3), 2, rng.uniform(2, 6)).reshape(field.shape)
        field = field + rng.uniform(0.01, 0.05) * relief
    field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = 1.0  # closed at the walls of the lattice
    surface: Callable[..., tuple[Array, Faces, Array, Array]] = marching_cubes  # scikit-image has no types
    points, faces, _, _ = surface(field, 0.0)
    slope = np.stack([map_coordinates(part, points.T, order=1) for part in np.gradient(field)], 1)
    normals = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    return with_normals(points / (count - 1) * 2.5 - 1.25, faces.astype(np.int64), normals)


def blob(rng: Rng) -> Mesh:
    """A stone, fruit or potato: a sphere pushed in and out by smooth waves."""
    points, faces = sphere_points(4)
    reach = 1 + rng.uniform(0.05, 0.35) * waves(rng, points, int(rng.integers(1, 4)), rng.uniform(1, 3))
    return mesh_from_faces(points * reach[:, None] * rng.uniform(0.6, 1.2, 3), faces, 75.0)


def superquadric(rng: Rng) -> Mesh:
    """Between ball, box, pillow and diamond."""
    power_u, power_v = rng.uniform(0.15, 2.0, 2)
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)[:, None]
    rise = np.linspace(-np.pi / 2, np.pi / 2, 22)[None]
    waist = _signed_power(np.cos(rise), power_v)
    points = np.stack(
        [
            waist * _signed_power(np.cos(turn), power_u),
            waist * _signed_power(np.sin(turn), power_u),
            _signed_power(np.sin(rise), power_v) + 0 * turn,
        ],
        -1,
    )
    return grid(points * rng.uniform(0.4, 1, 3), wrap=True)


def _signed_power(value: Array, power: float) -> Array:
    return np.sign(value) * np.abs(value) ** power


def vase(rng: Rng) -> Mesh:
    """A turned form with a smooth profile, closed."""
    knots = int(rng.integers(3, 7))
    height = np.linspace(0, 1, 26)
    radius = np.interp(height, np.linspace(0, 1, knots), rng.uniform(0.2, 1, knots))
    radius = gaussian_filter(radius, 1.8, mode="nearest")
    profile = np.stack(
        [np.concatenate([[0], radius, [0]]), np.concatenate([[0], height, [1]]) * rng.uniform(1, 3)], 1
    )
    return revolved(profile, 32)


def bottle(rng: Rng) -> Mesh:
    """Body, shoulder, neck and cap."""
    body, neck = rng.uniform(0.25, 0.5), rng.uniform(0.08, 0.16)
    tall, throat = rng.uniform(0.8, 1.6), rng.uniform(0.15, 0.6)
    slope = rng.uniform(0.1, 0.5)
    ease = (1 - np.cos(np.linspace(0, np.pi, 9))) / 2
    shoulder = np.stack([body + (neck - body) * ease, tall + slope * np.linspace(0, 1, 9)], 1)
    rim = tall + slope + throat
    cap = neck * rng.uniform(1.0, 1.5)
    foot = np.array([[0, 0], [body * 0.9, 0], [body, 0.05 * tall]])
    top = np.array([[neck, rim], [cap, rim], [cap, rim + rng.uniform(0.05, 0.2)], [0, rim + 0.2]])
    mesh = revolved(np.vstack([foot, shoulder, top]), 28, 32.0)
    return transformed(mesh, scaling([1, rng.uniform(0.4, 0.8), 1])) if chance(rng, 0.2) else mesh


def cup(rng: Rng) -> Mesh:
    """An open vessel with a wall and sometimes a handle: cups, bowls, glasses."""
    height, wall = rng.uniform(0.6, 2.0), rng.uniform(0.03, 0.08)
    knots, along = int(rng.integers(2, 5)), np.linspace(0, 1, 16)
    radius = np.interp(along, np.linspace(0, 1, knots), rng.uniform(0.4, 0.8, knots))
    radius = gaussian_filter(radius, 1.0, mode="nearest")
    outside = np.stack([radius, along * height], 1)
    inside = np.stack([radius - wall, np.clip(along, 0.06, 1) * height], 1)[::-1]
    body = revolved(np.vstack([[[0, 0]], outside, inside, [[0, 0.06 * height]]]), 30)
    if not chance(rng, 0.5):
        return body
    turn = np.linspace(-np.pi / 2, np.pi / 2, 14)
    reach = np.stack(
        [
            0.28 * height * np.cos(turn) + radius.mean() - wall,
            0 * turn,
            height / 2 + 0.28 * height * np.sin(turn),
        ],
        1,
    )
    return merged([body, tube(reach, rng.uniform(0.04, 0.08))])


def folded_cloth(rng: Rng) -> Mesh:
    """Draped cloth: long soft folds with a few pleats."""
    size = 44
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis * rng.uniform(0.6, 1.0), indexing="ij")
    flat = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    z = rng.uniform(0.05, 0.25) * waves(rng, flat, 3, rng.uniform(1.0, 3.0)).reshape(x.shape)
    for _ in range(rng.integers(1, 4)):
        along = rng.normal(0, 1, 2) @ np.stack([x.ravel(), y.ravel()])
        bend = 1.5 * waves(rng, flat, 1, 1.0)
        z = z + rng.uniform(0.03, 0.12) * np.sin(rng.uniform(3, 9) * along + bend).reshape(x.shape)
    return grid(np.stack([x, y, z], -1), crease_deg=70.0)


def cushion(rng: Rng) -> Mesh:
    """A stuffed pillow: two bulging sides, a seam, soft dents."""
    size = 26
    axis = np.sin(np.linspace(-np.pi / 2, np.pi / 2, size))
    u, v = np.meshgrid(axis, axis, indexing="ij")
    puff = ((1 - u**2) * (1 - v**2)).clip(0) ** rng.uniform(0.3, 0.6) * rng.uniform(0.25, 0.55)
    pinch = (
        1
        - rng.uniform(0, 0.15) * (1 - np.maximum(np.abs(u), np.abs(v)) ** 4) * 0
        - rng.uniform(0, 0.12) * (1 - u**2 * v**2)
    )
    width = rng.uniform(0.6, 1.0)
    flat = np.stack([u, v, 0 * u], -1).reshape(-1, 3)
    sides = []
    for side in (1, -1):
        dents = 1 + rng.uniform(0, 0.25) * waves(rng, flat, 2, rng.uniform(2, 5)).reshape(u.shape)
        sides.append(grid(np.stack([u * pinch, v * pinch * width, side * puff * dents], -1), crease_deg=75.0))
    return merged(sides)


def sharp_box(rng: Rng) -> Mesh:
    """A carton or block with sharp edges."""
    return box(rng.uniform(0.25, 1.0, 3))


def soft_box(rng: Rng) -> Mesh:
    """A case or device with rounded edges."""
    return rounded_box(rng.uniform(0.3, 1.0, 3), 0.01 + 0.12 * rng.random() ** 2)


def open_box(rng: Rng) -> Mesh:
    """An open carton with flaps, or a tray, or a drawer."""
    width, depth, height = rng.uniform(0.4, 1.0, 3)
    wall = rng.uniform(0.01, 0.04)
    parts = [box((width, depth, wall), (0, 0, wall / 2))]
    for side in (-1, 1):
        parts.append(box((wall, depth, height), (side * width / 2, 0, height / 2)))
        parts.append(box((width, wall, height), (0, side * depth / 2, height / 2)))
        if chance(rng, 0.5):
            flap = moved(box((width * 0.45, depth, wall / 2)), (side * width * 0.22, 0, 0))
            tilt = rotation([0, 1, 0], -side * rng.uniform(-1.2, 1.3))
            parts.append(transformed(flap, translation((side * width / 2, 0, height)) @ tilt))
    return merged(parts)


def books(rng: Rng) -> Mesh:
    """A stack of books, each a little turned."""
    parts, height = [], 0.0
    for _ in range(rng.integers(1, 6)):
        thick = rng.uniform(0.06, 0.2)
        cover = box((rng.uniform(0.7, 1.1), rng.uniform(0.5, 0.8), thick))
        turned = transformed(cover, rotation([0, 0, 1], rng.normal(0, 0.25)))
        parts.append(moved(turned, (rng.normal(0, 0.03), 0, height + thick / 2)))
        height += thick + 0.002
    return merged(parts)


def round_thing(rng: Rng) -> Mesh:
    """Ball, can, cone, ring, disc or half shell."""
    kind = rng.integers(6)
    if kind == 0:
        return sphere(1.0, 4)
    if kind == 1:
        return cylinder(rng.uniform(0.2, 0.6), rng.uniform(0.3, 1.8), sections=32)
    if kind == 2:
        return revolved(np.array([[0, 0], [rng.uniform(0.3, 0.8), 0], [rng.uniform(0, 0.3), 1], [0, 1]]), 36)
    if kind == 3:
        ring, bar = np.linspace(0, 2 * np.pi, 25), rng.uniform(0.08, 0.35)
        return revolved(np.stack([0.8 + bar * np.cos(ring), bar * np.sin(ring)], 1), 36, 75.0)
    if kind == 4:
        return cylinder(1.0, rng.uniform(0.05, 0.2), sections=40)
    angle = np.linspace(-np.pi / 2, -0.05, 12)
    outside = np.stack([np.cos(angle), np.sin(angle)], 1)
    return revolved(np.vstack([outside, outside[::-1] * 0.92]), 36)


def wire_frame(rng: Rng) -> Mesh:
    """A rack, cage or stand: thin bars along the edges of a box, and slats."""
    half = rng.uniform(0.3, 1.0, 3)
    radius = rng.uniform(0.015, 0.05)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    parts = [
        rod(a, b, radius, sections=8)
        for i, a in enumerate(corners)
        for b in corners[i + 1 :]
        if (np.abs(a - b) > 1e-6).sum() == 1
    ]
    for x in np.linspace(-half[0], half[0], rng.integers(3, 9))[1:-1]:
        parts.append(
            rod(np.array([x, -half[1], -half[2]]), np.array([x, -half[1], half[2]]), radius * 0.7, sections=8)
        )
    return merged(parts)


def cable(rng: Rng) -> Mesh:
    """A loose wire on the ground."""
    along = np.linspace(0, 1, 70)
    path = np.stack(
        [
            sum(rng.normal() * np.sin(k * np.pi * along + rng.random() * 6) / k for k in (1, 2, 3, 5))
            for _ in range(3)
        ],
        1,
    )
    return tube(path * [1, 1, 0.08], rng.uniform(0.012, 0.05))


def leafy_plant(rng: Rng) -> Mesh:
    """Branching stems with bent leaves."""
    parts: list[Mesh] = []

    def grow(start: Array, heading: Array, length: float, radius: float, level: int) -> None:
        end = start + heading * length
        parts.append(rod(start, end, radius, radius * 0.65, sections=6))
        if level == 0:
            parts.extend(_leaf(rng, end) for _ in range(4))
            return
        for _ in range(rng.integers(2, 4)):
            turned = heading + rng.standard_normal(3) * 0.55
            grow(
                end,
                turned / np.linalg.norm(turned),
                length * rng.uniform(0.6, 0.85),
                radius * 0.65,
                level - 1,
            )

    grow(np.zeros(3), np.array([0, 0, 1.0]), 0.3, 0.02, int(rng.integers(2, 4)))
    return merged(parts)


def _leaf(rng: Rng, at: Array) -> Mesh:
    along = direction(rng)
    across = np.cross(along, direction(rng))
    across /= np.linalg.norm(across)
    t, size = np.linspace(0, 1, 6), rng.uniform(0.08, 0.2)
    spine = at + size * (t[:, None] * along - [0, 0, 0.6] * t[:, None] ** 2)
    half_width = 0.3 * size * np.sin(np.pi * t)[:, None] * across
    return grid(np.stack([spine - half_width, spine, spine + half_width]), crease_deg=75.0)


MAKERS: dict[str, tuple[float, Callable[[Rng], Mesh], str, str, bool]] = {
    "figurine": (0.08, figurine, "object", "object", False),
    "blob": (0.05, blob, "object", "object", False),
    "superquadric": (0.03, superquadric, "object", "object", False),
    "head": (0.05, sculptures.head, "statue", "object", True),
    "animal": (0.08, sculptures.animal, "statue", "object", True),
    "relief": (0.02, sculptures.relief_panel, "statue", "object", True),
    "fruit": (0.03, sculptures.fruit, "object", "object", True),
    "vase": (0.04, vase, "vessel", "object", True),
    "bottle": (0.1, bottle, "glass", "object", True),
    "cup": (0.08, cup, "vessel", "object", True),
    "crumpled": (0.05, crumpled_sheet, "paper", "object", False),
    "folded": (0.03, sheets.folded_sheet, "paper", "object", False),
    "page": (0.02, sheets.curled_page, "paper", "object", False),
    "paper_ball": (0.02, sheets.paper_ball, "paper", "object", False),
    "pouch": (0.03, sheets.pouch, "packet", "object", False),
    "cloth": (0.02, folded_cloth, "soft", "object", False),
    "heap": (0.04, sheets.heap_of_cloth, "soft", "object", False),
    "cushion": (0.03, cushion, "soft", "object", False),
    "box": (0.07, sharp_box, "packet", "object", True),
    "case": (0.04, soft_box, "packet", "object", True),
    "carton": (0.03, open_box, "object", "object", True),
    "books": (0.04, books, "paper", "book", True),
    "round": (0.05, round_thing, "object", "object", False),
    "frame": (0.01, wire_frame, "metal", "object", True),
    "grille": (0.02, thin.grille, "metal", "object", True),
    "basket": (0.02, thin.basket, "plastic", "object", True),
    "wire": (0.01, thin.bent_wire, "metal", "object", True),
    "cable": (0.01, cable, "plastic", "object", True),
    "plant": (0.01, leafy_plant, "leaf", "plant", True),
    "bush": (0.02, thin.bush, "leaf", "plant", True),
    "tuft": (0.01, thin.tuft, "leaf", "plant", True),
    "palm": (0.01, thin.curved_blade, "leaf", "plant", True),
}
"""Shape kind -> share of a bank, maker, material role, class, whether it usually stands upright."""


def make_shape(rng: Rng, kind: str) -> Shape:
    """One object of this kind, fitted to the unit ball."""
    _, maker, role, label, upright = MAKERS[kind]
    return Shape(fitted_to_unit_ball(maker(rng)), kind, role, label, upright)
