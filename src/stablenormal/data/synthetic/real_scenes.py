"""Scenes with models that others made, in real sizes: rooms by use, tables, shelves, fronts, single things.

Kinds that have no models of their own keep the builders of `scenes.py`.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from stablenormal.data.synthetic.assets import Asset
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.close_scenes import paved_terrace, stage
from stablenormal.data.synthetic.draws import Array, Rng, chance, log_uniform, pick
from stablenormal.data.synthetic.meshes import box, rotation, rounded_box, scaling, translation
from stablenormal.data.synthetic.placing import put_asset, put_furniture, put_shape
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.scenes import BUILDERS, Fronts, Tops, room_shell

TRIANGLE_BUDGET = 120_000
"""A scene stops taking models here."""

_USES: dict[str, tuple[str, ...]] = {
    "kitchen": ("Kitchen",),
    "living": ("Living room",),
    "bedroom": ("Bedroom", "Living room"),
    "bathroom": ("Bathroom",),
    "office": ("Office", "Living room"),
    "any": (),
}
"""Use of a room -> categories of its furniture; none: every category."""


class _Budget:
    """How many triangles a scene may still take."""

    def __init__(self, triangles: int) -> None:
        self.left = triangles

    def takes(self, asset: Asset) -> bool:
        """Whether the model fits; if so it counts."""
        if asset.triangles > self.left:
            return False
        self.left -= asset.triangles
        return True


def _of(bank: Bank, place: str, categories: Sequence[str] = (), labels: Sequence[str] = ()) -> list[Asset]:
    return [
        asset
        for asset in bank.assets
        if asset.place == place
        and (not categories or asset.category in categories)
        and (not labels or asset.label in labels)
    ]


def _stand(rng: Rng, bank: Bank, build: SceneBuilder, budget: _Budget, foot: Array, room: float) -> float:
    """One small thing on a point (3,), real three times in four; returns its height."""
    small = _of(bank, "small")
    if small and chance(rng, 0.78):
        for _ in range(6):
            asset = pick(rng, small)
            if asset.size[2] < room and budget.takes(asset):
                turn = rng.random() * 2 * np.pi if chance(rng, 0.7) else rng.normal(0, 0.2)
                size = rng.uniform(0.85, 1.2)
                if asset.size[2] < 0.05 * asset.size[:2].max() and chance(rng, 0.3) and room > 0.3:
                    lean = rotation([1, 0, 0], rng.uniform(0.9, 1.4))  # a flat thing leans
                    lift = float(asset.size[1] / 2) * size
                    pose = translation(foot + [0, 0, lift]) @ rotation([0, 0, 1], turn) @ lean @ scaling(size)
                else:
                    pose = translation(foot) @ rotation([0, 0, 1], turn) @ scaling(size)
                put_asset(build, rng, asset, pose)
                return float(asset.size[2]) * size
        return 0.0
    shape, size = pick(rng, bank.shapes), min(log_uniform(rng, 0.035, 0.16), room / 2)
    budget.left -= len(shape.mesh.faces)
    if budget.left > 0:
        put_shape(build, rng, shape, foot, size)
    return size


def _fill(
    rng: Rng, bank: Bank, build: SceneBuilder, budget: _Budget, asset: Asset, pose: Array, share: float = 0.7
) -> list[Array]:
    """Things on the level surfaces of a model; returns points to look at."""
    focuses = []
    for x, y, half_x, half_y, height, above in asset.tops:
        if not chance(rng, share):
            continue
        for _ in range(int(rng.integers(1, 4 + int(6 * min(half_x, 1.0))))):
            at = np.array([x + rng.uniform(-half_x, half_x), y + rng.uniform(-half_y, half_y), height, 1])
            foot = (pose @ at)[:3]
            tall = _stand(rng, bank, build, budget, foot + [0, 0, 0.001], 0.9 * above)
            focuses.append(foot + [0, 0, 0.5 * tall])
    return focuses


def room(rng: Rng, bank: Bank) -> Scene:
    """A kitchen, living room, bedroom, bathroom, office or mixed room."""
    build, budget = SceneBuilder("room"), _Budget(TRIANGLE_BUDGET)
    (width, depth, height), window = room_shell(build, rng)
    use = pick(rng, ("kitchen", "kitchen", "living", "living", "bedroom", "bathroom", "office", "any"))
    tops, fronts, focuses = Tops(), Fronts(), list[Array]()
    taken: list[tuple[float, float, float]] = []

    def settle(asset: Asset, pose: Array) -> None:
        put_asset(build, rng, asset, pose)
        for x, y, half_x, half_y, z, _ in asset.tops[-1:]:
            tops.append((pose @ translation([x, y, 0]), (float(half_x), float(half_y), float(z))))
        if asset.against_wall or asset.label == "sofa":
            middle = pose @ np.array([0, asset.low[1], min(asset.high[2], 1.6) * 0.5, 1])
            size = float(max(asset.size[0], min(asset.size[2], 1.6)))
            fronts.append((middle[:3], pose[:3, :3] @ [0, -1, 0], size))
        focuses.append(pose[:3, 3] + [0, 0, rng.uniform(0.1, max(0.2, min(1.2, asset.high[2])))])
        if len(asset.tops):
            focuses.extend(_fill(rng, bank, build, budget, asset, pose)[:4])

    if use in ("kitchen", "office", "bathroom") or chance(rng, 0.3):
        _along_wall(rng, bank, budget, use, (width, depth, height), taken, settle)
    standing = _of(bank, "floor", _USES[use]) or _of(bank, "floor")
    for _ in range(rng.integers(3, 10)):
        if not standing or chance(rng, 0.12):
            _procedural(rng, bank, build, budget, (width, depth), taken, tops, fronts)
            continue
        asset = pick(rng, standing if chance(rng, 0.85) else _of(bank, "floor") or standing)
        place = _find_place(rng, asset, width, depth, taken)
        if place is None or not budget.takes(asset):
            continue
        x, y, turn = place
        taken.append((x, y, asset.footprint))
        pose = translation([x, y, 0]) @ rotation([0, 0, 1], turn) @ scaling(rng.uniform(0.93, 1.07, 3))
        settle(asset, pose)
        if asset.label == "table" and asset.high[2] > 0.6:
            _seats(rng, bank, build, budget, pose, asset, focuses)
    _on_walls(rng, bank, build, budget, (width, depth, height), focuses)
    for _ in range(rng.integers(0, 6)):
        foot = np.array([rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, 0.001])
        _stand(rng, bank, build, budget, foot, 1.0)
    for _ in range(rng.integers(0, 3)):
        size = rng.uniform(0.15, 0.8, 3)
        at = [rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, size[2] / 2]
        pose = translation(at) @ rotation([0, 0, 1], rng.random() * 2 * np.pi)
        build.add(box(size), build.slot("any"), build.instance("object"), pose)
    low, high = np.array([-width / 2, -depth / 2, 0]), np.array([width / 2, depth / 2, height])
    return build.bake(low, high, tops=tops, fronts=fronts, focuses=focuses, window=window)


def _wall_pose(wall: int, along: float, gap: float, width: float, depth: float, up: float = 0.0) -> Array:
    """Where a thing stands whose back is `gap` behind its origin, against wall 0 to 3 (-x, x, -y, y)."""
    turn = (np.pi / 2, -np.pi / 2, np.pi, 0.0)[wall]
    x = (-width / 2 + gap, width / 2 - gap, along, along)[wall]
    y = (along, along, -depth / 2 + gap, depth / 2 - gap)[wall]
    return translation([x, y, up]) @ rotation([0, 0, 1], turn)


def _along_wall(
    rng: Rng, bank: Bank, budget: _Budget, use: str, size: tuple[float, float, float],
    taken: list[tuple[float, float, float]], settle: Callable[[Asset, Array], None],
) -> None:  # fmt: skip
    """A row of units side by side along a wall, and in kitchens others that hang over them."""
    width, depth, _ = size
    units = [a for a in _of(bank, "floor", _USES[use], ("cabinet", "shelf")) if a.size[0] < 1.8]
    units = units or _of(bank, "floor", (), ("cabinet", "shelf"))
    if not units:
        return
    wall = int(rng.integers(4))
    length = depth if wall < 2 else width
    alike = [pick(rng, units) for _ in range(int(rng.integers(1, 5)))]
    stretch = rng.uniform(0.9, 1.1)
    x, gap = -length / 2 + rng.uniform(0.02, 0.5), pick(rng, (0.0, 0.003, 0.01))
    end = length / 2 - rng.uniform(0.0, 0.4 * length)
    while x < end:
        asset = pick(rng, alike) if chance(rng, 0.8) else pick(rng, units)
        wide = float(asset.size[0]) * stretch
        if x + wide > length / 2 or not budget.takes(asset):
            break
        pose = _wall_pose(wall, x + wide / 2, float(asset.high[1]) + 0.005, width, depth)
        settle(asset, pose @ scaling([stretch, 1, 1]))
        taken.append((float(pose[0, 3]), float(pose[1, 3]), asset.footprint))
        x += wide + gap
    hung = [a for a in _of(bank, "wall", ("Kitchen",)) if 1.2 < a.elevation < 2.0]
    if use == "kitchen" and hung and chance(rng, 0.75):
        x = -length / 2 + rng.uniform(0.02, 1.0)
        alike = [pick(rng, hung) for _ in range(2)]
        while x < end:
            asset = pick(rng, alike)
            wide = float(asset.size[0])
            if x + wide > length / 2 or not budget.takes(asset):
                break
            up = asset.elevation
            settle(asset, _wall_pose(wall, x + wide / 2, float(asset.high[1]) + 0.005, width, depth, up))
            x += wide + gap


def _procedural(
    rng: Rng, bank: Bank, build: SceneBuilder, budget: _Budget, size: tuple[float, float],
    taken: list[tuple[float, float, float]], tops: Tops, fronts: Fronts,
) -> None:  # fmt: skip
    """A piece of the generator's own furniture against a wall."""
    piece = pick(rng, bank.furniture)
    low, high = piece.bounds()
    wall = int(rng.integers(4))
    free = max(0.0, (size[1] if wall < 2 else size[0]) / 2 - float(high[0]))
    pose = _wall_pose(wall, rng.uniform(-free, free), float(high[1]) + 0.01, *size)
    x, y, reach = float(pose[0, 3]), float(pose[1, 3]), float(np.abs([low[:2], high[:2]]).max())
    budget.left -= sum(len(part.mesh.faces) for part in piece.parts)
    if budget.left < 0 or any(np.hypot(x - a, y - b) < 0.7 * (reach + r) for a, b, r in taken):
        return
    taken.append((x, y, reach))
    put_furniture(build, rng, piece, pose)
    if piece.top:
        tops.append((pose, piece.top))
    middle = pose @ np.array([0, low[1], min(high[2], 1.6) * 0.5, 1])
    fronts.append((middle[:3], pose[:3, :3] @ [0, -1, 0], float(max(high[0] - low[0], min(high[2], 1.6)))))


def _find_place(
    rng: Rng, asset: Asset, width: float, depth: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float, float] | None:
    reach = asset.footprint
    for _ in range(15):
        free_x, free_y = max(0.0, width / 2 - reach), max(0.0, depth / 2 - reach)
        x, y = rng.uniform(-free_x, free_x), rng.uniform(-free_y, free_y)
        turn = rng.random() * 2 * np.pi if chance(rng, 0.5) else np.pi / 2 * rng.integers(4)
        if chance(rng, 0.9 if asset.against_wall else 0.25):
            along = x if chance(rng, 0.5) else y
            wall = int(rng.integers(4))
            pose = _wall_pose(wall, along, float(asset.high[1]) + 0.01, width, depth)
            x, y, turn = pose[0, 3], pose[1, 3], float(np.arctan2(pose[1, 0], pose[0, 0]))
        if all(np.hypot(x - a, y - b) > 0.75 * (reach + r) for a, b, r in taken):
            return float(x), float(y), float(turn)
    return None


def _seats(
    rng: Rng, bank: Bank, build: SceneBuilder, budget: _Budget, pose: Array, table: Asset,
    focuses: list[Array],
) -> None:  # fmt: skip
    """Chairs around a table, mostly alike."""
    chairs = [
        a for a in _of(bank, "floor", (), ("chair",)) if a.size[:2].max() < 0.75 and a.triangles < 12_000
    ]
    if not chairs:
        return
    chair = pick(rng, chairs)
    for side in rng.permutation(4)[: rng.integers(1, 5)]:
        if not budget.takes(chair):
            break
        turn = np.pi / 2 * side + rng.normal(0, 0.2)
        away = float(table.high[1] if side % 2 == 0 else table.high[0]) + rng.uniform(-0.1, 0.35)
        seat = pose @ rotation([0, 0, 1], turn) @ translation([rng.normal(0, 0.12), away, 0])
        put_asset(build, rng, chair, seat)
        focuses.append(seat[:3, 3] + [0, 0, rng.uniform(0.3, 0.9)])


