"""Fittings from parts: appliances, stacks of crates, radiators, railings, racks, ladders, stairs.

Each stands on z = 0 about the origin, faces -y, and has its back at +y. Metres.
"""

import numpy as np

from stablenormal.data.synthetic import thin
from stablenormal.data.synthetic.draws import Rng, chance
from stablenormal.data.synthetic.meshes import (
    Mesh,
    box,
    cylinder,
    merged,
    moved,
    rod,
    rotation,
    rounded_box,
    transformed,
    translation,
)
from stablenormal.data.synthetic.pieces import Furniture, Part


def appliance(rng: Rng) -> Furniture:
    """An oven, washing machine, fridge, cooker, microwave or speaker: a box with a panelled front."""
    width, depth, height = rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.7), rng.uniform(0.3, 1.9)
    front = -depth / 2
    parts = [
        Part(
            rounded_box((width, depth, height), rng.uniform(0.005, 0.03), (0, 0, height / 2)),
            "appliance",
            "cabinet",
        )
    ]
    doors, handles, glass = [], [], []
    rows = max(1, round(height / rng.uniform(0.4, 0.9)))
    edges = np.sort(np.concatenate([[0.03, 1], rng.uniform(0.15, 0.9, rows - 1)])) * height
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        wide, tall, middle = width - 0.02, max(high - low - 0.012, 0.02), (low + high) / 2
        doors.append(rounded_box((wide, 0.03, tall), 0.006, (0, front - 0.015, middle)))
        kind = rng.integers(4)
        if kind == 0 and tall > 0.2:  # a round door, as of a washing machine
            ring = cylinder(0.38 * min(wide, tall), 0.05, sections=32)
            handles.append(
                transformed(ring, translation([0, front - 0.05, middle]) @ rotation([1, 0, 0], np.pi / 2))
            )
            dome = cylinder(0.28 * min(wide, tall), 0.08, sections=32)
            glass.append(
                transformed(dome, translation([0, front - 0.05, middle]) @ rotation([1, 0, 0], np.pi / 2))
            )
        elif kind == 1 and tall > 0.2:  # a window
            glass.append(box((wide * 0.7, 0.012, tall * 0.55), (0, front - 0.031, middle)))
        if kind != 0:
            bar = np.array([wide * 0.4, 0, 0]) if chance(rng, 0.6) else np.array([0, 0, tall * 0.4])
            at = (
                np.array([0, front - 0.07, high - 0.06])
                if bar[0]
                else np.array([wide * 0.42, front - 0.07, middle])
            )
            handles.append(rod(at - bar, at + bar, 0.01, sections=8))
            handles += [
                rod(at + s * bar * 0.85, at + s * bar * 0.85 + [0, 0.05, 0], 0.008, sections=6)
                for s in (-1, 1)
            ]
        if chance(rng, 0.4):
            for x in np.linspace(-0.4, 0.4, int(rng.integers(2, 7))) * wide:
                knob = cylinder(0.018, 0.03, sections=14)
                handles.append(
                    transformed(
                        knob, translation([x, front - 0.04, high - 0.035]) @ rotation([1, 0, 0], np.pi / 2)
                    )
                )
    parts.append(Part(merged(doors), "appliance", "cabinet"))
    if glass:
        parts.append(Part(merged(glass), "screen", "cabinet"))
    if handles:
        parts.append(Part(merged(handles), "metal", "cabinet"))
    return Furniture("appliance", tuple(parts), (width * 0.4, depth * 0.35, height), against_wall=True)


def crates(rng: Rng) -> Furniture:
    """A stack of cartons, crates or suitcases, each a little turned and drawn in."""
    parts, level, reach = [], 0.0, 0.0
    for _ in range(rng.integers(2, 6)):
        wide, deep, tall = rng.uniform(0.3, 0.8), rng.uniform(0.25, 0.5), rng.uniform(0.12, 0.5)
        pose = translation([rng.normal(0, 0.05), rng.normal(0, 0.03), level]) @ rotation(
            [0, 0, 1], rng.normal(0, 0.15)
        )
        style = rng.integers(4)
        if style == 0:
            body = rounded_box((wide, deep, tall), rng.uniform(0.01, 0.06), (0, 0, tall / 2))
        elif style == 1:  # boards with gaps
            boards = [
                box((wide, 0.015, tall / 4 * 0.8), (0, side * deep / 2, tall * (k + 0.5) / 4))
                for side in (-1, 1)
                for k in range(4)
            ]
            boards += [
                box((0.015, deep, tall / 4 * 0.8), (side * wide / 2, 0, tall * (k + 0.5) / 4))
                for side in (-1, 1)
                for k in range(4)
            ]
            boards += [
                box((0.03, 0.03, tall), (x * wide / 2, y * deep / 2, tall / 2))
                for x in (-1, 1)
                for y in (-1, 1)
            ]
            body = merged([*boards, box((wide, deep, 0.015), (0, 0, 0.0075))])
        else:
            body = box((wide, deep, tall), (0, 0, tall / 2))
            if chance(rng, 0.4):  # tape over the lid
                body = merged([body, box((wide + 0.004, 0.05, tall + 0.004), (0, 0, tall / 2))])
        parts.append(
            Part(transformed(body, pose), "packet" if chance(rng, 0.6) else "object", "object", separate=True)
        )
        level, reach = level + tall, max(reach, wide)
    return Furniture("crates", tuple(parts), (reach * 0.3, 0.1, level))


