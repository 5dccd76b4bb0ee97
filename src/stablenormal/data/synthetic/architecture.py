"""Bare buildings from inside: walls at any angle, sloped ceilings, niches, columns, arches, steps."""

import numpy as np

from stablenormal.data.synthetic import thin
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.draws import Array, Rng, chance, pick
from stablenormal.data.synthetic.meshes import (
    Mesh,
    box,
    cylinder,
    grid,
    merged,
    mesh_from_faces,
    rod,
    rotation,
    transformed,
    translation,
)
from stablenormal.data.synthetic.placing import put_furniture, put_shape
from stablenormal.data.synthetic.scene import Scene, SceneBuilder


def architecture(rng: Rng, bank: Bank) -> Scene:
    """A room with a crooked plan, a hall, an attic or a stairwell, with little in it."""
    build = SceneBuilder("architecture")
    plan = _plan(rng)
    eaves = rng.uniform(2.2, 3.6)
    build.add(_floor_of(plan), build.slot("floor"), build.instance("floor"))
    height = _ceiling(build, rng, plan, eaves)
    paint = build.slot("wall")
    for start, end in zip(plan, np.roll(plan, -1, 0), strict=True):
        _wall(build, rng, start, end, height, paint if chance(rng, 0.75) else build.slot("wall"))
    low, high = np.array([*plan.min(0), 0]), np.array([*plan.max(0), eaves])
    focuses = [np.array([*(rng.uniform(0.3, 0.9) * corner), rng.uniform(0.3, 2.0)]) for corner in plan]
    for _ in range(rng.integers(0, 4)):
        at = plan[rng.integers(len(plan))] * rng.uniform(0.3, 0.75)
        radius = rng.uniform(0.08, 0.3)
        column = cylinder(radius, height, (*at, height / 2), 28)
        if chance(rng, 0.5):
            caps = [box((radius * 3, radius * 3, 0.15), (*at, z)) for z in (0.075, height - 0.2)]
            column = merged([column, *caps])
        build.add(column, build.slot("wall"), build.instance("wall"))
        focuses.append(np.array([*at, 1.2]))
    if chance(rng, 0.6):
        focuses += _flight(build, rng, plan)
    pieces = bank.of_kind(
        "chair", "crates", "radiator", "railing", "ladder", "lamp", "table", "plant", "rack"
    )
    for _ in range(rng.integers(0, 4)):
        at = rng.uniform(-0.5, 0.5, 2) * np.abs(plan).min(0)
        put_furniture(
            build, rng, pick(rng, pieces), translation([*at, 0]) @ rotation([0, 0, 1], rng.random() * 6)
        )
        focuses.append(np.array([*at, 0.6]))
    for _ in range(rng.integers(0, 4)):
        at = np.array([*rng.uniform(-0.6, 0.6, 2) * np.abs(plan).min(0), 0.001])
        put_shape(build, rng, pick(rng, bank.shapes), at, rng.uniform(0.1, 0.4))
    inner = float(np.linalg.norm(plan, axis=1).min()) * 0.55
    for _ in range(rng.integers(1, 4)):
        at = (*rng.uniform(-inner, inner, 2), eaves - 0.05)
        size = rng.uniform(0.15, 0.5)
        build.add_box((size, size, 0.05), at, build.slot("any", rng.uniform(1, 6)), build.instance("lamp"))
    low[:2], high[:2] = np.maximum(low[:2], -inner), np.minimum(high[:2], inner)
    return build.bake(low, high, focuses=focuses)


def _plan(rng: Rng) -> Array:
    """Corners (K, 2) of a floor that can be seen whole from its middle, counter-clockwise."""
    count = int(pick(rng, (4, 4, 5, 6, 7, 8)))
    turn = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count * 2 * np.pi + rng.random() * 2 * np.pi
    reach = rng.uniform(1.8, 4.5, count) * rng.uniform(0.7, 1.2)
    return (
        np.stack([np.cos(turn), np.sin(turn)], 1) * np.maximum(reach, 1.6)[:, None] * rng.uniform(0.8, 1.3, 2)
    )


def _floor_of(plan: Array, height: float = 0.0) -> Mesh:
    points = np.column_stack([np.vstack([[[0, 0]], plan * 1.7]), np.full(len(plan) + 1, height)])
    ring = np.arange(len(plan))
    return mesh_from_faces(points, np.stack([0 * ring, ring + 1, (ring + 1) % len(plan) + 1], 1))


def _ceiling(build: SceneBuilder, rng: Rng, plan: Array, eaves: float) -> float:
    """Add a flat, sloped, folded or vaulted ceiling; returns how high walls must reach."""
    slot, this = build.slot("ceiling"), build.instance("ceiling")
    reach = float(np.abs(plan).max()) * 1.3
    style = rng.integers(4)
    if style == 0:
        build.add(_floor_of(plan, eaves), slot, this)
        return eaves
    spin = rotation([0, 0, 1], rng.random() * 2 * np.pi)
    slope = rng.uniform(0.2, 1.1)
    if style == 1:  # a lean-to
        profile = [(-reach, eaves + 0.4 * slope * reach), (reach, eaves - 0.25 * slope * reach)]
    elif style == 2:  # a gable
        flat = rng.uniform(0, 0.3) * reach
        top = eaves + slope * (0.6 * reach - flat)
        profile = [
            (-reach, eaves - 0.4 * slope * reach),
            (-flat, top),
            (flat, top),
            (reach, eaves - 0.4 * slope * reach),
        ]
    else:  # a barrel vault
        turn = np.linspace(np.pi, 0, 25)
        profile = [(reach * np.cos(a), eaves + slope * 0.8 * reach * (np.sin(a) - 0.55)) for a in turn]
    lattice = np.array([[[x, y, max(z, 0.3)] for x, z in profile] for y in (-reach, reach)])
    build.add(transformed(grid(lattice), spin), slot, this)
    if style != 3 and chance(rng, 0.5):  # beams along the slope
        wood = build.slot("furniture")
        for y in np.arange(-reach, reach, rng.uniform(0.6, 1.4)):
            for (x, z), (x2, z2) in zip(profile[:-1], profile[1:], strict=True):
                a, b = (
                    (spin @ np.array([x, y, max(z, 0.3) - 0.06, 1]))[:3],
                    (spin @ np.array([x2, y, max(z2, 0.3) - 0.06, 1]))[:3],
                )
                if np.linalg.norm(b - a) > 0.1:
                    build.add(rod(a, b, 0.09, sections=4), wood, this)
    return float(max(z for _, z in profile)) + 0.1


