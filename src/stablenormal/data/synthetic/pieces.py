"""A piece of furniture: parts, each of one material, that stand together."""

from dataclasses import dataclass

import numpy as np

from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.meshes import Mesh


@dataclass(frozen=True)
class Part:
    """A piece of furniture made of one material."""

    mesh: Mesh
    role: str
    """What it may be made of: a key of materials.ROLES."""
    label: str
    """A name of sample.CLASSES."""
    separate: bool = False
    """Whether it is an instance and a material of its own (a book on the shelf)."""


@dataclass(frozen=True)
class Furniture:
    """A piece of furniture."""

    kind: str
    parts: tuple[Part, ...]
    top: tuple[float, float, float] | None = None
    """Half width, half depth and height of a surface things can stand on."""
    against_wall: bool = False

    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner, (3,) each."""
        corners = [part.mesh.bounds() for part in self.parts]
        return np.min([low for low, _ in corners], 0), np.max([high for _, high in corners], 0)