def radiator(rng: Rng) -> Furniture:
    """A ribbed radiator or a ventilation grating."""
    wide, tall, count = rng.uniform(0.5, 1.6), rng.uniform(0.3, 0.8), int(rng.integers(8, 26))
    pitch = wide / count
    ribs = [
        rounded_box(
            (pitch * rng.uniform(0.4, 0.5), 0.1, tall),
            0.012,
            ((k + 0.5) * pitch - wide / 2, 0, 0.12 + tall / 2),
        )
        for k in range(count)
    ]
    rails = [box((wide, 0.05, 0.05), (0, 0, 0.12 + share * tall)) for share in (0.08, 0.92)]
    pipe = rod(np.array([wide / 2, 0, 0]), np.array([wide / 2, 0, 0.2]), 0.012, sections=8)
    return Furniture(
        "radiator", (Part(merged([*ribs, *rails, pipe]), "plastic", "object"),), against_wall=True
    )


def railing(rng: Rng) -> Furniture:
    """A free-standing railing, fence or room divider."""
    long = rng.uniform(1.0, 2.6)
    bars = moved(thin.balusters(rng, long, rng.uniform(0.6, 1.1)), (-long / 2, 0, 0))
    return Furniture("railing", (Part(bars, "metal" if chance(rng, 0.5) else "furniture", "object"),))


def rack(rng: Rng) -> Furniture:
    """A wire rack, clothes horse or open shelf of tubes, with boxes on some levels."""
    wide, deep, tall = rng.uniform(0.5, 1.2), rng.uniform(0.3, 0.5), rng.uniform(0.8, 1.8)
    bar, posts = rng.uniform(0.008, 0.016), []
    for x in (-1, 1):
        for y in (-1, 1):
            foot = np.array([x * wide / 2, y * deep / 2, 0])
            posts.append(rod(foot, foot + [0, 0, tall], bar, sections=8))
    things: list[Part] = []
    for level in np.linspace(0.12, 0.97, int(rng.integers(3, 6))) * tall:
        for y in np.linspace(-1, 1, int(rng.integers(4, 9))) * deep / 2:
            posts.append(box((wide, bar, bar), (0, y, level)))
        posts += [box((bar * 1.5, deep, bar * 1.5), (x * wide / 2, 0, level)) for x in (-1, 1)]
        for _ in range(rng.integers(0, 3)):
            size = rng.uniform([0.12, 0.12, 0.1], [0.35, deep, 0.25])
            at = (rng.uniform(-0.5, 0.5) * (wide - size[0]), 0, level + bar + size[2] / 2)
            things.append(Part(box(size, at), "packet", "object", separate=True))
    return Furniture("rack", (Part(merged(posts), "metal", "shelf"), *things), against_wall=True)


def ladder(rng: Rng) -> Furniture:
    """A leaning ladder, or a step ladder."""
    tall, wide, lean = rng.uniform(1.0, 2.2), rng.uniform(0.35, 0.5), rng.uniform(0.15, 0.5)
    bars = _rungs(rng, tall, wide, lean)
    if chance(rng, 0.5):
        other = transformed(_rungs(rng, tall, wide * 1.05, lean), rotation([0, 0, 1], np.pi))
        bars = merged([bars, moved(other, (0, 2 * lean, 0))])
    return Furniture(
        "ladder", (Part(moved(bars, (0, -lean, 0)), "metal" if chance(rng, 0.5) else "furniture", "object"),)
    )


def _rungs(rng: Rng, tall: float, wide: float, lean: float) -> Mesh:
    top, bar = np.array([0, lean, tall]), rng.uniform(0.012, 0.022)
    parts = [
        rod(np.array([s * wide / 2, 0, 0]), top + [s * wide * 0.45, 0, 0], bar, sections=8) for s in (-1, 1)
    ]
    for share in np.linspace(0.1, 0.95, int(tall / 0.25)):
        parts.append(rounded_box((wide * (1 - 0.1 * share), 0.05, 0.02), 0.006, tuple(share * top)))
    return merged(parts)


def stairs(rng: Rng) -> Furniture:
    """A flight of steps, often with a railing."""
    count, wide = int(rng.integers(3, 9)), rng.uniform(0.7, 1.4)
    tread, riser = rng.uniform(0.22, 0.32), rng.uniform(0.13, 0.2)
    run = count * tread
    parts = [
        Part(
            moved(thin.steps(rng, wide, count, tread, riser), (0, -run / 2, 0)),
            "floor" if chance(rng, 0.3) else "furniture",
            "floor",
        )
    ]
    if chance(rng, 0.6):
        bars = thin.balusters(rng, run, rng.uniform(0.8, 1.0), count * riser)
        side = wide / 2 - 0.04
        pose = translation([side, -run / 2, riser]) @ rotation([0, 0, 1], np.pi / 2)
        parts.append(
            Part(
                transformed(bars, pose), "metal" if chance(rng, 0.4) else "furniture", "object", separate=True
            )
        )
    return Furniture("stairs", tuple(parts), against_wall=True)
