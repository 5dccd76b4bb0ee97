"""The kinds of scenes: furnished rooms, table tops and piles, single objects, streets of boxes."""

from collections.abc import Callable

import numpy as np

from stablenormal.data.synthetic.architecture import architecture
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.close_scenes import closeup, drapery, lattice, statue
from stablenormal.data.synthetic.draws import Array, Rng, chance, log_uniform, pick
from stablenormal.data.synthetic.foliage import foliage, plant_tree
from stablenormal.data.synthetic.meshes import (
    Mesh,
    box,
    grid,
    mesh_from_faces,
    rod,
    rotation,
    rounded_box,
    scaling,
    translation,
)
from stablenormal.data.synthetic.pieces import Furniture
from stablenormal.data.synthetic.placing import put_asset, put_furniture, put_shape
from stablenormal.data.synthetic.scene import Scene, SceneBuilder, Window

TRIANGLE_BUDGET = 110_000
"""A room stops taking furniture and objects here: vertex work is what limits the rasteriser."""


def room(rng: Rng, bank: Bank) -> Scene:
    """A furnished room with a window, doors, pictures and things on its tables and floor."""
    build = SceneBuilder("room")
    (width, depth, height), window = room_shell(build, rng)
    tops, fronts, focuses = _furnish(build, rng, bank, width, depth)
    _litter(build, rng, bank, width, depth, tops)
    low, high = np.array([-width / 2, -depth / 2, 0]), np.array([width / 2, depth / 2, height])
    return build.bake(low, high, tops=tops, fronts=fronts, focuses=focuses, window=window)


def room_shell(build: SceneBuilder, rng: Rng) -> tuple[tuple[float, float, float], Window | None]:
    """Floor, ceiling, walls, lamps and rug of a room about the origin; its size and its window."""
    width, depth, height = rng.uniform(2.4, 7), rng.uniform(2.4, 7), rng.uniform(2.2, 3.4)
    build.add_box(
        (width + 0.2, depth + 0.2, 0.1), (0, 0, -0.05), build.slot("floor"), build.instance("floor")
    )
    build.add_box(
        (width + 0.2, depth + 0.2, 0.1),
        (0, 0, height + 0.05),
        build.slot("ceiling"),
        build.instance("ceiling"),
    )
    paint = build.slot("wall")
    with_window = int(rng.integers(4)) if chance(rng, 0.7) else -1
    window = None
    for index, (axis, side) in enumerate([(0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0)]):
        wall = _Wall(build, axis, side, (width, depth)[1 - axis], (width, depth)[axis] / 2, height)
        colour = paint if chance(rng, 0.8) else build.slot("wall")
        if index == with_window:
            _wall_with_window(wall, rng, colour)
            window = Window(axis, side)
        else:
            wall.add(wall.length + 0.2, height, 0, height / 2, colour, build.instance("wall"))
            _hang_pictures(wall, rng)
            if chance(rng, 0.35):
                _door(wall, rng)
        if chance(rng, 0.6):
            wall.add(
                wall.length,
                rng.uniform(0.06, 0.14),
                0,
                0.05,
                build.slot("any"),
                build.instance("wall"),
                0.02,
                -0.01,
            )
        if chance(rng, 0.2):
            wall.add(
                wall.length, 0.08, 0, height - 0.04, build.slot("any"), build.instance("wall"), 0.05, -0.025
            )
    _beams_and_pillars(build, rng, (width, depth, height), paint)
    for _ in range(rng.integers(0, 4)):
        glow, size = build.slot("any", rng.uniform(1, 8)), rng.uniform(0.1, 0.6)
        at = (rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.4, 0.4) * depth, height - 0.02)
        build.add_box((size, size * rng.uniform(0.3, 1), 0.04), at, glow, build.instance("lamp"))
    if chance(rng, 0.4):
        rug = (rng.uniform(1, 2.8), rng.uniform(0.8, 2), 0.02)
        build.add_box(
            rug,
            (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), 0.01),
            build.slot("soft"),
            build.instance("rug"),
        )
    return (width, depth, height), window