def _wall(build: SceneBuilder, rng: Rng, start: Array, end: Array, height: float, slot: int) -> None:
    """A wall between two corners: plain, or with a niche, pilasters, panels or blocks."""
    along = end - start
    long = float(np.linalg.norm(along))
    pose = translation([*start, 0]) @ rotation([0, 0, 1], float(np.arctan2(along[1], along[0])))
    this = build.instance("wall")  # the room lies at +y of the wall

    def block(x: float, z: float, wide: float, tall: float, out: float, thick: float, colour: int) -> None:
        build.add(box((wide, thick, tall)), colour, this, pose @ translation([x, out - thick / 2, z]))

    style = rng.integers(5)
    if style == 0 and long > 1.5:  # a niche or an alcove, or a passage
        wide, deep = rng.uniform(0.5, min(1.6, long - 0.6)), rng.uniform(0.15, 0.9)
        low = 0.0 if chance(rng, 0.5) else rng.uniform(0.4, 1.2)
        top = min(low + rng.uniform(0.6, 2.1), height - 0.2)
        x = rng.uniform(0.3 + wide / 2, long - 0.3 - wide / 2)
        inside = slot if chance(rng, 0.5) else build.slot("wall")
        block((x - wide / 2) / 2, height / 2, x - wide / 2, height, 0, deep + 0.1, slot)
        block((x + wide / 2 + long) / 2, height / 2, long - x - wide / 2, height, 0, deep + 0.1, slot)
        block(x, (top + height) / 2, wide, height - top, 0, deep + 0.1, slot)
        if low > 0:
            block(x, low / 2, wide, low, 0, deep + 0.1, slot)
        block(x, height / 2, wide, height, -deep, 0.1, inside)
        return
    block(long / 2, height / 2, long + 0.2, height, 0, 0.1, slot)
    if style == 1:
        for x in np.linspace(0, long, max(2, int(long / rng.uniform(0.7, 1.5))))[1:-1]:
            block(x, height / 2, 0.25, height, 0.12, 0.12, slot)
    elif style == 2:
        panel = build.slot("furniture")
        tall = rng.uniform(0.7, 1.4)
        block(long / 2, tall / 2, long, tall, 0.03, 0.03, panel)
        count = max(1, int(long / rng.uniform(0.4, 0.9)))
        for k in range(count):
            block((k + 0.5) * long / count, tall / 2, long / count - 0.12, tall - 0.16, 0.05, 0.02, panel)
    elif style == 3:
        for _ in range(rng.integers(1, 4)):
            wide, tall = rng.uniform(0.3, 1.0, 2)
            block(
                rng.uniform(0.2, 0.8) * long,
                rng.uniform(0.5, 2),
                wide,
                tall,
                rng.uniform(0.05, 0.4),
                0.5,
                build.slot("any"),
            )
    if chance(rng, 0.6):
        block(long / 2, 0.06, long, 0.12, 0.02, 0.02, build.slot("furniture"))


def _flight(build: SceneBuilder, rng: Rng, plan: Array) -> list[Array]:
    """Stairs or a platform, and a railing; returns points to look at."""
    count, wide = int(rng.integers(3, 12)), rng.uniform(0.8, 2.0)
    tread, riser = rng.uniform(0.24, 0.34), rng.uniform(0.12, 0.2)
    corner = plan[rng.integers(len(plan))]
    heading = float(np.arctan2(corner[1], corner[0])) - np.pi / 2
    pose = rotation([0, 0, 1], heading) @ translation([0, rng.uniform(0.2, 1.2), 0])
    build.add(thin.steps(rng, wide, count, tread, riser), build.slot("floor"), build.instance("floor"), pose)
    run, rise = count * tread, count * riser
    landing = box((wide, 2.0, rise))
    build.add(
        landing, build.slot("floor"), build.instance("floor"), pose @ translation([0, run + 1.0, rise / 2])
    )
    if chance(rng, 0.7):
        bars = thin.balusters(rng, run, rng.uniform(0.8, 1.0), rise)
        side = pick(rng, (-1, 1)) * (wide / 2 - 0.05)
        placed = pose @ translation([side, 0, riser]) @ rotation([0, 0, 1], np.pi / 2)
        build.add(
            bars, build.slot("metal" if chance(rng, 0.5) else "furniture"), build.instance("object"), placed
        )
    return [(pose @ np.array([0, run * t, rise * t + 0.3, 1]))[:3] for t in (0.2, 0.5, 0.8)]
