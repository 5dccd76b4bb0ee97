"""A stream of samples from a seed and a count: the same scenes and views each time, byte for byte.

Every scene, light draw and view has a random stream of its own, so any part can be rendered alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from itertools import groupby, takewhile
from pathlib import Path

import numpy as np

from stablenormal.data.sample import Sample
from stablenormal.data.synthetic.assets import AssetBank, load_bank
from stablenormal.data.synthetic.bank import Bank, build_bank
from stablenormal.data.synthetic.camera_effects import photograph
from stablenormal.data.synthetic.cameras import Camera, place_camera
from stablenormal.data.synthetic.draws import Rng, generator
from stablenormal.data.synthetic.lighting import draw_lighting
from stablenormal.data.synthetic.materials import draw_materials
from stablenormal.data.synthetic.rasteriser import GBuffer
from stablenormal.data.synthetic.real_scenes import REAL_BUILDERS
from stablenormal.data.synthetic.renderers import Renderer, RendererSettings, open_renderer
from stablenormal.data.synthetic.scene import Scene
from stablenormal.data.synthetic.scenes import BUILDERS
from stablenormal.errors import SettingError

VIEWS = {
    "room": 12, "tabletop": 8, "object": 4, "street": 10, "closeup": 8, "statue": 6, "drapery": 6,
    "lattice": 8, "foliage": 10, "architecture": 8,
}  # fmt: skip
"""Views of one scene of each kind."""
VIEWS_PER_DRAW = {
    "room": 3, "tabletop": 2, "object": 1, "street": 2, "closeup": 2, "statue": 1, "drapery": 2, "lattice": 2,
    "foliage": 2, "architecture": 2,
}  # fmt: skip
"""Views that share one draw of lights and materials."""
RECIPE_NUMBER = 2
"""Raised whenever the same seed would give other bytes."""
ASSETS_RECIPE_NUMBER = 2
"""The same for corpora with models that others made."""
SCENES_PER_BANK = 400
"""A new bank of textures, shapes and furniture after so many scenes."""
TRIES = 6
"""Cameras tried per view before a poor one is taken."""
_KIND, _BANK, _SCENE, _DRAW, _VIEW = range(5)


@dataclass(frozen=True)
class Mix:
    """Shares of the images by kind of scene; any scale."""

    room: float = 0.22
    tabletop: float = 0.12
    object: float = 0.19
    street: float = 0.05
    closeup: float = 0.17
    statue: float = 0.06
    drapery: float = 0.05
    lattice: float = 0.05
    foliage: float = 0.04
    architecture: float = 0.05

    def __post_init__(self) -> None:
        """Check that the shares can be drawn from.

        Raises:
            SettingError: if a share is negative or all are zero.
        """
        shares = [getattr(self, entry.name) for entry in fields(self)]
        if not all(0 <= share < np.inf for share in shares) or sum(shares) <= 0:
            raise SettingError(f"mix {self}: shares must be zero or more, and not all zero")


REAL_MIX = Mix(
    room=0.27, tabletop=0.17, object=0.17, street=0.03, closeup=0.2, statue=0.04, drapery=0.04, lattice=0.04,
    foliage=0.03, architecture=0.04,
)  # fmt: skip
"""Shares where models are given and no mix is."""


def mix_of(shares: Mapping[str, float]) -> Mix:
    """A mix of these kinds alone.

    Args:
        shares: kind -> share, any scale; kinds not named get none.

    Raises:
        SettingError: if a kind does not exist, a share is negative or all are zero.
    """
    for kind in shares:
        if kind not in VIEWS:
            near = get_close_matches(kind, VIEWS, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingError(f"no kind of scene is called {kind!r}; {hint}choose from {', '.join(VIEWS)}")
    return Mix(**{kind: float(shares.get(kind, 0.0)) for kind in VIEWS})


def parse_mix(text: str) -> Mix:
    """A mix from text such as "room=2,closeup=1"; a kind alone counts as 1.

    Raises:
        SettingError: if the text cannot be read, or as `mix_of`.
    """
    shares: dict[str, float] = {}
    for entry in text.split(","):
        kind, _, share = (part.strip() for part in entry.partition("="))
        try:
            shares[kind] = float(share or 1)
        except ValueError:
            raise SettingError(f"mix {text!r}: {share!r} is not a number; write kind=share") from None
    return mix_of(shares)


@dataclass(frozen=True)
class View:
    """One image of the corpus, before it is rendered."""

    index: int
    """Place in the corpus."""
    scene: int
    kind: str
    number: int
    """Which view of its scene."""


def plan(seed: int, mix: Mix | None = None) -> Iterator[View]:
    """Every view of the corpus in order, without end."""
    mix = mix or Mix()
    kinds = list(VIEWS)
    weights = np.array([getattr(mix, kind) / VIEWS[kind] for kind in kinds])
    index = scene = 0
    while True:
        kind = kinds[int(generator(seed, _KIND, scene).choice(len(kinds), p=weights / weights.sum()))]
        for number in range(VIEWS[kind]):
            yield View(index, scene, kind, number)
            index += 1
        scene += 1


def check_settings(seed: int, size: int) -> None:
    """Refuse what cannot be rendered.

    Raises:
        SettingError: if the size is below 16 or the seed negative.
    """
    if size < 16 or seed < 0:
        raise SettingError(f"size {size} must be 16 or more, and seed {seed} must not be negative")


class CorpusRenderer:
    """Renders any stretch of one corpus; keeps its bank and its renderer between stretches."""

    def __init__(
        self,
        seed: int,
        size: int,
        mix: Mix | None = None,
        bank_fraction: float = 1.0,
        renderer: RendererSettings | None = None,
        assets: Path | None = None,
        phones: bool | None = None,
    ) -> None:
        """Open the renderer.

        Args:
            seed: names the corpus; another seed shares no scene, texture or shape with it.
            size: side of the square images in pixels.
            mix: shares of the kinds of scenes.
            bank_fraction: size of the banks against the full ones.
            renderer: which renderer; all show the same views of the same scenes.
            assets: models of others that furnish the scenes, as prepared by `assets.prepared_bank`.
            phones: as of `camera_effects.photograph`; by default only with assets.

        Raises:
            SettingError: if an argument is out of range or the renderer cannot run here.
        """
        check_settings(seed, size)
        self._assets: AssetBank | None = None if assets is None else load_bank(assets)
        self._phones = assets is not None if phones is None else phones
        self._builders = BUILDERS if assets is None else REAL_BUILDERS
        self._seed, self._bank_fraction = seed, bank_fraction
        self._mix = mix or (Mix() if assets is None else REAL_MIX)
        self._renderer = open_renderer(renderer or RendererSettings(), size)
        self._bank: tuple[int, Bank] | None = None

    def samples(self, start: int, stop: int) -> Iterator[Sample]:
        """Samples start to stop of the corpus, stop not included."""
        if start < 0:
            raise SettingError(f"start {start} must not be negative")
        wanted = takewhile(lambda view: view.index < stop, plan(self._seed, self._mix))
        late_enough = (view for view in wanted if view.index >= start)
        for (number, kind), views in groupby(late_enough, lambda view: (view.scene, view.kind)):
            bank = self._bank_of(number)
            scene = self._builders[kind](generator(self._seed, _SCENE, number), bank)
            self._renderer.load_scene(scene)
            yield from self._views(scene, bank, views)

    def _views(self, scene: Scene, bank: Bank, views: Iterator[View]) -> Iterator[Sample]:
        for draw, of_draw in groupby(views, lambda view: view.number // VIEWS_PER_DRAW[view.kind]):
            for place, view in enumerate(of_draw):
                if place == 0:
                    dress(self._renderer, generator(self._seed, _DRAW, view.scene, draw), scene, bank)
                rng = generator(self._seed, _VIEW, view.scene, view.number)
                yield render_view(self._renderer, rng, scene, bank, self._seed, view, phones=self._phones)

    def _bank_of(self, scene_number: int) -> Bank:
        number = scene_number // SCENES_PER_BANK
        if self._bank is None or self._bank[0] != number:
            self._bank = (
                number,
                build_bank(
                    generator(self._seed, _BANK, number), fraction=self._bank_fraction, assets=self._assets
                ),
            )
            self._renderer.load_bank(self._bank[1])
        return self._bank[1]

    def close(self) -> None:
        """Give back what the renderer holds."""
        self._renderer.close()


def dress(renderer: Renderer, rng: Rng, scene: Scene, bank: Bank) -> None:
    """Give the loaded scene new materials and lights."""
    renderer.set_materials(draw_materials(rng, scene.roles, bank.layers, scene.emissions, scene.paints))
    renderer.set_lighting(draw_lighting(rng, scene, len(bank.environments)))


def render_view(
    renderer: Renderer, rng: Rng, scene: Scene, bank: Bank, seed: int, view: View, *, phones: bool = False
) -> Sample:
    """Look for a camera that shows something, and take its picture."""
    for attempt in range(TRIES):
        camera = place_camera(rng, scene)
        geometry = renderer.gbuffer(camera)
        if worth_showing(geometry, scene) or (attempt == TRIES - 1 and geometry.instances.any()):
            break
    else:
        raise AssertionError(f"scene {view.scene} of seed {seed} cannot be seen")
    reach = (
        scene.radius * rng.uniform(0.1, 0.5)
        if scene.kind in ("object", "tabletop", "statue")
        else rng.uniform(0.08, 0.6)
    )
    colour, coverage = renderer.colour(camera, float(reach))
    return Sample(
        image=photograph(rng, colour, coverage, bank.textures, phones=phones),
        normals=geometry.normals,
        depth=geometry.depth,
        labels=geometry.labels,
        instances=geometry.instances,
        intrinsics=camera.intrinsics(renderer.size),
        meta=_meta(seed, view, camera),
    )


def _meta(seed: int, view: View, camera: Camera) -> dict[str, object]:
    return {
        "key": f"{seed:06d}-{view.index:08d}",
        "seed": seed,
        "index": view.index,
        "scene": view.scene,
        "view": view.number,
        "kind": camera.kind,
        "fov_deg": float(camera.fov_deg),
    }


def worth_showing(geometry: GBuffer, scene: Scene) -> bool:
    """Whether a view is neither empty, nor inside something, nor one bare plane."""
    seen = geometry.depth > 0
    if not scene.has_ground or scene.kind == "object":
        return bool(seen.mean() > 0.06)
    if seen.mean() < (0.35 if scene.outdoors else 0.7):
        return False
    nearest = {"street": 0.6, "foliage": 0.25, "architecture": 0.4}.get(scene.kind, 0.12)
    if np.percentile(geometry.depth[seen], 15) < nearest:
        return False
    normals = geometry.normals[seen]
    bare = (normals @ np.median(normals, 0) > 0.97).mean()
    return bool(bare < (0.96 if scene.kind == "closeup" else 0.88))