def _on_walls(
    rng: Rng, bank: Bank, build: SceneBuilder, budget: _Budget, size: tuple[float, float, float],
    focuses: list[Array],
) -> None:  # fmt: skip
    """Doors, windows, lamps, radiators and other things on the walls, and a lamp below the ceiling."""
    width, depth, height = size
    hung, openings = _of(bank, "wall"), _of(bank, "opening")
    for _ in range(rng.integers(0, 6)):
        choice = openings if openings and chance(rng, 0.4) else hung
        if not choice:
            break
        asset, wall = pick(rng, choice), int(rng.integers(4))
        if asset.elevation + asset.size[2] > height or asset.size[0] > 2 or not budget.takes(asset):
            continue
        free = max(0.0, (depth if wall < 2 else width) / 2 - float(asset.high[0]))
        sunk = 0.6 * float(asset.size[1]) if asset.place == "opening" else 0.0  # a part of it is in the wall
        gap = float(asset.high[1]) - sunk + 0.002
        pose = _wall_pose(wall, rng.uniform(-free, free), gap, width, depth, asset.elevation)
        put_asset(build, rng, asset, pose)
        focuses.append(pose[:3, 3] + [0, 0, asset.size[2] / 2])
    lamps = _of(bank, "ceiling")
    if lamps and chance(rng, 0.4):
        asset = pick(rng, lamps)
        if asset.size[2] < height - 1.7 and budget.takes(asset):
            at = [rng.uniform(-0.25, 0.25) * width, rng.uniform(-0.25, 0.25) * depth, height - asset.size[2]]
            put_asset(build, rng, asset, translation(at))