class _Wall:
    """Adds upright boxes along one wall of a room: `along` from its middle, `up` from the floor."""

    def __init__(
        self, build: SceneBuilder, axis: int, side: float, length: float, at: float, height: float
    ) -> None:
        self.build, self.axis, self.side, self.length, self.at, self.height = (
            build,
            axis,
            side,
            length,
            at,
            height,
        )

    def add(
        self, wide: float, tall: float, along: float, up: float, slot: int, instance: int,
        thick: float = 0.1, behind: float | None = None,
    ) -> None:  # fmt: skip
        """Add a box of this size; its middle lies `behind` the wall's face (negative: inside the room)."""
        size, centre = [0.0, 0.0, tall], [0.0, 0.0, up]
        size[1 - self.axis], size[self.axis] = wide, thick
        centre[1 - self.axis] = along
        centre[self.axis] = self.side * (self.at + (thick / 2 if behind is None else behind))
        self.build.add_box(size, centre, slot, instance)


def _wall_with_window(wall: _Wall, rng: Rng, colour: int) -> None:
    build, length, height = wall.build, wall.length, wall.height
    wide, tall = rng.uniform(0.8, min(3.0, length * 0.8)), rng.uniform(0.8, 1.6)
    up = rng.uniform(max(1.1, tall / 2 + 0.2), 1.6) if chance(rng, 0.75) else tall / 2 + 0.05
    along = rng.uniform(-0.5, 0.5) * (length - wide)
    left, right = length / 2 + along - wide / 2, length / 2 - along - wide / 2
    this = build.instance("wall")
    wall.add(left + 0.1, height, -length / 2 + left / 2 - 0.05, height / 2, colour, this)
    wall.add(right + 0.1, height, length / 2 - right / 2 + 0.05, height / 2, colour, this)
    if up - tall / 2 > 0.02:
        wall.add(wide, up - tall / 2, along, (up - tall / 2) / 2, colour, this)
    wall.add(wide, max(0.02, height - up - tall / 2), along, (height + up + tall / 2) / 2, colour, this)
    frame, pane = build.slot("any"), build.instance("window")
    for k in np.linspace(-1, 1, int(rng.integers(2, 5))):
        wall.add(0.05, tall, along + k * (wide / 2 - 0.025), up, frame, pane, 0.06, 0.03)
    for k in np.linspace(-1, 1, int(rng.integers(2, 4))):
        wall.add(wide, 0.05, along, up + k * (tall / 2 - 0.025), frame, pane, 0.06, 0.03)
    outside = build.slot("picture" if chance(rng, 0.5) else "any", rng.uniform(0.5, 6))
    wall.add(wide + 0.6, tall + 0.6, along, up, outside, pane, 0.01, 0.7)
    if chance(rng, 0.2):  # slats of a blind
        blind = build.slot("furniture")
        for z in np.arange(up - tall / 2 * rng.uniform(0, 1), up + tall / 2, 0.06):
            wall.add(wide, 0.012, along, z, blind, build.instance("curtain"), 0.035, -0.03)
    elif chance(rng, 0.35):
        _curtains(wall, rng, along, wide, up, tall)


def _curtains(wall: _Wall, rng: Rng, along: float, wide: float, up: float, tall: float) -> None:
    slot, t = wall.build.slot("soft"), np.linspace(0, 1, 60)
    for side in (-1, 1):
        spread = wide * rng.uniform(0.15, 0.5)
        lattice = np.zeros((60, 2, 3))
        lattice[:, :, 1 - wall.axis] = (along + side * (wide / 2 + 0.1) - side * spread * t)[:, None]
        pleats = 0.05 * np.sin(t * rng.uniform(20, 70)) * (1 + 0.3 * np.sin(t * 9))
        lattice[:, :, wall.axis] = (wall.side * (wall.at - 0.13 + pleats))[:, None]
        lattice[:, 0, 2] = 0.05 if chance(rng, 0.5) else up - tall / 2 - 0.1
        lattice[:, 1, 2] = min(wall.height - 0.05, up + tall / 2 + 0.15)
        wall.build.add(grid(lattice, crease_deg=60.0), slot, wall.build.instance("curtain"))


