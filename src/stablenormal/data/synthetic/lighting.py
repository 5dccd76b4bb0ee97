"""Lights of a scene: sun through a window, lamps, sky, studio lights, one hard light alone, a flash."""

from dataclasses import dataclass

import numpy as np

from stablenormal.data.synthetic.bank import SKIES
from stablenormal.data.synthetic.cameras import looking, perspective
from stablenormal.data.synthetic.draws import Array, Rng, chance, direction, log_uniform
from stablenormal.data.synthetic.scene import Scene

INDOORS = ("room", "architecture")
"""Kinds of scenes with a ceiling: their lamps hang inside."""
COUNT = 4
"""Lights at most; the first two cast shadows."""


@dataclass(frozen=True)
class Lighting:
    """Everything that gives light."""

    lamps: Array
    """(COUNT, 4): position and 1, or direction toward the light and 0."""
    colours: Array
    """(COUNT, 3): linear strength; zero rows are off."""
    environment: int
    """Row of the bank's environments."""
    ambient: float
    """Strength of the environment."""
    softness: float
    """Radius of shadow edges, as a part of the shadow map."""
    shadow_clips: Array
    """(2, 4, 4): world to clip space of the shadow maps."""
    flash: bool
    """Whether light 3 sits at the camera."""
    occlusion: float
    """Power of the ambient occlusion."""
    bounce: float
    """Strength of light reflected once between surfaces."""


def draw_lighting(rng: Rng, scene: Scene, environments: int) -> Lighting:
    """Lights for a scene; ambient light is weak as often as it is strong, so that shadows show.

    Args:
        rng: source of all choices.
        scene: what to light.
        environments: how many environments the bank has; its last SKIES are for outdoors.
    """
    hard = chance(rng, 0.25)
    lamps, colours = np.zeros((COUNT, 4)), np.zeros((COUNT, 3))
    for index in range(1 if hard else 3):
        if index and chance(rng, 0.45):
            continue
        lamps[index], colours[index] = _draw_light(rng, scene, index)
    flash = not scene.outdoors and chance(rng, 0.1)
    if flash:
        colours[:3] *= rng.uniform(0, 0.4)
        colours[3] = _warmth(rng) * log_uniform(rng, 2, 8) * (1 if scene.kind in INDOORS else scene.radius**2)
    skies = range(environments - SKIES, environments)
    choices = skies if scene.outdoors else range(environments)
    ambient = log_uniform(rng, 0.01, 0.12) if hard else log_uniform(rng, 0.08, 1.2)
    if scene.outdoors:
        ambient = rng.uniform(0.3, 1.2)
        if chance(rng, 0.3):
            colours *= 0.05  # overcast
    return Lighting(
        lamps=lamps,
        colours=colours,
        environment=int(rng.choice(list(choices))),
        ambient=ambient,
        softness=log_uniform(rng, 0.0006, 0.004 if hard else 0.012),
        shadow_clips=np.stack([shadow_clip(scene, lamps[index]) for index in range(2)]),
        flash=flash,
        occlusion=rng.uniform(0.8, 2.2),
        bounce=rng.uniform(0.4, 1.8),
    )


def _warmth(rng: Rng) -> Array:
    if chance(rng, 0.7):
        return np.array([1, rng.uniform(0.75, 1), rng.uniform(0.5, 1)])
    return np.array([rng.uniform(0.8, 1), 0.95, 1])


def _draw_light(rng: Rng, scene: Scene, index: int) -> tuple[Array, Array]:
    """One light: (4,) place or direction, (3,) strength."""
    if scene.kind in INDOORS:
        return _sun_or_lamp(rng, scene, index)
    toward = direction(rng, up=0.15)
    if scene.backdrop and chance(rng, 0.9):  # not from behind the wall
        toward[1] = -abs(toward[1])
    if scene.outdoors:
        strength = rng.uniform(2, 8) if index == 0 else 0.0
        return np.array([*toward, 0]), _warmth(rng) * strength
    colour = _warmth(rng) * log_uniform(rng, 1, 8)
    if chance(rng, 0.5):
        return np.array([*toward, 0]), colour
    distance = scene.radius * rng.uniform(2, 5)
    return np.array([*(scene.centre + toward * distance), 1]), colour * distance**2 * 0.7


def _sun_or_lamp(rng: Rng, scene: Scene, index: int) -> tuple[Array, Array]:
    width, depth, height = scene.high - scene.low
    if index == 1 and scene.window is not None and chance(rng, 0.7):
        toward = np.zeros(3)
        toward[scene.window.axis] = scene.window.side
        toward[1 - scene.window.axis] = rng.normal(0, 0.7)
        toward[2] = rng.uniform(0.25, 1.1)
        return np.array([*(toward / np.linalg.norm(toward)), 0]), _warmth(rng) * rng.uniform(3, 20)
    up = height - 0.1 if chance(rng, 0.7) else rng.uniform(0.8, height - 0.1)
    place = [rng.uniform(-0.42, 0.42) * width, rng.uniform(-0.42, 0.42) * depth, up, 1]
    return np.array(place), _warmth(rng) * log_uniform(rng, 2, 16)


def shadow_clip(scene: Scene, lamp: Array) -> Array:
    """World to clip space (4, 4) of the shadow map of a lamp (4,), as in `Lighting.lamps`."""
    place = lamp[:3]
    if lamp[3] > 0.5:
        target = scene.centre
        if scene.kind in INDOORS:
            target = np.array([place[0] * 0.6, place[1] * 0.6, 0.0])
        far = 20.0 if scene.kind in INDOORS else 3 * float(np.linalg.norm(place - scene.centre)) + 1
        projection = perspective(140.0 if scene.kind in INDOORS else 60.0, 0.08, far)
        return projection @ _view(place, target - place)
    toward = place if place.any() else np.array([0, 0.1, 1.0])
    reach = scene.radius * (1.6 if scene.kind not in INDOORS else 1.05)
    target = scene.centre
    clip = np.diag([1 / reach, 1 / reach, -1 / (3 * reach), 1.0])
    clip[2, 3] = -1.0
    return clip @ _view(target + toward / np.linalg.norm(toward) * 3 * reach, -toward)


def _view(eye: Array, heading: Array) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3] = looking(heading)
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix
