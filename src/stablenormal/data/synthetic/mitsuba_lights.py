"""A Lighting as Mitsuba emitters: lamps, sun and flash as clusters of points, environment, glowing things."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.lighting import Lighting
from stablenormal.data.synthetic.scene import Scene

CLUSTER = 8
"""Points that make up one lamp: soft shadows, though no camera ray can hit a lamp."""
SKY_THROUGH_WINDOW = 3.0
"""How much brighter than the environment's mean the pane behind a window glows: it stands for all of it."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_EVEN_SHARE = 0.3
"""Part of the samples that is shared out evenly, lest a wrong guess of its power starve a light."""


@dataclass(frozen=True)
class Emitter:
    """One light."""

    plugin: dict[str, Any]
    """What Mitsuba loads."""
    power: float
    """About the irradiance that it causes in the middle of the scene."""


def has_environment(scene: Scene) -> bool:
    """Whether the environment is around the scene; a room's walls keep it out but for its window."""
    return scene.kind != "room"


def glow(
    scene: Scene, slot: int, lighting: Lighting, tint: Array, environments: npt.NDArray[np.float32]
) -> Array:
    """Radiance (3,) given off by a glowing slot.

    The pane behind the window of a room also carries what comes in from the environment: a light that is
    sampled directly, instead of paths that must find the way out through the opening.

    Args:
        scene: a scene with `slot` among its emissions.
        slot: the glowing slot.
        lighting: the lights.
        tint: (3,) colour of the slot's material.
        environments: (E, h, w, 3) of the bank.
    """
    radiance = scene.emissions[slot] * tint
    if not has_environment(scene) and _is_window(scene, slot):
        sky = environments[lighting.environment].mean((0, 1))
        radiance = radiance + SKY_THROUGH_WINDOW * lighting.ambient * sky
    return np.asarray(radiance, float)


def _is_window(scene: Scene, slot: int) -> bool:
    first = int(np.argmax(scene.vertices[:, 8] == slot))
    return CLASSES[scene.instance_classes[int(scene.vertices[first, 9])]] == "window"


def emitters(
    mitsuba: Any, scene: Scene, lighting: Lighting, environments: npt.NDArray[np.float32], eye: Array
) -> dict[str, Emitter]:
    """Everything that gives light but the glowing surfaces, by name.

    Args:
        mitsuba: the module, with its variant set.
        scene: the scene.
        lighting: the lights.
        environments: (E, h, w, 3), z up.
        eye: (3,) position of the camera, where the flash is.
    """
    found: dict[str, Emitter] = {}
    for index, (lamp, colour) in enumerate(zip(lighting.lamps, lighting.colours, strict=True)):
        if not colour.any():
            continue
        flash = lighting.flash and index == len(lighting.lamps) - 1
        place = np.array([*eye, 1.0]) if flash else lamp
        power = _power(scene, None if flash else lamp, colour) / CLUSTER
        for number, member in enumerate(_cluster(scene, lighting, place, colour)):
            found[f"lamp_{index}_{number}"] = Emitter(member, power)
    if has_environment(scene):
        sky = environments[lighting.environment]
        power = float(sky.mean((0, 1)) @ _LUMINANCE) * lighting.ambient * np.pi
        found["environment"] = Emitter(environment(mitsuba, sky, lighting.ambient), power)
    return found


def glowing(scene: Scene, radiance: Array, area: float) -> Emitter:
    """The emitter of a surface that gives off radiance (3,) over an area in square metres."""
    power = float(radiance @ _LUMINANCE) * area / scene.radius**2
    return Emitter({"type": "area", "radiance": {"type": "rgb", "value": radiance.tolist()}}, power)


def sampling_weights(lights: Mapping[str, Emitter]) -> dict[str, float]:
    """How often each light is sampled: by power, with a part shared out evenly; the mean weight is 1."""
    total = sum(light.power for light in lights.values()) or 1.0
    return {
        name: _EVEN_SHARE + (1 - _EVEN_SHARE) * len(lights) * light.power / total
        for name, light in lights.items()
    }


def _power(scene: Scene, lamp: Array | None, colour: Array) -> float:
    """About the irradiance that a lamp (None: the flash) causes in the middle of the scene."""
    strength = float(colour @ _LUMINANCE)
    if lamp is None:
        return strength / (0.5 * scene.radius) ** 2
    if lamp[3] < 0.5:
        return strength
    return strength / max(float(np.linalg.norm(lamp[:3] - scene.centre)), 0.3 * scene.radius) ** 2


def _cluster(scene: Scene, lighting: Lighting, place: Array, colour: Array) -> list[dict[str, Any]]:
    """Points, or directions, spread as far as the lighting's shadows are soft."""
    spread = sphere_points(CLUSTER)
    share = {"type": "rgb", "value": [float(c) / CLUSTER for c in colour]}
    if place[3] < 0.5:
        toward = place[:3] / np.linalg.norm(place[:3])
        directions = toward + 3 * lighting.softness * spread
        return [
            {"type": "directional", "direction": (-d / np.linalg.norm(d)).tolist(), "irradiance": share}
            for d in directions
        ]
    if scene.kind == "room":
        radius = 10 * lighting.softness
    else:
        radius = 2 * lighting.softness * float(np.linalg.norm(place[:3] - scene.centre))
    points = place[:3] + radius * spread
    return [{"type": "point", "position": p.tolist(), "intensity": share} for p in points]


def sphere_points(count: int) -> Array:
    """Points (count, 3) spread evenly over the unit sphere: a Fibonacci lattice."""
    k = np.arange(count) + 0.5
    height, turn = 1 - 2 * k / count, k * np.pi * (3 - 5**0.5)
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], 1)


def environment(mitsuba: Any, sky: npt.NDArray[np.float32], strength: float) -> dict[str, Any]:
    """The environment, z up, as Mitsuba's map, whose up is y and whose columns run the other way."""
    turn = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    return {
        "type": "envmap",
        "bitmap": mitsuba.Bitmap(np.ascontiguousarray(sky[:, ::-1])),
        "to_world": mitsuba.ScalarTransform4f(turn),
        "scale": strength,
    }
