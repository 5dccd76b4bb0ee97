"""What surfaces are made of. Drawn anew for every light draw, so that no texture is tied to a shape."""

from collections.abc import Mapping, Sequence

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
    "metal": (("plain", "clouds"), (0.5, 3)),
    "appliance": (("plain",), (0.5, 2)),
    "shade": (("plain", "fabric"), (0.5, 3)),
    "leaf": (("plain", "clouds", "leaves"), (0.5, 3)),
    "ground": (("clouds", "brick", "tiles", "terrazzo", "plain", "carpet"), (0.3, 1.5)),
    "facade": (("plain", "plain", "brick", "brick", "tiles", "clouds", "planks"), (0.2, 0.6)),
    "any": (None, (0.4, 5)),
}
"""Role -> texture kinds (None: every kind) and range of repeats per metre."""

FIELDS = 16
"""Numbers in one material; see `draw_material` for their order, which the shader reads."""


def draw_material(rng: Rng, role: str, layers: Mapping[str, Sequence[int]], emission: float) -> Array:
    """One material for a role.

    Args:
        rng: source of all choices.
        role: a key of ROLES.
        layers: texture kind -> its layers in the texture array.
        emission: light given off, 0 for almost everything.

    Returns:
        (16,): layer, repeats per metre, bump in metres, roughness | tint RGB, metalness | second tint RGB,
        how much the tints replace the texture's colour | emission, turn in radians, reflectance at normal
        incidence, clearness.
    """
    kinds, (low, high) = ROLES[role]
    kind = pick(rng, kinds) if kinds is not None and chance(rng, 0.88) else pick(rng, list(layers))
    metalness = float(chance(rng, {"metal": 0.8, "appliance": 0.4}.get(role, 0.0 if role in _MATT else 0.06)))
    glossy = {"vessel": 0.75, "metal": 0.7, "appliance": 0.6, "object": 0.4}.get(role, 0.3)
    roughness = rng.uniform(0.06, 0.35) if chance(rng, glossy) else rng.uniform(0.35, 1)
    if role in _MATT:
        roughness = rng.uniform(0.5, 1)
    tint, second, replace = _tints(rng, role)
    bump = log_uniform(rng, 0.001, 0.015) if chance(rng, 0.45) else 0.0
    turn = pick(rng, (0.0, np.pi / 2, rng.random() * 2 * np.pi))
    clear = rng.uniform(0.4, 0.95) if role == "vessel" and chance(rng, 0.3) else 0.0
    numbers = [pick(rng, layers[kind]), log_uniform(rng, low, high), bump, roughness]
    return np.array(
        [*numbers, *tint, metalness, *second, replace, emission, turn, rng.uniform(0.02, 0.07), clear]
    )


_MATT = ("wall", "ceiling", "soft", "paper", "leaf", "ground", "facade", "shade")


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
    if role == "leaf":
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


def draw_materials(
    rng: Rng, roles: Sequence[str], layers: Mapping[str, Sequence[int]], emissions: Mapping[int, float]
) -> npt.NDArray[np.float32]:
    """A material for every slot of a scene: (slots, FIELDS)."""
    rows = [draw_material(rng, role, layers, emissions.get(slot, 0.0)) for slot, role in enumerate(roles)]
    return np.array(rows, np.float32)