def tabletop(rng: Rng, bank: Bank) -> Scene:
    """Real small things on a table top or a real table, close."""
    build, budget = SceneBuilder("tabletop"), _Budget(TRIANGLE_BUDGET)
    half = rng.uniform(0.22, 0.6, 2)
    slab = rounded_box((2 * half[0] + 0.3, 2 * half[1] + 0.3, 0.05), 0.008, (0, 0, -0.025))
    build.add(slab, build.slot("table"), build.instance("table"))
    behind = half[1] + rng.uniform(0.15, 1.5)
    build.add_box((12, 0.1, 8), (0, behind + 0.05, 3.2), build.slot("wall"), build.instance("wall"))
    build.add_box((12, 12, 0.1), (0, behind - 6, -0.8), build.slot("floor"), build.instance("floor"))
    if chance(rng, 0.35):  # a corner
        x = pick(rng, (-1, 1)) * (half[0] + rng.uniform(0.2, 1.2))
        at = (x + np.sign(x) * 0.05, behind - 6, 3.2)
        build.add_box((0.1, 12, 8), at, build.slot("wall"), build.instance("wall"))
    focuses: list[Array] = []
    for _ in range(rng.integers(3, 14)):
        foot = np.array([*rng.uniform(-half, half), 0.0005])
        if all(np.linalg.norm(foot[:2] - other[:2]) > 0.1 for other in focuses):
            tall = _stand(rng, bank, build, budget, foot, 0.7)
            focuses.append(foot + [0, 0, tall * rng.uniform(0.2, 0.8)])
    focuses = focuses or [np.array([0, 0, 0.05])]
    return build.bake(
        np.array([-half[0], -half[1], 0.0]), np.array([half[0], half[1], 0.4]),
        tops=[(np.eye(4), (float(half[0]), float(half[1]), 0.0))], focuses=focuses, backdrop=True,
    )  # fmt: skip