def _hang_pictures(wall: _Wall, rng: Rng) -> None:
    for _ in range(rng.integers(0, 4)):
        wide, tall = rng.uniform(0.2, 1.1, 2)
        along, up = (
            rng.uniform(-0.4, 0.4) * wall.length,
            rng.uniform(1.1, min(2.0, wall.height - tall / 2 - 0.1)),
        )
        this = wall.build.instance("picture")
        wall.add(wide + 0.06, tall + 0.06, along, up, wall.build.slot("any"), this, 0.03, -0.015)
        wall.add(wide, tall, along, up, wall.build.slot("picture"), this, 0.004, -0.031)


def _door(wall: _Wall, rng: Rng) -> None:
    along, leaf, frame = (
        rng.uniform(-0.35, 0.35) * wall.length,
        wall.build.slot("furniture"),
        wall.build.slot("furniture"),
    )
    this = wall.build.instance("door")
    wall.add(0.85, 2.02, along, 1.01, leaf, this, 0.03, -0.01)
    for side in (-1, 1):
        wall.add(0.08, 2.1, along + side * 0.46, 1.05, frame, this, 0.08, -0.03)
    wall.add(1.0, 0.08, along, 2.1, frame, this, 0.08, -0.03)
    wall.add(0.12, 0.02, along + 0.32 * pick(rng, (-1, 1)), 1.02, wall.build.slot("metal"), this, 0.02, -0.06)
    if chance(rng, 0.6):
        for side in (-1, 1):
            for up in (0.55, 1.5):
                wall.add(0.3, 0.7, along + side * 0.2, up, leaf, this, 0.045, -0.015)


def _beams_and_pillars(build: SceneBuilder, rng: Rng, size: tuple[float, float, float], paint: int) -> None:
    width, depth, height = size
    for _ in range(pick(rng, (0, 0, 1, 2))):
        if chance(rng, 0.5):
            a, b = rng.uniform(0.2, 0.7, 2)
            x = pick(rng, (-1, 1)) * (width - a) / 2 * rng.uniform(0.6, 1)
            y = pick(rng, (-1, 1)) * (depth - b) / 2 * rng.uniform(0.6, 1)
            build.add_box((a, b, height), (x, y, height / 2), paint, build.instance("wall"))
        else:
            axis, drop = int(rng.integers(2)), rng.uniform(0.1, 0.4)
            extent, centre = [rng.uniform(0.1, 0.4)] * 2 + [drop], [0.0, 0.0, height - drop / 2]
            extent[axis] = (width, depth)[axis]
            centre[1 - axis] = rng.uniform(-0.45, 0.45) * (width, depth)[1 - axis]
            build.add_box(extent, centre, build.slot("any"), build.instance("ceiling"))


Tops = list[tuple[Array, tuple[float, float, float]]]
Fronts = list[tuple[Array, Array, float]]


def _furnish(
    build: SceneBuilder, rng: Rng, bank: Bank, width: float, depth: float
) -> tuple[Tops, Fronts, list[Array]]:
    """Place furniture without much overlap; returns its tops, its fronts and points to look at."""
    tops: Tops = []
    fronts: Fronts = []
    focuses: list[Array] = []
    taken: list[tuple[float, float, float]] = []
    triangles = 0
    for _ in range(rng.integers(3, 12)):
        piece = pick(rng, bank.furniture)
        triangles += sum(len(part.mesh.faces) for part in piece.parts)
        if triangles > TRIANGLE_BUDGET:
            break
        place = _find_place(rng, piece, width, depth, taken)
        if place is None:
            continue
        x, y, turn, reach = place
        taken.append((x, y, reach))
        pose = translation([x, y, 0]) @ rotation([0, 0, 1], turn) @ scaling(rng.uniform(0.9, 1.1, 3))
        put_furniture(build, rng, piece, pose)
        low, high = piece.bounds()
        if piece.top:
            tops.append((pose, piece.top))
        if piece.kind in ("cabinet", "kitchen", "shelf", "sofa", "bed"):
            middle = pose @ np.array([0, low[1], min(high[2], 1.6) * 0.5, 1])
            fronts.append((middle[:3], pose[:3, :3] @ [0, -1, 0], float(max(high[0] - low[0], high[2]))))
        focuses.append(np.array([x, y, rng.uniform(0.1, min(1.2, high[2]))]))
        if piece.kind == "table" and chance(rng, 0.6):
            triangles += _seats(build, rng, bank, pose, piece, focuses)
    return tops, fronts, focuses


