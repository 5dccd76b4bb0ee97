"""Scenes seen from near: fronts that fill the picture, statues, cloth and paper, thin things."""

import numpy as np

from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.draws import Array, Rng, chance, log_uniform, pick
from stablenormal.data.synthetic.meshes import box, grid, rotation, scaling, translation
from stablenormal.data.synthetic.placing import put_furniture, put_shape
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.sculptures import pedestal
from stablenormal.data.synthetic.sheets import folds, hanging_cloth

_FRONT_KINDS = (
    "cabinet",
    "cabinet",
    "kitchen",
    "appliance",
    "appliance",
    "shelf",
    "crates",
    "crates",
    "sofa",
    "radiator",
    "stairs",
    "rack",
    "bed",
)


def stage(
    build: SceneBuilder,
    rng: Rng,
    behind: float,
    ground: str = "floor",
    sides: tuple[float, float] = (-1.2, 1.2),
) -> None:
    """A ground at z = 0, a wall at y = behind, and sometimes one well beside the things between two x."""
    build.add_box((14, 14, 0.1), (0, behind - 6.9, -0.05), build.slot(ground), build.instance("floor"))
    build.add_box((14, 0.1, 5), (0, behind + 0.05, 2.45), build.slot("wall"), build.instance("wall"))
    if chance(rng, 0.35):
        side = int(rng.integers(2))
        x = sides[side] + (-1, 1)[side] * (0.6 + rng.uniform(0, 0.8))
        build.add_box((0.1, 14, 5), (x, behind - 7, 2.45), build.slot("wall"), build.instance("wall"))


def closeup(rng: Rng, bank: Bank) -> Scene:
    """Fronts of cabinets, appliances, crates, shelves, steps or books, made to fill the picture."""
    build = SceneBuilder("closeup")
    if chance(rng, 0.3):
        return _close_boxes(build, rng, bank)
    behind, x = 0.0, 0.0
    fronts, focuses = [], []
    for _ in range(rng.integers(1, 4)):
        piece = pick(rng, bank.of_kind(pick(rng, _FRONT_KINDS)))
        size = scaling(rng.uniform(0.85, 1.15, 3))
        low, high = (corner * np.diag(size)[:3] for corner in piece.bounds())
        turn = rng.normal(0, 0.25) if chance(rng, 0.3) else 0.0
        place = translation([x - low[0], behind - high[1] - 0.01 - abs(np.sin(turn)) * 0.5, 0])
        put_furniture(build, rng, piece, place @ rotation([0, 0, 1], turn) @ size)
        middle = np.array([x + (high[0] - low[0]) / 2, behind - high[1] + low[1], 0.5 * min(high[2], 1.6)])
        fronts.append((middle, np.array([0, -1.0, 0]), float(max(high[0] - low[0], min(high[2], 1.6)))))
        focuses.append(middle)
        x += float(high[0] - low[0]) + pick(rng, (0.01, 0.02, rng.uniform(0.02, 0.4)))
        wide = piece.top[0] if piece.top else 0.0
        for _ in range(rng.integers(0, 3) if wide else 0):
            at = np.array([middle[0] + rng.uniform(-0.8, 0.8) * wide, behind - 0.2, high[2] + 0.001])
            put_shape(build, rng, pick(rng, bank.shapes), at, log_uniform(rng, 0.05, 0.2))
    for _ in range(rng.integers(0, 3)):
        foot = np.array([rng.uniform(-0.3, x), behind - rng.uniform(0.9, 1.3), 0.001])
        put_shape(build, rng, pick(rng, bank.shapes), foot, rng.uniform(0.06, 0.25))
    low, high = np.array([-0.2, behind - 0.7, 0]), np.array([x + 0.2, behind, 1.6])
    stage(build, rng, behind, sides=(-0.2, x + 0.2))
    return build.bake(low, high, fronts=fronts, focuses=focuses, backdrop=True)


def _close_boxes(build: SceneBuilder, rng: Rng, bank: Bank) -> Scene:
    """Boxes, books and packets packed close on a table or floor, their fronts toward the camera."""
    stage(build, rng, rng.uniform(0.3, 1.5), pick(rng, ("table", "table", "floor")))
    kinds = pick(
        rng,
        (("box",), ("box", "case"), ("books", "box"), ("box", "bottle", "cup"), ("case", "pouch", "round")),
    )
    shapes, focuses, fronts, x = bank.shapes_of_kind(*kinds), [], [], 0.0
    turned = rng.normal(0, 0.4)
    for _ in range(rng.integers(1, 6)):
        size, shape = rng.uniform(0.1, 0.22), pick(rng, shapes)
        low, high = shape.mesh.bounds()
        turn = turned + rng.normal(0, 0.12)
        reach = float(size * np.hypot(high[0] - low[0], high[1] - low[1]))
        pose = translation([x + reach / 2, rng.normal(0, 0.03), -low[2] * size]) @ rotation([0, 0, 1], turn)
        build.add(shape.mesh, build.slot(shape.role), build.instance(shape.label), pose @ scaling(size))
        middle = np.array([x + reach / 2, -reach / 3, (high[2] - low[2]) * size * rng.uniform(0.3, 0.7)])
        fronts.append(
            (middle, np.array([np.sin(turn), -np.cos(turn), 0.0]), float((high - low).max() * size))
        )
        focuses.append(middle)
        if chance(rng, 0.3):  # something on top
            put_shape(
                build,
                rng,
                pick(rng, bank.shapes),
                np.array([x + reach / 2, 0, (high[2] - low[2]) * size]),
                size * 0.5,
            )
        x += reach * rng.uniform(0.8, 1.15)
    return build.bake(
        np.array([0, -0.15, 0]),
        np.array([max(x, 0.1), 0.15, 0.35]),
        fronts=fronts,
        focuses=focuses,
        backdrop=True,
    )


def statue(rng: Rng, bank: Bank) -> Scene:
    """Busts, animals and carvings on pedestals or the ground, before a wall, a niche, or nothing."""
    build = SceneBuilder("statue")
    height, size = rng.uniform(0.5, 1.3), rng.uniform(0.22, 0.5)
    lonely = chance(rng, 0.4)
    kinds = pick(
        rng,
        (
            ("head",),
            ("head",),
            ("animal",),
            ("figurine", "animal"),
            ("relief", "head"),
            ("head", "blob", "vase"),
        ),
    )
    shapes, focuses = bank.shapes_of_kind(*kinds), []
    count = 1 if lonely else int(rng.integers(1, 4))
    for k in range(count):
        shape, x = pick(rng, shapes), (k - (count - 1) / 2) * rng.uniform(0.8, 1.2)
        low, _ = shape.mesh.bounds()
        top = np.array([x, rng.normal(0, 0.1), height])
        pose = translation(top - [0, 0, low[2] * size]) @ rotation([0, 0, 1], rng.normal(0, 0.8))
        pose = pose @ scaling(size * np.exp(rng.normal(0, 0.08, 3)))
        build.add(shape.mesh, build.slot("statue"), build.instance("object"), pose)
        if chance(rng, 0.8):
            foot = translation([x, top[1], 0])
            build.add(
                pedestal(rng, height, size * rng.uniform(0.5, 1.1)),
                build.slot("statue"),
                build.instance("object"),
                foot,
            )
        focuses.append(top - [0, 0, low[2] * size * rng.uniform(0.7, 1.3)])
    if not lonely:
        behind = rng.uniform(0.5, 1.5)
        stage(build, rng, behind, pick(rng, ("floor", "ground")))
        if chance(rng, 0.3):  # piers left and right
            for side in (-1, 1):
                at = (side * rng.uniform(0.8, 1.5), behind - 0.15, 1.5)
                build.add_box((0.3, 0.3, 3), at, build.slot("wall"), build.instance("wall"))
    low = np.array([min(f[0] for f in focuses) - size, -size, height - 0.1])
    high = np.array([max(f[0] for f in focuses) + size, size, height + 2 * size])
    return build.bake(low, high, focuses=focuses, has_ground=not lonely, backdrop=not lonely)


def drapery(rng: Rng, bank: Bank) -> Scene:
    """Rumpled cloth or bedding over the ground, curtains, piles of laundry, sheets of paper."""
    build = SceneBuilder("drapery")
    style = pick(rng, (0, 0, 1, 2, 2))
    focuses: list[Array] = []
    if style == 0:  # a bed or a floor under cloth
        wide, deep, lift = rng.uniform(0.5, 1.2), rng.uniform(0.5, 1.2), rng.uniform(0.3, 1.0)
        u, v = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 80), indexing="ij")
        height = (0.6 + 0.6 * lift) * folds(rng, u, v)
        height -= height.min() - 0.004
        cloth = grid(np.stack([u * wide, v * deep, height], -1), crease_deg=70.0)
        build.add(cloth, build.slot("soft"), build.instance("bed"))
        things = bank.shapes_of_kind("cushion", "heap", "figurine", "animal", "books", "blob")
        for _ in range(rng.integers(0, 4)):
            at = np.array(
                [rng.uniform(-0.7, 0.7) * wide, rng.uniform(-0.7, 0.7) * deep, float(height.mean())]
            )
            put_shape(build, rng, pick(rng, things), at, rng.uniform(0.08, 0.3))
            focuses.append(at)
        focuses += [
            np.array([*rng.uniform(-0.6, 0.6, 2) * [wide, deep], float(height.mean())]) for _ in range(3)
        ]
        stage(build, rng, deep * rng.uniform(1.0, 1.5))
        low, high = np.array([-wide, -deep, 0.0]), np.array([wide, deep, 0.4])
    elif style == 1:  # hanging
        tall, behind = rng.uniform(1.0, 2.4), 0.25
        stage(build, rng, behind)
        x = -1.2
        while x < 1.2:
            wide = rng.uniform(0.4, 1.6)
            pose = translation([x + wide / 2, rng.normal(0, 0.03), rng.uniform(0.0, 0.3)])
            cloth = hanging_cloth(rng, wide, tall)
            build.add(cloth, build.slot("soft"), build.instance("curtain"), pose)
            x += wide * rng.uniform(0.85, 1.3)
        focuses = [np.array([rng.uniform(-0.8, 0.8), 0, rng.uniform(0.3, 0.9) * tall]) for _ in range(4)]
        low, high = np.array([-1.0, -0.3, 0.0]), np.array([1.0, 0.2, tall])
    else:  # heaps and sheets
        kinds = pick(
            rng,
            (
                ("heap", "cloth"),
                ("heap", "cushion"),
                ("crumpled", "folded", "page"),
                ("crumpled", "paper_ball"),
                ("pouch", "crumpled"),
            ),
        )
        shapes = bank.shapes_of_kind(*kinds)
        stage(build, rng, rng.uniform(0.5, 1.5), pick(rng, ("table", "floor", "soft")))
        for k in range(rng.integers(3, 12)):
            at = np.array([*rng.normal(0, 0.28, 2), 0.002 + 0.035 * k])
            put_shape(build, rng, pick(rng, shapes), at, rng.uniform(0.12, 0.32), tumble=0.15)
            focuses.append(at + [0, 0, 0.03])
        low, high = np.array([-0.5, -0.5, 0]), np.array([0.5, 0.5, 0.45])
    return build.bake(low, high, focuses=focuses, backdrop=True)


def lattice(rng: Rng, bank: Bank) -> Scene:
    """Chairs, railings, racks, grilles, ladders and cables, close, one before the other."""
    build = SceneBuilder("lattice")
    behind, terrace = rng.uniform(0.5, 2.0), chance(rng, 0.3)
    if terrace:
        paved_terrace(build, rng, behind)
    else:
        stage(build, rng, behind)
    focuses: list[Array] = []
    pieces = bank.of_kind(
        *pick(
            rng,
            (
                ("chair",),
                ("chair", "bench", "table"),
                ("railing", "chair"),
                ("chair", "table", "bench"),
                ("rack", "ladder"),
                ("chair", "lamp", "rack", "railing", "radiator", "plant"),
            ),
        )
    )
    alike = pick(rng, pieces) if chance(rng, 0.5) else None
    for _ in range(rng.integers(1, 6)):
        piece = alike or pick(rng, pieces)
        _, high = piece.bounds()
        x, y = rng.uniform(-1.1, 1.1), rng.uniform(-1.2, behind - 0.5)
        turn = rng.random() * 2 * np.pi if chance(rng, 0.6) else np.pi / 2 * rng.integers(4)
        put_furniture(build, rng, piece, translation([x, y, 0]) @ rotation([0, 0, 1], turn))
        focuses.append(np.array([x, y, rng.uniform(0.3, 0.95) * min(float(high[2]), 1.3)]))
    thin_shapes = bank.shapes_of_kind("grille", "basket", "wire", "frame", "cable", "plant")
    for _ in range(rng.integers(1, 6)):
        size, at = (
            rng.uniform(0.15, 0.6),
            np.array([rng.uniform(-1, 1), rng.uniform(-1.2, behind - 0.3), 0.001]),
        )
        put_shape(build, rng, pick(rng, thin_shapes), at, size, tumble=0.2)
        focuses.append(at + [0, 0, size * 0.6])
    if chance(rng, 0.3):
        tall = rng.uniform(0.8, 1.6)
        build.add(
            box((1.6, 0.6, tall)),
            build.slot("any"),
            build.instance("object"),
            translation([rng.uniform(-1, 1), behind - 0.3, tall / 2]),
        )
    return build.bake(
        np.array([-1.2, -1.3, 0]),
        np.array([1.2, behind, 1.3]),
        focuses=focuses,
        outdoors=terrace,
        backdrop=True,
    )


def paved_terrace(build: SceneBuilder, rng: Rng, behind: float) -> None:
    """Paving before the wall of a house with windows and a bench along it."""
    build.add_box((60, 60, 0.1), (0, behind - 29.9, -0.05), build.slot("ground"), build.instance("ground"))
    tall, wide = rng.uniform(2.6, 6), rng.uniform(6, 30)
    wall = (rng.uniform(-0.3, 0.3) * wide, behind + 0.1, tall / 2)
    build.add_box((wide, 0.2, tall), wall, build.slot("facade"), build.instance("wall"))
    frame, glass = build.slot("furniture"), build.slot("screen")
    up, high, pitch = rng.uniform(0.4, 1.3), rng.uniform(0.8, 1.5), rng.uniform(0.9, 2.0)
    for x in np.arange(-2.5, 2.5, pitch):
        across = pitch * 0.75
        pane = build.instance("window")
        build.add_box((across, 0.02, high), (x, behind - 0.005, up + high / 2), glass, pane)
        for share in np.linspace(-0.5, 0.5, int(rng.integers(2, 5))):
            build.add_box((0.05, 0.06, high), (x + share * across, behind - 0.02, up + high / 2), frame, pane)
        for share in np.linspace(0, 1, int(rng.integers(2, 4))):
            build.add_box((across, 0.06, 0.05), (x, behind - 0.02, up + share * high), frame, pane)
    if chance(rng, 0.7):
        boards, this = build.slot("furniture"), build.instance("chair")
        for y in np.linspace(0.1, 0.5, int(rng.integers(3, 6))):
            build.add_box((5, 0.07, 0.03), (0, behind - y, 0.43), boards, this)
        for z in np.linspace(0.55, 0.9, int(rng.integers(2, 5))):
            build.add_box((5, 0.03, 0.07), (0, behind - 0.04, z), boards, this)
        for x in np.arange(-2.4, 2.5, 0.8):
            build.add_box((0.05, 0.4, 0.43), (x, behind - 0.3, 0.21), boards, this)