def single_object(rng: Rng, bank: Bank) -> Scene:
    """One model of any kind, scaled to one size, floating or on a plane, with nothing behind."""
    if chance(rng, 0.2):
        return BUILDERS["object"](rng, bank)
    build = SceneBuilder("object")
    places = ("floor", "floor", "floor", "small", "small", "wall", "outdoors", "ceiling", "opening")
    choice = _of(bank, pick(rng, places)) or list(bank.assets)
    count = pick(rng, (1, 1, 1, 1, 1, 2, 3))
    for k in range(count):
        asset = pick(rng, choice)
        size = 1 / float(np.linalg.norm(asset.size) / 2)
        turn = rotation([0, 0, 1], rng.random() * 2 * np.pi)
        if count == 1 and chance(rng, 0.12 if asset.place != "small" else 0.35):
            turn = turn @ rotation(rng.normal(size=3), rng.random() * np.pi)
        away = 0.0 if count == 1 else rng.uniform(0.6, 1.1)
        angle = 2 * np.pi * k / count + rng.normal(0, 0.3)
        foot = [away * np.cos(angle), away * np.sin(angle), 0]
        shrunk = size if count == 1 else size * rng.uniform(0.5, 0.9)
        put_asset(build, rng, asset, translation(foot) @ turn @ scaling(shrunk))
    low = np.min([mesh.bounds()[0] for mesh, _, _ in build.parts], 0)
    high = np.max([mesh.bounds()[1] for mesh, _, _ in build.parts], 0)
    grounded = chance(rng, 0.35)
    if grounded:
        at = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] - 0.05)
        build.add_box((40, 40, 0.1), at, build.slot("table"), build.instance("ground"))
    return build.bake(low, high, has_ground=grounded)


