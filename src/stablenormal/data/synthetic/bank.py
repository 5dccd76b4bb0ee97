"""A bank of textures, environments, shapes and furniture, built once and used by many scenes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic import furniture as pieces
from stablenormal.data.synthetic import shapes as objects
from stablenormal.data.synthetic import textures as surfaces
from stablenormal.data.synthetic.assets import Asset, AssetBank
from stablenormal.data.synthetic.draws import Rng
from stablenormal.data.synthetic.pieces import Furniture
from stablenormal.data.synthetic.shapes import Shape

SHAPES = 260
"""Single objects in a bank."""
ENVIRONMENTS = 28
SKIES = 12


@dataclass(frozen=True)
class Bank:
    """Building blocks of scenes."""

    textures: npt.NDArray[np.uint8]
    """(L, N, N, 4): display-coded colour and height."""
    layers: dict[str, list[int]]
    """Texture kind -> rows of `textures`."""
    environments: npt.NDArray[np.float32]
    """(E, 64, 128, 3): linear light, z up; the last SKIES of them are outdoor skies."""
    shapes: tuple[Shape, ...]
    furniture: tuple[Furniture, ...]
    assets: tuple[Asset, ...] = ()
    """Models that others made, where some were given."""

    def of_kind(self, *kinds: str) -> list[Furniture]:
        """The furniture of these kinds."""
        return [piece for piece in self.furniture if piece.kind in kinds]

    def shapes_of_kind(self, *kinds: str) -> list[Shape]:
        """The objects of these kinds."""
        return [shape for shape in self.shapes if shape.kind in kinds]


def build_bank(rng: Rng, *, fraction: float = 1.0, assets: AssetBank | None = None) -> Bank:
    """A new bank.

    Args:
        rng: source of all choices.
        fraction: size against the full bank (at least one of every kind stays); tests use little ones.
        assets: models that others made; their pictures follow the painted textures.
    """
    layers: dict[str, list[int]] = {}
    painted: list[npt.NDArray[np.uint8]] = []
    for kind, (count, _) in surfaces.PAINTERS.items():
        for _ in range(_share(count, fraction)):
            layers.setdefault(kind, []).append(len(painted))
            painted.append(surfaces.paint(rng, kind))
    lights = [surfaces.environment(rng) for _ in range(_share(ENVIRONMENTS, fraction))]
    skies = [surfaces.sky(rng) for _ in range(SKIES)]
    shapes = [
        objects.make_shape(rng, kind)
        for kind, (share, *_) in objects.MAKERS.items()
        for _ in range(_share(share * SHAPES, fraction))
    ]
    furniture = [
        maker(rng) for count, maker in pieces.MAKERS.values() for _ in range(_share(count, fraction))
    ]
    textures, models = np.stack(painted), tuple[Asset, ...]()
    if assets is not None:
        models = assets.painted_from(len(textures))
        textures = np.concatenate([textures, assets.pictures])
    return Bank(textures, layers, np.stack(lights + skies), tuple(shapes), tuple(furniture), models)


def _share(count: float, fraction: float) -> int:
    return max(1, round(count * fraction))
