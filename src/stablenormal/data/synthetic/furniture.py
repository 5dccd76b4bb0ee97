"""Furniture from parts: each stands on z = 0 about the origin, faces -y, and has its back at +y. Metres."""

from collections.abc import Callable

import numpy as np

from stablenormal.data.synthetic import fittings
from stablenormal.data.synthetic.draws import Rng, chance
from stablenormal.data.synthetic.meshes import (
    Mesh,
    box,
    cylinder,
    fitted_to_unit_ball,
    merged,
    revolved,
    rod,
    rotation,
    rounded_box,
    scaling,
    transformed,
    translation,
)
from stablenormal.data.synthetic.pieces import Furniture, Part
from stablenormal.data.synthetic.shapes import cushion, folded_cloth, leafy_plant, vase


def table(rng: Rng) -> Furniture:
    """Dining, coffee or side table; square or round; four legs, a column or trestles."""
    width, depth, height = rng.uniform(0.5, 1.8), rng.uniform(0.45, 1.0), rng.uniform(0.35, 0.8)
    thick, leg = rng.uniform(0.02, 0.06), rng.uniform(0.02, 0.045)
    round_top = chance(rng, 0.25)
    if round_top:
        width = depth
        top = cylinder(depth / 2, thick, (0, 0, height - thick / 2), 40)
    else:
        top = rounded_box((width, depth, thick), rng.uniform(0.003, 0.02), (0, 0, height - thick / 2))
    under = height - thick
    if round_top and chance(rng, 0.6):
        legs = [cylinder(leg, under, (0, 0, under / 2)), cylinder(depth * 0.3, 0.03, (0, 0, 0.015), 32)]
    else:
        spread, inset = rng.uniform(0, 0.06), 0.3 if round_top else 0.5
        feet = [
            (x * (width * inset - leg * 2), y * (depth * inset - leg * 2)) for x in (-1, 1) for y in (-1, 1)
        ]
        if chance(rng, 0.5):
            legs = [box((leg * 2, leg * 2, under), (x, y, under / 2)) for x, y in feet]
        else:
            legs = [
                rod(
                    np.array([x, y, under]),
                    np.array([x + np.sign(x) * spread, y + np.sign(y) * spread, 0]),
                    leg,
                    leg * 0.6,
                )
                for x, y in feet
            ]
        if chance(rng, 0.4) and not round_top:
            legs.append(box((width - 6 * leg, 0.02, 0.08), (0, -depth / 2 + 2 * leg, under - 0.04)))
            legs.append(box((width - 6 * leg, 0.02, 0.08), (0, depth / 2 - 2 * leg, under - 0.04)))
    parts = (Part(top, "table", "table"), Part(merged(legs), "furniture", "table"))
    return Furniture("table", parts, (width * 0.42, depth * 0.38, height))