def _find_place(
    rng: Rng, piece: Furniture, width: float, depth: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float, float, float] | None:
    low, high = piece.bounds()
    reach = float(np.abs([low[:2], high[:2]]).max())
    for _ in range(15):
        free_x, free_y = max(0.0, width / 2 - reach), max(0.0, depth / 2 - reach)
        x, y = rng.uniform(-free_x, free_x), rng.uniform(-free_y, free_y)
        turn = rng.random() * 2 * np.pi if chance(rng, 0.5) else np.pi / 2 * rng.integers(4)
        if piece.against_wall and chance(rng, 0.9):
            wall, gap = int(rng.integers(4)), high[1] + 0.02
            turn = (np.pi / 2, -np.pi / 2, np.pi, 0.0)[wall]
            x = (-width / 2 + gap, width / 2 - gap, x, x)[wall]
            y = (y, y, -depth / 2 + gap, depth / 2 - gap)[wall]
        if all(np.hypot(x - a, y - b) > 0.7 * (reach + r) for a, b, r in taken):
            return float(x), float(y), float(turn), reach
    return None


def _seats(
    build: SceneBuilder, rng: Rng, bank: Bank, pose: Array, piece: Furniture, focuses: list[Array]
) -> int:
    """Chairs around a table, all alike; returns their triangles."""
    low, high = piece.bounds()
    chair, triangles = pick(rng, bank.of_kind("chair")), 0
    for side in rng.permutation(4)[: rng.integers(1, 5)]:
        turn = np.pi / 2 * side + rng.normal(0, 0.2)
        away = (high[1] if side % 2 == 0 else high[0]) + rng.uniform(-0.05, 0.3)
        seat = pose @ rotation([0, 0, 1], turn) @ translation([rng.normal(0, 0.1), away, 0])
        put_furniture(build, rng, chair, seat)
        focuses.append(seat[:3, 3] + [0, 0, rng.uniform(0.3, 0.9)])
        triangles += sum(len(part.mesh.faces) for part in chair.parts)
    return triangles


def _litter(build: SceneBuilder, rng: Rng, bank: Bank, width: float, depth: float, tops: Tops) -> None:
    """Objects on tables and floor, and a few boxes."""
    left = 60_000
    for pose, (half_width, half_depth, height) in tops[:5]:
        for _ in range(rng.integers(1, 10) if chance(rng, 0.8) else 0):
            foot = pose @ np.array(
                [rng.uniform(-half_width, half_width), rng.uniform(-half_depth, half_depth), height, 1]
            )
            shape = pick(rng, bank.shapes)
            left -= len(shape.mesh.faces)
            if left > 0:
                put_shape(build, rng, shape, foot[:3] + [0, 0, 0.001], log_uniform(rng, 0.035, 0.18))
    for _ in range(rng.integers(1, 7)):
        foot = np.array([rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, 0.001])
        put_shape(build, rng, pick(rng, bank.shapes), foot, rng.uniform(0.08, 0.4))
    for _ in range(rng.integers(0, 5)):
        size = rng.uniform(0.15, 0.9, 3)
        pose = translation(
            [rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, size[2] / 2]
        ) @ rotation([0, 0, 1], rng.random() * 2 * np.pi)
        build.add(box(size), build.slot("any"), build.instance("object"), pose)


def tabletop(rng: Rng, bank: Bank) -> Scene:
    """A close view of things on a table, a shelf board or in a pile, with a wall behind or nothing."""
    build = SceneBuilder("tabletop")
    half = rng.uniform(0.25, 0.6, 2)
    slab = rounded_box((2 * half[0] + 0.3, 2 * half[1] + 0.3, 0.05), 0.008, (0, 0, -0.025))
    build.add(slab, build.slot("table"), build.instance("table"))
    behind = half[1] + rng.uniform(0.15, 1.5)
    build.add_box((12, 0.1, 8), (0, behind + 0.05, 3.2), build.slot("wall"), build.instance("wall"))
    build.add_box((12, 12, 0.1), (0, behind - 6, -0.8), build.slot("floor"), build.instance("floor"))
    if chance(rng, 0.35):  # a corner
        x = pick(rng, (-1, 1)) * (half[0] + rng.uniform(0.2, 1.2))
        build.add_box(
            (0.1, 12, 8), (x + np.sign(x) * 0.05, behind - 6, 3.2), build.slot("wall"), build.instance("wall")
        )
    focuses = _pile(build, rng, bank, half) if chance(rng, 0.35) else _arrange(build, rng, bank, half)
    top = (np.eye(4), (float(half[0]), float(half[1]), 0.0))
    return build.bake(
        np.array([-half[0], -half[1], 0.0]),
        np.array([half[0], half[1], 0.4]),
        tops=[top],
        focuses=focuses,
        backdrop=True,
    )


def _arrange(build: SceneBuilder, rng: Rng, bank: Bank, half: Array) -> list[Array]:
    focuses: list[Array] = []
    boxes = bank.shapes_of_kind("box", "case", "bottle", "cup", "books", "carton", "pouch")
    if chance(rng, 0.25):  # glassware, tins and papers
        boxes = bank.shapes_of_kind(
            *pick(
                rng,
                (("bottle",), ("bottle", "cup", "vase"), ("box", "pouch"), ("folded", "page", "crumpled")),
            )
        )
    for _ in range(rng.integers(2, 14)):
        size = log_uniform(rng, 0.05, 0.22)
        foot = np.array([*rng.uniform(-half, half), 0.0005])
        if all(np.linalg.norm(foot[:2] - other[:2]) > 0.6 * size for other in focuses):
            put_shape(build, rng, pick(rng, boxes if chance(rng, 0.4) else bank.shapes), foot, size)
            focuses.append(foot + [0, 0, size * rng.uniform(0.2, 0.8)])
    return focuses or [np.array([0, 0, 0.05])]


def _pile(build: SceneBuilder, rng: Rng, bank: Bank, half: Array) -> list[Array]:
    """Things thrown on one heap: a rough stack that grows upward."""
    shape_choice = [pick(rng, bank.shapes) for _ in range(rng.integers(1, 6))]
    heights: list[tuple[Array, float]] = []
    spread = rng.uniform(0.25, 0.8)
    for _ in range(rng.integers(8, 26)):
        size, at = rng.uniform(0.05, 0.13), rng.normal(0, spread, 2) * half
        below = [top for centre, top in heights if np.linalg.norm(centre - at) < size]
        foot = max(below, default=0.0)
        put_shape(build, rng, pick(rng, shape_choice), np.array([*at, foot * 0.9]), size, tumble=0.9)
        heights.append((at, foot + size))
    return [np.array([*centre, top * 0.6]) for centre, top in heights]


def single_object(rng: Rng, bank: Bank) -> Scene:
    """One object or a few, floating or on a plane, with nothing behind."""
    build = SceneBuilder("object")
    count = pick(rng, (1, 1, 1, 1, 2, 3, 5))
    if count == 1 and chance(rng, 0.15):
        piece = pick(
            rng, bank.of_kind("chair", "chair", "cabinet", "table", "sofa", "plant", "lamp", "bench")
        )
        low, high = piece.bounds()
        put_furniture(build, rng, piece, scaling(1.6 / float((high - low).max())))
    elif count == 1:
        kind = pick(rng, sorted({shape.kind for shape in bank.shapes}))
        choice = bank.shapes_of_kind(kind) if chance(rng, 0.3) else bank.shapes
        put_shape(build, rng, pick(rng, choice), np.zeros(3), 1.0, tumble=0.5)
    else:
        for _ in range(count):
            angle, away = rng.random() * 2 * np.pi, rng.uniform(0.3, 1.1)
            foot = np.array([away * np.cos(angle), away * np.sin(angle), 0.0])
            put_shape(build, rng, pick(rng, bank.shapes), foot, rng.uniform(0.3, 0.8))
    low = np.min([mesh.bounds()[0] for mesh, _, _ in build.parts], 0)
    high = np.max([mesh.bounds()[1] for mesh, _, _ in build.parts], 0)
    grounded = chance(rng, 0.4)
    if grounded:
        middle = (low + high) / 2
        build.add_box(
            (40, 40, 0.1),
            (middle[0], middle[1], low[2] - 0.05),
            build.slot("table"),
            build.instance("ground"),
        )
    return build.bake(low, high, has_ground=grounded)


