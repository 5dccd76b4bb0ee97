"""Short rendered videos: a camera that moves through a scene that stands still, with exact geometry.

One draw of materials and light and one exposure serve all frames of a clip; each has its own sensor noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic.bank import build_bank
from stablenormal.data.synthetic.cameras import Camera, looking, place_camera
from stablenormal.data.synthetic.corpus import TRIES, VIEWS, check_settings, dress, worth_showing
from stablenormal.data.synthetic.draws import Rng, generator
from stablenormal.data.synthetic.rasteriser import GBuffer, Map
from stablenormal.data.synthetic.renderers import Renderer, RendererSettings, open_renderer
from stablenormal.data.synthetic.scene import Scene
from stablenormal.data.synthetic.scenes import BUILDERS
from stablenormal.errors import SettingError
from stablenormal.geometry.posed import PosedCamera

BANK_FRACTION = 0.1
NOISE = 2.0
"""Sensor noise of each frame: standard deviation, of 255."""
EXPOSURE = 0.85
"""Linear light of the 95th percentile of the first frame."""
GROUND = 0.35
"""Display code behind a lone object."""
_BANK, _SCENE, _DRAW, _PATH, _SENSOR = range(5)
"""Last parts of the keys of random streams."""


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One frame, and what it shows."""

    image: npt.NDArray[np.uint8]
    """(H, W, 3)."""
    normals: npt.NDArray[np.float32]
    """(H, W, 3), OpenGL camera of the frame, zero where nothing is hit."""
    depth: npt.NDArray[np.float32]
    """(H, W), along the viewing axis, zero where nothing is hit."""
    camera: PosedCamera


@dataclass(frozen=True)
class Path:
    """How the camera moves, as a share of each whole path in the first and the last frame."""

    sideways: float = 0.25
    """Way to the side, as a share of the distance to what is in the middle."""
    turn_deg: float = 6.0
    """Turning away from what is in the middle."""
    roll_deg: float = 3.0
    """Turning about the viewing axis."""
    shake_deg: float = 0.2
    """Standard deviation of a hand's tremor, in each frame and about each axis."""


def render_clip(
    seed: int, kind: str, frames: int, size: int, path: Path | None = None
) -> Iterator[ClipFrame]:
    """Render a clip, frame after frame.

    Args:
        seed: of all that is drawn.
        kind: of the scene, a key of `corpus.VIEWS`.
        frames: how many.
        size: side of the square frames in pixels.
        path: how the camera moves.

    Raises:
        SettingError: if a setting is out of range, or OpenGL is missing.
    """
    check_settings(seed, size)
    if kind not in VIEWS or frames < 2:
        raise SettingError(
            f"a clip needs 2 frames or more of one of {', '.join(VIEWS)}; got {frames} of {kind!r}"
        )
    bank = build_bank(generator(seed, _BANK), fraction=BANK_FRACTION)
    scene = BUILDERS[kind](generator(seed, _SCENE), bank)
    renderer = open_renderer(RendererSettings(), size)
    try:
        renderer.load_bank(bank)
        renderer.load_scene(scene)
        dress(renderer, generator(seed, _DRAW), scene, bank)
        rng = generator(seed, _PATH)
        camera, distance = _first_camera(renderer, rng, scene)
        gain = 0.0
        for place in range(frames):
            shown = _moved(rng, camera, distance, place / (frames - 1), path or Path())
            geometry = renderer.gbuffer(shown)
            colour, coverage = renderer.colour(shown, reach=0.3)
            light = colour / np.maximum(coverage, 1e-6)[..., None]
            gain = gain or EXPOSURE / max(float(np.percentile(light[coverage > 0], 95)), 1e-6)
            image = _developed(generator(seed, _SENSOR, place), (light * gain).astype(np.float32), coverage)
            yield _frame(image, geometry, shown, size)
    finally:
        renderer.close()


def _first_camera(renderer: Renderer, rng: Rng, scene: Scene) -> tuple[Camera, float]:
    """A camera that shows something, and how far that is."""
    for _ in range(4 * TRIES):
        camera = place_camera(rng, scene)
        geometry = renderer.gbuffer(camera)
        if worth_showing(geometry, scene):
            break
    seen = geometry.depth[geometry.depth > 0]
    return camera, float(np.median(seen)) if seen.size else 1.0


def _moved(rng: Rng, first: Camera, distance: float, share: float, path: Path) -> Camera:
    """The camera some way along its path: it goes sideways, turns and rolls, and trembles."""
    right, up, back = first.world_to_camera
    eye = first.eye + (share - 0.5) * path.sideways * distance * right
    turn = np.radians((share - 0.5) * path.turn_deg)
    aim = -back * np.cos(turn) + right * np.sin(turn)
    tremor = rng.normal(0, np.radians(path.shake_deg), 3)
    heading = aim + tremor[0] * right + tremor[1] * up
    level = looking(-back)
    roll = np.arctan2(level[1] @ right, level[0] @ right)  # of the first camera, against an upright one
    roll += np.radians((share - 0.5) * path.roll_deg) + tremor[2]
    return Camera(eye, looking(heading, roll), first.fov_deg, first.near, first.far, first.kind)


def _developed(rng: Rng, light: Map, coverage: Map) -> npt.NDArray[np.uint8]:
    """Linear light to a picture (H, W, 3) with noise."""
    weight = coverage[..., None]
    coded = np.clip(light, 0, 1) ** (1 / 2.2) * weight + GROUND * (1 - weight)
    noisy = coded * 255 + rng.normal(0, NOISE, light.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _frame(image: npt.NDArray[np.uint8], geometry: GBuffer, camera: Camera, size: int) -> ClipFrame:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.world_to_camera.T, camera.eye
    return ClipFrame(image, geometry.normals, geometry.depth, PosedCamera(camera.intrinsics(size), pose))
