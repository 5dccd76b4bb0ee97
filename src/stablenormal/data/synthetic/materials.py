"""What surfaces are made of. Drawn anew for every light draw, so that no texture is tied to a shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic.draws import Array, Rng, chance, log_uniform, pick, surface_colour

ROLES: dict[str, tuple[tuple[str, ...] | None, tuple[float, float]]] = {
    "wall": (
        ("plain",) * 5 + ("clouds", "brick", "stripes", "fabric", "tiles", "wood", "dots", "marble"),
        (0.3, 1.2),
    ),
    "floor": (
        (
            "planks",
            "planks",
            "tiles",
            "carpet",
            "carpet",
            "fabric",
            "terrazzo",
            "marble",
            "checker",
            "wood",
            "clouds",
            "plain",
            "brick",
        ),
        (0.5, 2),
    ),
    "ceiling": (("plain",) * 5 + ("tiles", "wood"), (0.3, 1)),
    "picture": (("print", "leaves", "text"), (0.8, 1.6)),
    "table": (("wood", "wood", "planks", "plain", "marble", "clouds", "fabric", "plain"), (0.5, 2)),
    "furniture": (
        ("wood", "wood", "plain", "plain", "plain", "leather", "clouds", "planks", "marble"),
        (0.5, 4),
    ),
    "soft": (
        ("fabric", "fabric", "plain", "stripes", "leaves", "leather", "dots", "checker", "carpet"),
        (0.7, 4),
    ),
    "book": (("text", "plain", "plain", "leather", "print"), (0.7, 4)),
    "paper": (("text", "plain", "plain", "print", "stripes"), (0.5, 2)),
    "object": (
        (
            "plain",
            "plain",
            "plain",
            "text",
            "text",
            "leaves",
            "print",
            "clouds",
            "stripes",
            "dots",
            "wood",
            "marble",
            "fabric",
        ),
        (0.5, 3),
    ),
    "vessel": (("plain", "plain", "plain", "text", "print", "marble", "stripes", "clouds"), (0.5, 3)),
    "glass": (("plain", "plain", "plain", "text", "clouds"), (0.5, 3)),
    "statue": (("plain", "plain", "plain", "clouds", "marble", "wood", "terrazzo"), (0.3, 2)),
    "packet": (("text", "text", "print", "print", "plain", "leaves", "stripes", "wood"), (1.2, 6)),
    "plastic": (("plain",), (0.5, 2)),
    "metal": (("plain", "clouds"), (0.5, 3)),
    "appliance": (("plain",), (0.5, 2)),
    "screen": (("plain", "plain", "leaves", "text"), (0.3, 1)),
    "bark": (("wood", "clouds", "carpet"), (0.5, 2)),
    "shade": (("plain", "fabric"), (0.5, 3)),
    "leaf": (("plain", "clouds", "leaves"), (0.5, 3)),
    "grass": (("clouds", "carpet", "leaves", "fabric"), (0.3, 2)),
    "ground": (("clouds", "brick", "tiles", "terrazzo", "plain", "carpet"), (0.3, 1.5)),
    "facade": (("plain", "plain", "brick", "brick", "tiles", "clouds", "planks"), (0.2, 0.6)),
    "any": (None, (0.4, 5)),
}
"""Role -> texture kinds (None: every kind) and range of repeats per metre."""

FIELDS = 18
"""Numbers in one material; see `draw_material` for their order, which the shader reads."""
CLEARNESS = 15
"""Which of them says how much is seen through."""


@dataclass(frozen=True)
class Paint:
    """What a model file says about one of its materials."""

    colour: tuple[float, float, float]
    """Display-coded RGB in [0, 1]."""
    picture: int = -1
    """Row of the bank's textures, laid on by the model's own texture coordinates; -1: none."""
    opacity: float = 1.0
    """1: nothing is seen through it."""
    gloss: float = 0.3
    """0: matt, 1: polished."""
    metal: bool = False


def draw_material(rng: Rng, role: str, layers: Mapping[str, Sequence[int]], emission: float) -> Array:
    """One material for a role.

    Args:
        rng: source of all choices.
        role: a key of ROLES.
        layers: texture kind -> its layers in the texture array.
        emission: light given off, 0 for almost everything.

    Returns:
        (18,): layer, repeats per metre, bump in metres, roughness | tint RGB, metalness | second tint RGB,
        how much the tints replace the texture's colour | emission, turn in radians, reflectance at normal
        incidence, clearness (how much is seen through, 1: all) | translucency (how far light creeps around
        edges, in [0, 1]), refraction (how far what is behind is shifted: 0 a thin shell, 1 solid glass).
    """
    kinds, (low, high) = ROLES[role]
    kind = pick(rng, kinds) if kinds is not None and chance(rng, 0.88) else pick(rng, list(layers))
    metalness = float(
        chance(
            rng, {"metal": 0.7, "appliance": 0.35, "statue": 0.15}.get(role, 0.0 if role in _MATT else 0.06)
        )
    )
    glossy = _GLOSSY.get(role, 0.3)
    roughness = rng.uniform(0.06, 0.35) if chance(rng, glossy) else rng.uniform(0.35, 1)
    if role in _MATT:
        roughness = rng.uniform(0.5, 1)
    tint, second, replace = _tints(rng, role)
    bump = log_uniform(rng, 0.001, 0.015) if chance(rng, 0.45) else 0.0
    turn = pick(rng, (0.0, np.pi / 2, rng.random() * 2 * np.pi))
    clear = 0.0
    if chance(
        rng, {"glass": 0.65, "vessel": 0.3, "screen": 0.3, "object": 0.03, "statue": 0.04}.get(role, 0.0)
    ):
        clear = rng.uniform(0.75, 0.97) if chance(rng, 0.7) else rng.uniform(0.35, 0.75)
        metalness, roughness, bump = 0.0, log_uniform(rng, 0.05, 0.2), 0.0
        tint, second, replace = _glass_tints(rng)
    soft = (
        0.8
        if role == "leaf"
        else 0.25
        if role in ("object", "statue", "vessel", "paper", "plastic", "shade")
        else 0.05
    )
    translucent = rng.uniform(0.15, 0.7) if metalness == 0 and chance(rng, soft) else 0.0
    numbers = [pick(rng, layers[kind]), log_uniform(rng, low, high), bump, roughness]
    return np.array(
        [*numbers, *tint, metalness, *second, replace, emission, turn, rng.uniform(0.02, 0.07), clear]
        + [translucent, rng.uniform(0.0, 1.0) if chance(rng, 0.5) else 0.15]
    )


_GLOSSY = {
    "vessel": 0.75, "glass": 0.8, "metal": 0.7, "appliance": 0.6, "screen": 0.95, "plastic": 0.6,
    "object": 0.4, "packet": 0.45,
}  # fmt: skip
"""Role -> how often it is glossy; 0.3 for those not named."""
_MATT = ("wall", "ceiling", "soft", "paper", "leaf", "ground", "grass", "bark", "facade", "shade")


def _tints(rng: Rng, role: str) -> tuple[Array, Array, float]:
    """Linear colours for light and dark parts of the texture, and how much they replace it."""
    if role == "ceiling" and chance(rng, 0.8):
        light = np.ones(3) * rng.uniform(0.55, 0.9)
        return light, light * 0.8, 0.8
    if role == "wall" and chance(rng, 0.4):
        light = np.array([1, rng.uniform(0.9, 1), rng.uniform(0.8, 1)]) * rng.uniform(0.45, 0.85)
        return light, light * 0.75, 0.7
    if role == "paper" and chance(rng, 0.5):
        light = np.array([1, rng.uniform(0.9, 1), rng.uniform(0.75, 1)]) * rng.uniform(0.6, 0.9)
        return light, light * rng.uniform(0.3, 0.95), 1.0
    if role == "statue" and chance(rng, 0.55):  # plaster, marble, clay, bronze, wax
        light = np.array([1, rng.uniform(0.8, 1), rng.uniform(0.6, 1)]) * log_uniform(rng, 0.15, 0.85)
        return light, light * rng.uniform(0.5, 0.95), 1.0
    if role == "screen":
        light = np.ones(3) * rng.uniform(0.005, 0.06)
        return light, light, 1.0 if chance(rng, 0.6) else 0.0
    if role == "bark":
        light = np.array([1, rng.uniform(0.75, 1), rng.uniform(0.5, 0.9)]) * rng.uniform(0.08, 0.4)
        return light, light * rng.uniform(0.2, 0.6), 1.0
    if role in ("leaf", "grass") and chance(rng, 0.85):
        light = np.array([rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.7), rng.uniform(0.02, 0.25)])
        return light, light * rng.uniform(0.3, 0.9), 0.9
    choice = rng.random()
    if choice < 0.45:
        light = surface_colour(rng) ** 2.2
        dark = surface_colour(rng) ** 2.2 if chance(rng, 0.5) else light * rng.uniform(0.1, 0.8)
        return light, dark, 1.0
    if choice < 0.75:
        return np.clip(surface_colour(rng) ** 2.2 * 1.5 + 0.2, 0, 1), np.zeros(3), 0.0
    return np.ones(3), np.zeros(3), 0.0


def _glass_tints(rng: Rng) -> tuple[Array, Array, float]:
    """What colour a clear thing lets through: mostly none, sometimes green, brown or blue."""
    if chance(rng, 0.6):
        light = np.ones(3) * rng.uniform(0.85, 1.0) * rng.uniform(0.96, 1, 3)
    else:
        light = np.clip(surface_colour(rng, vivid=True) ** 1.5 * 1.4 + 0.05, 0, 1)
    return light, light, 1.0


def draw_painted(
    rng: Rng, paint: Paint, role: str, layers: Mapping[str, Sequence[int]], emission: float
) -> Array:
    """One material for a part of a model: its own colour or picture more often than not.

    Args:
        rng: source of all choices.
        paint: what the model says.
        role: a key of ROLES, for parts that get another material.
        layers: texture kind -> its layers in the texture array.
        emission: light given off.

    Returns:
        (18,), as `draw_material`. A picture lies as its texture coordinates say: once per unit, not turned.
        The shader shifts textures by 50 reflectances, which are whole numbers here.
    """
    clear = 1 - paint.opacity
    own = paint.picture >= 0
    if not own and clear < 0.05 and not paint.metal and chance(rng, 0.25):
        return draw_material(rng, role, layers, emission)
    roughness = float(np.clip(1 - 0.85 * paint.gloss + rng.normal(0, 0.12), 0.08, 1.0))
    if chance(rng, 0.1):
        roughness = rng.uniform(0.1, 1)
    second, replace = np.zeros(3), 0.0
    if not own:
        base = np.array(paint.colour) ** 2.2
        if chance(rng, 0.15):
            base = surface_colour(rng) ** 2.2
        tint = np.clip(base * np.exp(rng.normal(0, 0.12, 3)) + 0.004, 0, 1)
        second, replace = tint * rng.uniform(0.8, 1.0), 1.0
    elif chance(rng, 0.12):  # dyed: the picture's light and dark in other colours
        tint, second, replace = surface_colour(rng) ** 2.2, surface_colour(rng) ** 2.2, 1.0
    else:
        tint = np.clip(rng.uniform(0.7, 1.1) * np.exp(rng.normal(0, 0.05, 3)), 0, 1)
    metalness = float(paint.metal and not own)
    if metalness and chance(rng, 0.5):
        tint, second = np.clip(tint * 1.5 + 0.15, 0, 1), np.clip(second * 1.5 + 0.1, 0, 1)
    refraction = 0.15
    if clear >= 0.05:
        clear, metalness, roughness = float(np.clip(clear, 0.3, 0.97)), 0.0, log_uniform(rng, 0.05, 0.2)
        tint = np.clip(0.4 + 0.75 * tint, 0, 1)
        refraction = rng.uniform(0.0, 1.0) if chance(rng, 0.4) else 0.15
    else:
        clear = 0.0
    soft = {"leaf": 0.7, "shade": 0.5, "soft": 0.1}.get(role, 0.05)
    translucent = rng.uniform(0.15, 0.6) if metalness == 0 and clear == 0 and chance(rng, soft) else 0.0
    layer = paint.picture if own else pick(rng, layers["plain"])
    reflectance = pick(rng, (0.02, 0.04, 0.04, 0.06))
    return np.array(
        [layer, 1.0, 0.0, roughness, *tint, metalness, *second, replace, emission, 0.0, reflectance, clear]
        + [translucent, refraction]
    )


def draw_materials(
    rng: Rng,
    roles: Sequence[str],
    layers: Mapping[str, Sequence[int]],
    emissions: Mapping[int, float],
    paints: Mapping[int, Paint] | None = None,
) -> npt.NDArray[np.float32]:
    """A material for every slot of a scene: (slots, FIELDS); `paints` has those that a model file gives."""
    rows = []
    for slot, role in enumerate(roles):
        emission, paint = emissions.get(slot, 0.0), (paints or {}).get(slot)
        if paint is None:
            rows.append(draw_material(rng, role, layers, emission))
        else:
            rows.append(draw_painted(rng, paint, role, layers, emission))
    return np.array(rows, np.float32)