def closeup(rng: Rng, bank: Bank) -> Scene:
    """Fronts of real cabinets, appliances and shelves in a row, or shelves full of things."""
    choice = rng.random()
    if choice < 0.22:
        return BUILDERS["closeup"](rng, bank)
    if choice < 0.47 and _of(bank, "small"):
        return _close_things(rng, bank)
    build, budget = SceneBuilder("closeup"), _Budget(TRIANGLE_BUDGET)
    fronts, focuses = Fronts(), list[Array]()
    units = _of(bank, "floor", (), ("cabinet", "shelf", "sofa", "bed"))
    shelves = [asset for asset in bank.assets if asset.label == "shelf" and len(asset.tops) > 1]
    wanted = shelves if shelves and chance(rng, 0.3) else units or list(bank.assets)
    categories = sorted({asset.category for asset in wanted})
    category = pick(rng, categories) if chance(rng, 0.5) else None
    together = [asset for asset in wanted if category in (None, asset.category)]
    behind, x = 0.0, 0.0
    for _ in range(rng.integers(1, 5)):
        asset = pick(rng, together)
        if not budget.takes(asset):
            continue
        turn = rng.normal(0, 0.25) if chance(rng, 0.2) else 0.0
        size = rng.uniform(0.9, 1.1, 3)
        y = behind - float(asset.high[1]) * size[1] - 0.01 - abs(np.sin(turn)) * 0.4
        pose = (
            translation([x - float(asset.low[0]) * size[0], y, 0]) @ rotation([0, 0, 1], turn) @ scaling(size)
        )
        put_asset(build, rng, asset, pose)
        front = float(asset.low[1] * size[1])
        middle = np.array([pose[0, 3], y + front, 0.5 * min(float(asset.high[2]), 1.6)])
        fronts.append((middle, np.array([0, -1.0, 0]), float(max(asset.size[0], min(asset.high[2], 1.6)))))
        focuses += [middle, *_fill(rng, bank, build, budget, asset, pose, 0.85)]
        x += float(asset.size[0]) * size[0] + pick(rng, (0.005, 0.01, rng.uniform(0.02, 0.4)))
    if not fronts:
        return BUILDERS["closeup"](rng, bank)
    for _ in range(rng.integers(0, 4)):
        foot = np.array([rng.uniform(-0.3, x), behind - rng.uniform(0.9, 1.3), 0.001])
        _stand(rng, bank, build, budget, foot, 1.0)
    stage(build, rng, behind, sides=(-0.2, x + 0.2))
    low, high = np.array([-0.2, behind - 0.7, 0]), np.array([x + 0.2, behind, 1.6])
    return build.bake(low, high, fronts=fronts, focuses=focuses, backdrop=True)


def _close_things(rng: Rng, bank: Bank) -> Scene:
    """Bottles, boxes, devices and other small things side by side on a table, near the camera."""
    build, budget = SceneBuilder("closeup"), _Budget(TRIANGLE_BUDGET)
    stage(build, rng, rng.uniform(0.3, 1.5), pick(rng, ("table", "table", "floor")))
    small = [asset for asset in _of(bank, "small") if asset.size[2] > 0.25 * asset.size[:2].max()]
    fronts, focuses, x = Fronts(), list[Array](), 0.0
    alike = [pick(rng, small) for _ in range(int(rng.integers(1, 5)))]
    for _ in range(rng.integers(1, 7)):
        asset = pick(rng, alike)
        if not budget.takes(asset):
            continue
        turn = rng.normal(0, 0.3) if chance(rng, 0.6) else rng.random() * 2 * np.pi
        wide, tall = 2 * asset.footprint, float(asset.size[2])
        pose = translation([x + wide / 2, rng.normal(0, 0.3) * wide, 0]) @ rotation([0, 0, 1], turn)
        put_asset(build, rng, asset, pose)
        middle = np.array([x + wide / 2, -wide / 3, tall * rng.uniform(0.3, 0.8)])
        fronts.append((middle, np.array([0, -1.0, 0]), max(wide, tall)))
        focuses.append(middle)
        x += wide * rng.uniform(0.75, 1.2)
    if not fronts:
        return BUILDERS["closeup"](rng, bank)
    low, high = np.array([0, -0.15, 0]), np.array([max(x, 0.1), 0.15, 0.35])
    return build.bake(low, high, fronts=fronts, focuses=focuses, backdrop=True)


_THIN = (
    r"chair|stool|bench|bike|bicycle|ladder|railing|fence|horse\b|rack|\bfan\b|lamp|swing|stroller|tricycle|shel"
    r"|umbrella|hanger|basket|goal|plant|tulip|bonsai|bamboo|lily|flower|scooter|wheelchair|light|music|stand|\bbed"
)
"""Names of models with bars, wires, spokes and leaves."""