def chair(rng: Rng) -> Furniture:
    """A chair with a slatted, spindled or solid back; legs with stretchers; sometimes arms."""
    width, seat_height, back = rng.uniform(0.38, 0.55), rng.uniform(0.4, 0.5), rng.uniform(0.35, 0.6)
    bar, half = rng.uniform(0.012, 0.022), width / 2 - 0.02
    tilt = rng.uniform(0, 0.1)
    seat = rounded_box((width, width, rng.uniform(0.02, 0.09)), 0.02, (0, 0, seat_height))
    frame = [
        rod(np.array([x * half, -half, seat_height]), np.array([x * half, -half, 0]), bar, bar * 0.8)
        for x in (-1, 1)
    ]
    post_top = np.array([0, half + tilt, seat_height + back])
    for x in (-1, 1):
        frame.append(rod(np.array([x * half, half, 0]), np.array([x * half, half, seat_height]), bar))
        frame.append(rod(np.array([x * half, half, seat_height]), post_top + [x * half, 0, 0], bar))
        if chance(rng, 0.5):
            low = rng.uniform(0.1, 0.25)
            frame.append(rod(np.array([x * half, -half, low]), np.array([x * half, half, low]), bar * 0.7))
    lean = rotation([1, 0, 0], -np.arctan2(tilt, back))
    base = translation([0, half, seat_height]) @ lean
    style = rng.integers(4)
    slat = rng.uniform(0.015, 0.06)
    if style == 0:  # upright slats or spindles under a rail
        count = int(rng.integers(3, 9))
        pieces = [
            box((min(slat, 1.2 * half / count), 0.012, back), (x, 0, back / 2))
            for x in np.linspace(-half, half, count + 2)[1:-1]
        ]
        pieces.append(rounded_box((2 * half, 0.025, 0.07), 0.01, (0, 0, back - 0.03)))
    elif style == 1:  # ladder
        rungs = np.linspace(0.1, back - 0.04, int(rng.integers(2, 6)))
        pieces = [
            rounded_box((2 * half, 0.015, min(slat, 0.6 * back / len(rungs))), 0.004, (0, 0, z))
            for z in rungs
        ]
    elif style == 2:  # a solid back
        pieces = [rounded_box((2 * half, 0.03, back * rng.uniform(0.4, 0.9)), 0.012, (0, 0, back * 0.55))]
    else:  # round spindles
        pieces = [
            rod(np.array([x, 0, 0]), np.array([x * 1.1, 0, back]), 0.008, sections=8)
            for x in np.linspace(-half, half, rng.integers(5, 10))
        ]
        pieces.append(rod(np.array([-half, 0, back]), np.array([half, 0, back]), 0.02))
    frame.extend(transformed(piece, base) for piece in pieces)
    if chance(rng, 0.25):
        rest = seat_height + rng.uniform(0.18, 0.25)
        for x in (-1, 1):
            frame.append(rounded_box((0.05, width, 0.025), 0.01, (x * half, 0, rest)))
            frame.append(
                rod(np.array([x * half, -half, seat_height]), np.array([x * half, -half, rest]), bar)
            )
    return Furniture(
        "chair",
        (
            Part(seat, "soft" if chance(rng, 0.4) else "furniture", "chair"),
            Part(merged(frame), "furniture", "chair"),
        ),
    )


def bench(rng: Rng) -> Furniture:
    """A slatted bench, stool or crate: many thin boards."""
    width, depth, height = rng.uniform(0.4, 1.6), rng.uniform(0.35, 0.5), rng.uniform(0.3, 0.5)
    count = int(rng.integers(3, 8))
    pitch = depth / count
    boards = [
        box((width, pitch * rng.uniform(0.5, 0.85), 0.02), (0, y, height))
        for y in (np.arange(count) + 0.5) * pitch - depth / 2
    ]
    if chance(rng, 0.5):
        boards += [
            box((width, 0.02, pitch * 0.6), (0, depth / 2, height + 0.12 + k * pitch))
            for k in range(int(rng.integers(2, 6)))
        ]
        boards += [
            box((0.04, 0.03, height + 0.5), (x * width * 0.45, depth / 2 + 0.02, (height + 0.5) / 2))
            for x in (-1, 1)
        ]
    legs = [
        box((0.04, 0.04, height), (x * width * 0.45, y * depth * 0.42, height / 2))
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return Furniture(
        "bench",
        (Part(merged(boards + legs), "furniture", "chair"),),
        (width * 0.4, depth * 0.3, height + 0.01),
    )


def shelf(rng: Rng) -> Furniture:
    """An open shelf with books and gaps."""
    width, depth, height = rng.uniform(0.5, 1.4), rng.uniform(0.22, 0.45), rng.uniform(0.7, 2.1)
    rows = int(rng.integers(2, 6))
    levels = np.linspace(0.02, height - 0.012, rows + 1)
    boards = [box((0.025, depth, height), (side * width / 2, 0, height / 2)) for side in (-1, 1)]
    boards += [box((width, depth, 0.025), (0, 0, z)) for z in levels]
    if chance(rng, 0.7):
        boards.append(box((width, 0.01, height), (0, depth / 2, height / 2)))
    parts = [Part(merged(boards), "furniture", "shelf")]
    for low, high in zip(levels[:-1], levels[1:], strict=True):
        parts.extend(_book_row(rng, width, depth, low + 0.0135, high - low - 0.04))
    return Furniture("shelf", tuple(parts), (width * 0.42, depth * 0.35, height), against_wall=True)


def _book_row(rng: Rng, width: float, depth: float, floor: float, gap: float) -> list[Part]:
    groups: list[list[Mesh]] = [[], [], []]
    x = -width / 2 + 0.03
    while x < width / 2 - 0.08 and chance(rng, 0.94):
        thick, tall = rng.uniform(0.015, 0.055), gap * rng.uniform(0.5, 0.95)
        back = depth * rng.uniform(-0.05, 0.08)
        groups[int(rng.integers(3))].append(
            box((thick, depth * 0.7, tall), (x + thick / 2, back, floor + tall / 2))
        )
        x += thick + 0.002 + (rng.uniform(0, 0.2) if chance(rng, 0.1) else 0)
    return [Part(merged(group), "book", "book", separate=True) for group in groups if group]


def cabinet(rng: Rng) -> Furniture:
    """A chest of drawers, cupboard or sideboard: fronts, gaps and handles."""
    width, depth, height = rng.uniform(0.4, 1.6), rng.uniform(0.35, 0.6), rng.uniform(0.5, 2.1)
    plinth = rng.uniform(0.02, 0.1) if chance(rng, 0.7) else 0.0
    body = box((width, depth, height - plinth), (0, 0, (height + plinth) / 2))
    if plinth > 0.02:
        body = merged([body, box((width - 0.06, depth - 0.06, plinth), (0, 0, plinth / 2))])
    fronts, handles = _fronts(rng, width, height - plinth, -depth / 2, plinth)
    parts = [
        Part(body, "furniture", "cabinet"),
        Part(fronts, "furniture", "cabinet"),
        Part(handles, "metal", "cabinet"),
    ]
    return Furniture("cabinet", tuple(parts), (width * 0.45, depth * 0.4, height), against_wall=True)


def _fronts(rng: Rng, width: float, height: float, y: float, floor: float) -> tuple[Mesh, Mesh]:
    """Drawers or doors on a front plane, framed or plain, with knobs or bars."""
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    wide, tall = width / columns, height / rows
    gap, framed, bars = rng.uniform(0.003, 0.012), chance(rng, 0.4), chance(rng, 0.5)
    fronts, handles = [], []
    for column in range(columns):
        for row in range(rows):
            x, z = (column + 0.5) * wide - width / 2, floor + (row + 0.5) * tall
            fronts.append(rounded_box((wide - gap, 0.02, tall - gap), 0.004, (x, y - 0.01, z)))
            if framed and min(wide, tall) > 0.2:
                rim = 0.05
                fronts += [
                    box((rim, 0.03, tall - gap), (x + s * (wide - gap - rim) / 2, y - 0.015, z))
                    for s in (-1, 1)
                ]
                fronts += [
                    box((wide - gap, 0.03, rim), (x, y - 0.015, z + s * (tall - gap - rim) / 2))
                    for s in (-1, 1)
                ]
            at = np.array(
                [
                    x if wide > tall else x + wide * 0.4 * (-1) ** column,
                    y - 0.035,
                    z + (0.3 * tall if wide > tall else 0),
                ]
            )
            along = np.array([0.06, 0, 0]) if wide > tall else np.array([0, 0, 0.06])
            if bars:
                handles.append(rod(at - along + [0, -0.01, 0], at + along + [0, -0.01, 0], 0.006, sections=8))
                handles += [
                    rod(
                        at + s * along * 0.8 + [0, 0.03, 0],
                        at + s * along * 0.8 + [0, -0.01, 0],
                        0.004,
                        sections=6,
                    )
                    for s in (-1, 1)
                ]
            else:
                handles.append(rod(at + [0, 0.02, 0], at - [0, 0.01, 0], 0.008, 0.016))
    return merged(fronts), merged(handles)


def kitchen(rng: Rng) -> Furniture:
    """Base units with a worktop, often wall units and a fridge."""
    count = int(rng.integers(2, 6))
    unit, depth, height = rng.uniform(0.4, 0.65), 0.6, rng.uniform(0.84, 0.92)
    width = count * unit
    xs = (np.arange(count) - (count - 1) / 2) * unit
    fronts = [rounded_box((unit - 0.012, 0.02, height * 0.68), 0.004, (x, -0.31, height * 0.44)) for x in xs]
    fronts += [rounded_box((unit - 0.012, 0.02, height * 0.16), 0.004, (x, -0.31, height * 0.89)) for x in xs]
    handles = [box((0.12, 0.03, 0.012), (x, -0.335, height * 0.92)) for x in xs]
    cupboards = box((width, depth, height - 0.08), (0, 0, height / 2 + 0.04))
    plinth = box((width, depth - 0.12, 0.08), (0, 0.03, 0.04))
    parts = [
        Part(merged([cupboards, plinth]), "furniture", "cabinet"),
        Part(merged(fronts), "furniture", "cabinet"),
        Part(
            rounded_box((width + 0.04, depth + 0.05, 0.04), 0.006, (0, -0.02, height + 0.02)),
            "table",
            "table",
            separate=True,
        ),
    ]
    if chance(rng, 0.7):
        low, tall = rng.uniform(1.35, 1.5), rng.uniform(0.5, 0.8)
        parts.append(Part(box((width, 0.33, tall), (0, 0.13, low + tall / 2)), "furniture", "cabinet"))
        parts.append(
            Part(
                merged(
                    [
                        rounded_box((unit - 0.012, 0.02, tall - 0.01), 0.004, (x, -0.05, low + tall / 2))
                        for x in xs
                    ]
                ),
                "furniture",
                "cabinet",
            )
        )
        handles += [box((0.012, 0.03, 0.12), (x + unit * 0.4, -0.07, low + 0.1)) for x in xs]
    if chance(rng, 0.5):
        side = width / 2 + 0.42
        fridge = [
            rounded_box((0.75, 0.66, 1.75), 0.02, (side, -0.01, 0.88)),
            rounded_box((0.73, 0.04, 0.5), 0.02, (side, -0.37, 1.47)),
            rounded_box((0.73, 0.04, 1.15), 0.02, (side, -0.37, 0.63)),
        ]
        parts.append(Part(merged(fridge), "appliance", "cabinet", separate=True))
    if chance(rng, 0.6):
        tap = [
            rod(np.array([0, 0.2, height]), np.array([0, 0.2, height + 0.28]), 0.012),
            rod(np.array([0, 0.2, height + 0.28]), np.array([0, 0.0, height + 0.24]), 0.01),
        ]
        handles += tap
    parts.append(Part(merged(handles), "metal", "cabinet"))
    return Furniture("kitchen", tuple(parts), (width * 0.45, depth * 0.4, height + 0.04), against_wall=True)


def sofa(rng: Rng) -> Furniture:
    """A sofa or armchair with seat cushions and pillows."""
    width, depth, height = rng.uniform(0.8, 2.2), rng.uniform(0.7, 0.95), rng.uniform(0.35, 0.48)
    soft = rng.uniform(0.03, 0.1)
    back = height + rng.uniform(0.2, 0.45)
    body = [
        rounded_box((width, depth, height * 0.7), soft, (0, 0, height * 0.4)),
        rounded_box((width, depth * 0.28, back), soft, (0, depth * 0.36, 0.3 * height + back / 2)),
    ]
    body += [
        rounded_box((0.18, depth, height + 0.18), soft, (side * width / 2, 0, (height + 0.18) / 2))
        for side in (-1, 1)
    ]
    seats = max(1, round(width / 0.75))
    body += [
        rounded_box(
            ((width - 0.2) / seats - 0.01, depth * 0.75, 0.16),
            0.05,
            ((k + 0.5) / seats * (width - 0.2) - (width - 0.2) / 2, -depth * 0.08, height),
        )
        for k in range(seats)
    ]
    parts = [Part(merged(body), "soft", "sofa")]
    for _ in range(rng.integers(0, 4)):
        size = rng.uniform(0.22, 0.32)
        pose = (
            translation([rng.uniform(-0.4, 0.4) * width, depth * 0.08, height + 0.08 + size * 0.8])
            @ rotation([0, 1, 0], rng.normal(0, 0.3))
            @ rotation([1, 0, 0], 1.2 + rng.normal(0, 0.15))
        )
        parts.append(
            Part(
                transformed(fitted_to_unit_ball(cushion(rng)), pose @ scaling(size)),
                "soft",
                "sofa",
                separate=True,
            )
        )
    return Furniture("sofa", tuple(parts), against_wall=True)


def bed(rng: Rng) -> Furniture:
    """A bed with a rumpled blanket and pillows."""
    width, length, height = rng.uniform(0.9, 1.9), 2.0, rng.uniform(0.4, 0.6)
    head = height + rng.uniform(0.3, 0.7)
    parts = [
        Part(rounded_box((width, length, height * 0.6), 0.08, (0, 0, height * 0.7)), "soft", "bed"),
        Part(box((width * 0.98, length * 0.98, height * 0.4), (0, 0, height * 0.2)), "furniture", "bed"),
        Part(rounded_box((width + 0.1, 0.06, head), 0.02, (0, length / 2, head / 2)), "furniture", "bed"),
    ]
    blanket = fitted_to_unit_ball(folded_cloth(rng))
    low, high = blanket.bounds()
    fit = scaling(np.array([width * 1.04, length * 0.7, rng.uniform(0.05, 0.16)]) / (high - low))
    parts.append(
        Part(transformed(blanket, translation([0, -0.25, height + 0.03]) @ fit), "soft", "bed", separate=True)
    )
    for k in range(rng.integers(1, 3)):
        pose = (
            translation([(k - 0.5) * width * 0.45, length * 0.36, height + 0.1])
            @ rotation([1, 0, 0], rng.normal(0.3, 0.2))
            @ rotation([0, 0, 1], rng.normal(0, 0.2))
        )
        parts.append(
            Part(
                transformed(fitted_to_unit_ball(cushion(rng)), pose @ scaling(0.38)),
                "soft",
                "bed",
                separate=True,
            )
        )
    return Furniture("bed", tuple(parts), against_wall=True)


def lamp(rng: Rng) -> Furniture:
    """A standing lamp with an open shade."""
    height, radius = rng.uniform(0.8, 1.8), rng.uniform(0.12, 0.25)
    top = radius * rng.uniform(0.3, 1.0)
    shade = revolved(
        np.array(
            [
                [top, height + 0.1],
                [radius, height - 0.15],
                [radius - 0.005, height - 0.15],
                [top - 0.005, height + 0.1],
                [top, height + 0.1],
            ]
        ),
        32,
    )
    stand = merged([cylinder(0.015, height, (0, 0, height / 2), 12), cylinder(0.15, 0.03, (0, 0, 0.015), 28)])
    return Furniture("lamp", (Part(stand, "metal", "lamp"), Part(shade, "shade", "lamp")))


def potted_plant(rng: Rng) -> Furniture:
    """A pot with a branching plant."""
    pot = transformed(fitted_to_unit_ball(vase(rng)), translation([0, 0, 0.18]) @ scaling(0.2))
    size = rng.uniform(0.5, 1.2)
    leaves = transformed(leafy_plant(rng), translation([0, 0, 0.3]) @ scaling(size))
    return Furniture("plant", (Part(pot, "vessel", "object"), Part(leaves, "leaf", "plant", separate=True)))


MAKERS: dict[str, tuple[int, Callable[[Rng], Furniture]]] = {
    "table": (16, table),
    "chair": (22, chair),
    "bench": (6, bench),
    "shelf": (14, shelf),
    "cabinet": (18, cabinet),
    "kitchen": (12, kitchen),
    "sofa": (12, sofa),
    "bed": (8, bed),
    "lamp": (6, lamp),
    "plant": (5, potted_plant),
    "appliance": (12, fittings.appliance),
    "crates": (12, fittings.crates),
    "radiator": (4, fittings.radiator),
    "railing": (5, fittings.railing),
    "rack": (6, fittings.rack),
    "ladder": (3, fittings.ladder),
    "stairs": (6, fittings.stairs),
}
"""Furniture kind -> how many a bank holds, and its maker."""