def street(rng: Rng, bank: Bank) -> Scene:
    """A road between boxes of houses with windows, kerbs, poles, trees, parked boxes and sky."""
    build = SceneBuilder("street")
    road, walk = rng.uniform(2.5, 6), rng.uniform(1, 3)
    build.add_box((2 * road, 160, 0.1), (0, 0, -0.05), build.slot("ground"), build.instance("road"))
    for side in (-1, 1):
        build.add_box(
            (60, 160, 0.25), (side * (road + 30), 0, 0.02), build.slot("ground"), build.instance("ground")
        )
        y = -60.0
        while y < 60:
            long = rng.uniform(4, 16)
            if chance(rng, 0.85):
                _house(build, rng, side, road + walk, y + long / 2, long * rng.uniform(0.85, 1.0))
            y += long
    fronts: Fronts = []
    focuses = [np.array([pick(rng, (-1, 1)) * road, rng.uniform(-15, 15), 1.0]) for _ in range(4)]
    for _ in range(rng.integers(2, 9)):
        y, x = rng.uniform(-25, 25), pick(rng, (-1, 1)) * (road + rng.uniform(0.2, 0.8))
        kind = rng.integers(3)
        if kind == 0:
            build.add(
                rod(np.array([x, y, 0]), np.array([x, y, rng.uniform(2.5, 7)]), 0.06),
                build.slot("metal"),
                build.instance("object"),
            )
        elif kind == 1:
            plant_tree(build, rng, bank, np.array([x, y, 0.1]))
        else:
            _parked_car(build, rng, np.sign(x) * (road - 1.1), y)
        focuses.append(np.array([x, y, 1.0]))
    for _ in range(rng.integers(1, 6)):
        foot = np.array([pick(rng, (-1, 1)) * (road + rng.uniform(0.2, walk)), rng.uniform(-12, 12), 0.145])
        put_shape(build, rng, pick(rng, bank.shapes), foot, rng.uniform(0.15, 0.8))
        focuses.append(foot + [0, 0, 0.3])
    if bank.assets:
        focuses += _real_things(build, rng, bank, road, walk)
    low, high = np.array([-road - walk + 0.3, -30.0, 0]), np.array([road + walk - 0.3, 30.0, 6.0])
    return build.bake(low, high, focuses=focuses, fronts=fronts, outdoors=True)


def _real_things(build: SceneBuilder, rng: Rng, bank: Bank, road: float, walk: float) -> list[Array]:
    """Cars, trees, benches and people of others' models along the road; returns points to look at."""
    focuses, left = [], 90_000
    outside = [asset for asset in bank.assets if asset.place == "outdoors" or asset.category == "Characters"]
    for _ in range(rng.integers(2, 9) if outside else 0):
        asset = pick(rng, outside)
        left -= asset.triangles
        if left < 0 or asset.size.max() > 14:
            continue
        side, y = pick(rng, (-1, 1)), rng.uniform(-14, 14)
        away = asset.footprint if asset.size[:2].max() < walk else 0.0
        x = side * (road + 0.1 + away if away else road - min(1.1, road / 2))
        turn = (0.0 if side > 0 else np.pi) + rng.normal(0, 0.1) if chance(rng, 0.7) else rng.random() * 6.28
        put_asset(build, rng, asset, translation([x, y, 0.145 if away else 0]) @ rotation([0, 0, 1], turn))
        focuses.append(np.array([x, y, rng.uniform(0.2, 0.9) * min(float(asset.high[2]), 2.0)]))
    return focuses


