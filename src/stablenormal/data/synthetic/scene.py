"""A scene, whichever renderer draws it: triangles, material slots, instances, places worth looking at."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.materials import Paint
from stablenormal.data.synthetic.meshes import Mesh, box, transformed


@dataclass(frozen=True)
class Window:
    """An opening in a wall that the sun can shine through."""

    axis: int
    """0: in a wall across x; 1: across y."""
    side: float
    """-1 or 1: which of the two walls."""


@dataclass(frozen=True)
class Scene:
    """A finished scene. z is up, lengths are metres."""

    kind: str
    """A key of scenes.BUILDERS."""
    vertices: npt.NDArray[np.float32]
    """(V, 10): position, normal, texture coordinate, material slot, instance."""
    faces: npt.NDArray[np.int32]
    """(F, 3)"""
    part_ranges: npt.NDArray[np.int64]
    """(P, 2): first face and number of faces of each part."""
    part_centres: Array
    """(P, 3) centres of balls around the parts."""
    part_radii: Array
    """(P,)"""
    roles: tuple[str, ...]
    """Material role of each slot."""
    emissions: dict[int, float]
    """Slot -> light given off."""
    paints: dict[int, Paint]
    """Slot -> the colour or picture that a model file gives it."""
    instance_classes: npt.NDArray[np.uint8]
    """Index into CLASSES of each instance; instance 0 is the background."""
    low: Array
    """Lowest corner (3,) of what the scene is about (the room, the object, the table)."""
    high: Array
    tops: tuple[tuple[Array, tuple[float, float, float]], ...] = ()
    """Surfaces things stand on: pose (4, 4), half width, half depth, height."""
    fronts: tuple[tuple[Array, Array, float], ...] = ()
    """Upright fronts: middle of the front, the direction it faces (3,) each, and its size."""
    focuses: tuple[Array, ...] = ()
    """Points (3,) worth looking at."""
    window: Window | None = None
    outdoors: bool = False
    has_ground: bool = True
    backdrop: bool = False
    """Whether a wall closes the scene at +y: it is seen, and lit, from -y."""

    @property
    def centre(self) -> Array:
        """Middle of the box from low to high."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> float:
        """Half the diagonal of the box from low to high."""
        return float(np.linalg.norm(self.high - self.low) / 2)


@dataclass
class SceneBuilder:
    """Collects parts, slots and instances, and bakes them into one Scene."""

    kind: str
    roles: list[str] = field(default_factory=list)
    emissions: dict[int, float] = field(default_factory=dict)
    paints: dict[int, Paint] = field(default_factory=dict)
    classes: list[int] = field(default_factory=lambda: [0])
    parts: list[tuple[Mesh, int, int]] = field(default_factory=list)

    def slot(self, role: str, emission: float = 0.0, paint: Paint | None = None) -> int:
        """A new material slot."""
        self.roles.append(role)
        if emission:
            self.emissions[len(self.roles) - 1] = emission
        if paint is not None:
            self.paints[len(self.roles) - 1] = paint
        return len(self.roles) - 1

    def instance(self, label: str) -> int:
        """A new instance of a class."""
        self.classes.append(CLASSES.index(label))
        return len(self.classes) - 1

    def add(self, mesh: Mesh, slot: int, instance: int, pose: Array | None = None) -> None:
        """Add a mesh under a pose (4, 4)."""
        self.parts.append((mesh if pose is None else transformed(mesh, pose), slot, instance))

    def add_box(self, size: Sequence[float], centre: Sequence[float], slot: int, instance: int) -> None:
        """Add a sharp box."""
        self.add(box(size, centre), slot, instance)

    def bake(
        self,
        low: Array,
        high: Array,
        *,
        tops: Sequence[tuple[Array, tuple[float, float, float]]] = (),
        fronts: Sequence[tuple[Array, Array, float]] = (),
        focuses: Sequence[Array] = (),
        window: Window | None = None,
        outdoors: bool = False,
        has_ground: bool = True,
        backdrop: bool = False,
    ) -> Scene:
        """The finished scene; the arguments are those of Scene."""
        vertices, faces, offset = [], [], 0
        for mesh, slot, instance in self.parts:
            tags = np.tile(np.array([slot, instance], np.float32), (len(mesh.vertices), 1))
            vertices.append(np.hstack([mesh.vertices, tags]))
            faces.append(mesh.faces + offset)
            offset += len(mesh.vertices)
        counts = np.array([len(mesh.faces) for mesh, _, _ in self.parts])
        bounds = [mesh.bounds() for mesh, _, _ in self.parts]
        return Scene(
            kind=self.kind,
            vertices=np.vstack(vertices),
            faces=np.vstack(faces).astype(np.int32),
            part_ranges=np.stack([np.cumsum(counts) - counts, counts], 1),
            part_centres=np.stack([(a + b) / 2 for a, b in bounds]),
            part_radii=np.array([np.linalg.norm(b - a) / 2 for a, b in bounds]),
            roles=tuple(self.roles),
            emissions=dict(self.emissions),
            paints=dict(self.paints),
            instance_classes=np.array(self.classes, np.uint8),
            low=np.asarray(low, float),
            high=np.asarray(high, float),
            tops=tuple(tops),
            fronts=tuple(fronts),
            focuses=tuple(focuses),
            window=window,
            outdoors=outdoors,
            has_ground=has_ground,
            backdrop=backdrop,
        )