def lattice(rng: Rng, bank: Bank) -> Scene:
    """Chairs, ladders, bicycles, racks and plants, close, one before the other."""
    thin = [a for a in bank.assets if re.search(_THIN, a.name.lower()) and a.place in ("floor", "outdoors")]
    thin = [asset for asset in thin if asset.size.max() < 2.3]
    if not thin or chance(rng, 0.3):
        return BUILDERS["lattice"](rng, bank)
    build, budget = SceneBuilder("lattice"), _Budget(TRIANGLE_BUDGET)
    behind, terrace = rng.uniform(0.5, 2.0), chance(rng, 0.3)
    if terrace:
        paved_terrace(build, rng, behind)
    else:
        stage(build, rng, behind)
    focuses: list[Array] = []
    alike = pick(rng, thin) if chance(rng, 0.35) else None
    for _ in range(rng.integers(2, 7)):
        asset = alike or pick(rng, thin)
        if not budget.takes(asset):
            continue
        x, y = rng.uniform(-1.1, 1.1), rng.uniform(-1.2, behind - 0.45)
        turn = rng.random() * 2 * np.pi if chance(rng, 0.6) else np.pi / 2 * rng.integers(4)
        put_asset(build, rng, asset, translation([x, y, 0]) @ rotation([0, 0, 1], turn))
        focuses.append(np.array([x, y, rng.uniform(0.3, 0.95) * min(float(asset.high[2]), 1.3)]))
    for shape in [
        pick(rng, bank.shapes_of_kind("grille", "basket", "wire", "cable", "plant")) for _ in range(2)
    ]:
        at = np.array([rng.uniform(-1, 1), rng.uniform(-1.2, behind - 0.3), 0.001])
        put_shape(build, rng, shape, at, rng.uniform(0.15, 0.5), tumble=0.2)
        focuses.append(at + [0, 0, 0.2])
    low, high = np.array([-1.2, -1.3, 0]), np.array([1.2, behind, 1.3])
    return build.bake(low, high, focuses=focuses, outdoors=terrace, backdrop=True)


def statue(rng: Rng, bank: Bank) -> Scene:
    """People and animals as models show them: whole figures, and near to their faces."""
    beings = [asset for asset in bank.assets if asset.category == "Characters"]
    if not beings or chance(rng, 0.4):
        return BUILDERS["statue"](rng, bank)
    build, budget = SceneBuilder("statue"), _Budget(TRIANGLE_BUDGET)
    lonely, count = chance(rng, 0.35), int(rng.integers(1, 4))
    focuses, tall = list[Array](), 0.3
    for k in range(count):
        asset = pick(rng, beings)
        if not budget.takes(asset):
            continue
        at = [(k - (count - 1) / 2) * rng.uniform(0.5, 1.0), rng.normal(0, 0.15), 0]
        put_asset(build, rng, asset, translation(at) @ rotation([0, 0, 1], rng.normal(0, 0.7)))
        top = float(asset.high[2])
        tall = max(tall, top)
        focuses += [
            np.array([*at[:2], top * share]) for share in (rng.uniform(0.85, 0.97), rng.uniform(0.3, 0.95))
        ]
    if not lonely:
        stage(build, rng, rng.uniform(0.8, 1.8), pick(rng, ("floor", "ground")))
    low, high = np.array([-0.5, -0.4, 0.0]), np.array([0.5, 0.4, tall])
    return build.bake(low, high, focuses=focuses, has_ground=not lonely, backdrop=not lonely)


REAL_BUILDERS: dict[str, Callable[[Rng, Bank], Scene]] = {
    **BUILDERS,
    "room": room,
    "tabletop": tabletop,
    "object": single_object,
    "closeup": closeup,
    "lattice": lattice,
    "statue": statue,
}
"""Scene kind -> its builder where models are given."""