def _house(build: SceneBuilder, rng: Rng, side: int, front: float, y: float, long: float) -> None:
    tall, deep = rng.uniform(3, 14), rng.uniform(5, 10)
    front += rng.uniform(0, 1.5)
    this, wall, glass, trim = (
        build.instance("building"),
        build.slot("facade"),
        build.slot("appliance"),
        build.slot("any"),
    )
    build.add_box((deep, long, tall), (side * (front + deep / 2), y, tall / 2), wall, this)
    if chance(rng, 0.5):
        near, far = side * front, side * (front + deep)
        roof, gables = _gable_roof((near, far), (y - long / 2, y + long / 2), tall, rng.uniform(0.8, 3))
        build.add(roof, trim, this)
        build.add(gables, wall, this)
    floors, columns = max(1, int(tall // 2.8)), max(1, int(long // rng.uniform(1.6, 3)))
    out = rng.choice([-0.1, 0.06])
    for level in range(floors):
        for column in range(columns):
            at = y + ((column + 0.5) / columns - 0.5) * long
            up = 0.15 + tall * (level + 0.55) / floors
            if level == 0 and column == columns // 2:
                build.add_box((0.12, 1.0, 2.1), (side * (front + 0.03), at, 1.15), trim, this)
            elif abs(at) < 30:
                build.add_box((0.1, 1.1, 1.3), (side * (front - out * 0.3), at, up), trim, this)
                build.add_box((0.1, 0.95, 1.15), (side * (front - out * 0.3 - 0.02), at, up), glass, this)


def _gable_roof(
    xs: tuple[float, float], ys: tuple[float, float], eaves: float, rise: float
) -> tuple[Mesh, Mesh]:
    """Two roof slopes that overhang the walls a little, and the walls' triangles under them."""
    middle, over = (xs[0] + xs[1]) / 2, 0.3 * np.sign(xs[1] - xs[0])
    drop = rise * 0.6 / abs(xs[1] - xs[0])  # the slope goes on below the eaves
    profile = [(xs[0] - over, eaves - drop), (middle, eaves + rise), (xs[1] + over, eaves - drop)]
    slopes = grid(np.array([[[x, y, z] for x, z in profile] for y in (ys[0] - 0.2, ys[1] + 0.2)]))
    corners = [[x, y, z] for y in ys for x, z in ((xs[0], eaves), (middle, eaves + rise), (xs[1], eaves))]
    return slopes, mesh_from_faces(np.array(corners), np.array([[0, 1, 2], [3, 4, 5]]))


def _parked_car(build: SceneBuilder, rng: Rng, x: float, y: float) -> None:
    this, body = build.instance("object"), build.slot("appliance")
    long, wide = rng.uniform(3.4, 4.8), rng.uniform(1.6, 1.9)
    build.add(rounded_box((wide, long, 0.7), 0.18, (x, y, 0.65)), body, this)
    build.add(
        rounded_box(
            (wide * 0.88, long * rng.uniform(0.45, 0.65), 0.75), 0.25, (x, y + rng.normal(0, 0.2), 1.15)
        ),
        build.slot("appliance"),
        this,
    )
    tyre = build.slot("leaf")
    for sx in (-1, 1):
        for sy in (-1, 1):
            hub = np.array([x + sx * wide * 0.42, y + sy * long * 0.3, 0.33])
            build.add(rod(hub, hub + [sx * 0.2, 0, 0], 0.33, sections=20), tyre, this)


BUILDERS: dict[str, Callable[[Rng, Bank], Scene]] = {
    "room": room,
    "tabletop": tabletop,
    "object": single_object,
    "street": street,
    "closeup": closeup,
    "statue": statue,
    "drapery": drapery,
    "lattice": lattice,
    "foliage": foliage,
    "architecture": architecture,
}
"""Scene kind -> its builder."""
