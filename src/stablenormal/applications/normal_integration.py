"""Depth from a normal map: bilateral normal integration, and the Poisson solution it starts from.

Source of the bilateral weights and of the perspective form: Cao, Santo, Shi, Okura, Matsushita: Bilateral
Normal Integration, ECCV 2022. The unknown y of a pixel is its depth (orthographic) or its log depth times the
focal length (perspective), so that in both the difference between neighbours is a slope in pixels. The normal
n of a pixel with ray r then has the weight s = |n . r|, and asks for a step g to each neighbour. For every
pixel and axis the energy is

    w s^2 (forward difference - g)^2 + (1 - w) s^2 (backward difference - g)^2,
    w = sigmoid(k ((s backward difference)^2 - (s forward difference)^2)),

minimised by iteratively reweighted least squares. One thing is ours. Where both ends count on an edge, g is
that of the chord: n_p + n_q is at right angles to P_q - P_p, exactly so on planes and spheres (the paper has
each side's tangent), and its weight is s^2 with a share `ALONG_EDGE` of 1 / (1 + g^2), the tilt along the
edge alone: a steep slope is still fairly sure of the steps along its foot.

Predicted normals are soft: nothing in them says on which of a dozen pixels an outline lies, and then a tear
takes the shortest way, along rows and columns. A photograph knows. Where one is given, the weight of an edge
falls with the difference of its two colours, so tears follow outlines; where the normals agree with each
other, as on a printed pattern, weights do not matter and nothing tears.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from stablenormal.applications.laplacian_solver import LaplacianSolver
from stablenormal.applications.pixel_graph import Flags, Floats, PixelGraph
from stablenormal.errors import ImageShapeError, NormalMapError, SettingError
from stablenormal.geometry.camera import Intrinsics, pixel_rays
from stablenormal.geometry.normal_map import NormalMap, opengl_vectors

Method = Literal["bilateral", "poisson"]

GRAZING = 0.01
"""Smallest |n . r| that is taken as it is; below, a step would be more than 100 pixels."""

LENGTH_TOLERANCE = 0.01
"""How far from one a normal's length may be."""

FREE_DRIFT = 1e-7
"""Weight that keeps each pixel near its last value. It makes the system definite where a part hangs on
nothing, and is below the weight of the smoothest mode of a picture of 10 000 px a side."""

ALONG_EDGE = 0.15
"""Share of the tilt along the edge in the weight of a chord. On rendered blobs with occlusions and on spheres
more is better (at 0.5 their errors fall by 10 and 60 %), but from 0.25 a vase before a wall sticks to it."""

PATIENCE = 5
"""Reweightings without progress that end the iteration: a few pixels may change sides forever."""

EDGE_COLOUR = 0.1
"""Difference of two neighbours' colours, of 1 from black to white in each channel, that halves an edge's
weight."""

EDGE_LEAST = 0.1
"""Least share of an edge's weight that any difference of colours leaves."""

TORN_PX = 1.0
"""A gap between neighbours of more than this many pixels, that neither end explains, tears the surface."""


@dataclass(frozen=True)
class IntegrationSettings:
    """The settings of an integration.

    Raises:
        SettingError: if a value is unknown or out of range.
    """

    method: Method = "bilateral"
    """bilateral keeps depth discontinuities; poisson is one smooth solve."""
    k: float = 2.0
    """Sharpness of the bilateral weights."""
    iterations: int = 100
    """Reweightings, at most."""
    tolerance: float = 1e-4
    """Relative change of the energy that ends the iteration, also over the last few reweightings."""
    prior_weight: float = 1e-4
    """Of a depth prior, per pixel: normals decide on details smaller than 1 / sqrt(prior_weight) pixels."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise SettingError(f"unknown method '{self.method}'; choose one of {', '.join(get_args(Method))}")
        if not self.k > 0 or not np.isfinite(self.k):
            raise SettingError(f"k = {self.k} is not a sharpness; choose a positive number, 2 in the paper")
        if self.iterations < 1:
            raise SettingError(f"iterations = {self.iterations} is too few; choose at least 1")
        if not 0 < self.tolerance < 1:
            raise SettingError(f"tolerance = {self.tolerance} is out of range; choose one in (0, 1)")
        if not self.prior_weight > 0 or not np.isfinite(self.prior_weight):
            raise SettingError(f"prior_weight = {self.prior_weight} is out of range; choose a positive one")


@dataclass(frozen=True, eq=False)
class Integration:
    """A surface as depth."""

    depth: npt.NDArray[np.float32]
    """(H, W), distance from the image plane, positive; 0 outside the mask. Its scale (perspective) or offset
    (orthographic, unit: pixels) is free unless a prior fixes it; every component then has the median 1, or
    the same median with the nearest point at 1."""
    discontinuity: npt.NDArray[np.float32]
    """(H, W) in [0, 1]: 1 where neither end of one of the pixel's edges counts on it; 0 with poisson."""
    torn_right: Flags
    """(H, W): the surface is torn between the pixel and its right neighbour."""
    torn_down: Flags
    """(H, W): the surface is torn between the pixel and its lower neighbour."""
    components: int
    """Connected parts of the mask."""
    energies: tuple[float, ...]
    """After each solve, with the weights it was made with."""
    solver_steps: int
    """Steps of conjugate gradients in all."""


@dataclass(frozen=True, eq=False)
class _Edges:
    """What the normals say about each edge (E,): the weights of its ends, and the steps they ask for."""

    facing_tail: Floats
    facing_head: Floats
    weight_tail: Floats
    weight_head: Floats
    weight_chord: Floats
    step_tail: Floats
    step_head: Floats
    step_chord: Floats


@dataclass(frozen=True, eq=False)
class _Trust:
    """How much the two ends count on each edge (E,), in [0, 1]."""

    tail: Floats
    head: Floats
    chord: Floats
    """How far the step is that of the chord, not of the tangents."""


def integrate_normals(
    normals: npt.NDArray[np.floating] | NormalMap,
    intrinsics: Intrinsics | None = None,
    mask: Flags | None = None,
    settings: IntegrationSettings | None = None,
    depth_prior: npt.NDArray[np.floating] | None = None,
    photograph: npt.NDArray[np.floating] | None = None,
) -> Integration:
    """Depth of the surface that has these normals.

    Args:
        normals: (H, W, 3) or a `NormalMap`, OpenGL camera, unit length; zero vectors are outside.
        intrinsics: of the camera; None is an orthographic one.
        mask: (H, W), where to integrate; None is wherever there is a normal.
        settings: how; None is the paper's way.
        depth_prior: (H, W), a coarse depth to stay near to, in the unit that the result shall have (pixels if
            orthographic); not positive or not finite is unknown.
        photograph: (H, W, 3) in [0, 1], sRGB coded, to whose edges tears shall keep; for predicted normals.

    Raises:
        FrameError: if the map is in another frame.
        ImageShapeError: if sizes differ.
        NormalMapError: if normals are NaN or not unit length, there are none in the mask, or most face away.
        SettingError: if the prior is unknown everywhere in the mask.
    """
    settings, normals = settings or IntegrationSettings(), opengl_vectors(normals)
    inside = _checked_mask(normals, intrinsics, mask)
    graph = PixelGraph.of(inside)
    edges = _edges(graph, normals, intrinsics)
    if photograph is not None:
        edges = _guided(graph, edges, photograph)
    focal_px = None if intrinsics is None else float(np.sqrt(intrinsics.fx * intrinsics.fy))
    prior, prior_weights = _prior(graph, depth_prior, focal_px, settings)
    heights, trust, energies, steps = _reweighted(graph, edges, prior, prior_weights, settings)
    labels = graph.components()
    depth = _depth(heights, labels, focal_px, prior, prior_weights)
    discontinuity, torn = _discontinuities(graph, edges, trust, heights)
    torn_right, torn_down = (_edge_picture(graph, torn, axis) for axis in (0, 1))
    return Integration(
        depth=np.nan_to_num(graph.picture(depth)),
        discontinuity=np.nan_to_num(graph.picture(discontinuity)),
        torn_right=torn_right,
        torn_down=torn_down,
        components=int(labels.max()) + 1,
        energies=tuple(energies),
        solver_steps=steps,
    )


def _reweighted(
    graph: PixelGraph,
    edges: _Edges,
    prior: Floats,
    prior_weights: Floats,
    settings: IntegrationSettings,
) -> tuple[Floats, _Trust, list[float], int]:
    """Heights y (N,), the trust that they were solved with, energies, and steps of the solver."""
    solver = LaplacianSolver()
    trust = _even_trust(graph)
    heights = _solve(graph, edges, trust, solver, prior, prior, prior_weights)
    energies = [_energy(graph, edges, trust, heights)]
    for _ in range(settings.iterations - 1 if settings.method == "bilateral" else 0):
        trust = _bilateral_trust(graph, edges, heights, settings.k)
        heights = _solve(graph, edges, trust, solver, heights, prior, prior_weights)
        energies.append(_energy(graph, edges, trust, heights))
        if _settled(energies, settings.tolerance):
            break
    return heights, trust, energies, solver.steps


def _settled(energies: list[float], tolerance: float) -> bool:
    """Whether the last energy is about the one before, or the last `PATIENCE` brought no progress."""
    if len(energies) < 2:
        return False
    if abs(energies[-2] - energies[-1]) <= tolerance * energies[-2]:
        return True
    if len(energies) <= PATIENCE:
        return False
    earlier = min(energies[:-PATIENCE])
    return min(energies[-PATIENCE:]) >= (1 - tolerance) * earlier


def _checked_mask(
    normals: npt.NDArray[np.floating], intrinsics: Intrinsics | None, mask: Flags | None
) -> Flags:
    if normals.ndim != 3 or normals.shape[2] != 3:
        raise ImageShapeError(f"expected normals (H, W, 3), got shape {normals.shape}; transpose them")
    height, width = normals.shape[:2]
    if intrinsics is not None and (intrinsics.width, intrinsics.height) != (width, height):
        raise ImageShapeError(
            f"the intrinsics are for {intrinsics.width} x {intrinsics.height} px, the normals have "
            f"{width} x {height} px; resize one to the other first"
        )
    if mask is not None and mask.shape != (height, width):
        raise ImageShapeError(
            f"the mask is {mask.shape[-1]} x {mask.shape[0]} px, the normals have {width} x {height} px; "
            "make them the same size"
        )
    length = np.linalg.norm(normals, axis=-1)
    inside = np.asarray(length > 0 if mask is None else (mask & ~(length == 0)), dtype=np.bool_)
    if not np.isfinite(length if mask is None else length[mask]).all():
        raise NormalMapError("some normals are NaN or infinite; invalid pixels must be zero vectors")
    if not inside.any():
        raise NormalMapError("no normal lies inside the mask; check the mask and the normal map")
    worst = float(np.abs(length[inside] - 1).max())
    if worst > LENGTH_TOLERANCE:
        raise NormalMapError(f"normals are off unit length by up to {worst:.3f}; apply unit_length first")
    return inside


def _edges(graph: PixelGraph, normals: npt.NDArray[np.floating], intrinsics: Intrinsics | None) -> _Edges:
    """Weights and steps; depth grows away from the viewer, rays are those of an OpenGL camera, negated z."""
    vectors = normals[graph.mask].astype(np.float64)  # (N, 3)
    rows, columns = np.nonzero(graph.mask)
    facing, rays = _facing(vectors, rows, columns, intrinsics)
    away = float((facing <= 0).mean())
    if away > 0.5:
        raise NormalMapError(
            f"{away:.0%} of the normals face away from the camera; check the frame and the camera"
        )
    tail, head = graph.tail, graph.head
    facing = np.maximum(facing, GRAZING)
    facing_tail, facing_head = facing[tail], facing[head]

    def step(of: Floats) -> Floats:
        return _step(of, graph, rays, intrinsics)

    step_chord = step(vectors[tail] + vectors[head])
    return _Edges(
        facing_tail=facing_tail,
        facing_head=facing_head,
        weight_tail=facing_tail**2,
        weight_head=facing_head**2,
        weight_chord=1 / (1 + step_chord**2),
        step_tail=step(vectors[tail]),
        step_head=step(vectors[head]),
        step_chord=step_chord,
    )


def _guided(graph: PixelGraph, edges: _Edges, photograph: npt.NDArray[np.floating]) -> _Edges:
    """The same edges, weaker where the photograph changes."""
    if photograph.shape != (*graph.mask.shape, 3):
        raise ImageShapeError(
            f"the photograph has shape {photograph.shape}, the normals {graph.mask.shape}; resize it first"
        )
    colours = photograph[graph.mask].astype(np.float64)  # (N, 3)
    contrast = np.linalg.norm(colours[graph.head] - colours[graph.tail], axis=1) / EDGE_COLOUR  # (E,)
    share = EDGE_LEAST + (1 - EDGE_LEAST) / (1 + contrast**2)
    return replace(
        edges,
        weight_tail=share * edges.weight_tail,
        weight_head=share * edges.weight_head,
        weight_chord=share * edges.weight_chord,
    )


def _facing(
    vectors: Floats, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], intrinsics: Intrinsics | None
) -> tuple[Floats, Floats | None]:
    """-n . r per pixel (N,), and rays (N, 3) scaled to z = -1, None if orthographic."""
    if intrinsics is None:
        return vectors[:, 2], None
    rays = pixel_rays(intrinsics, rows, columns)
    return -np.einsum("ni,ni->n", vectors, rays), rays


def _step(of: Floats, graph: PixelGraph, rays: Floats | None, intrinsics: Intrinsics | None) -> Floats:
    """Difference (E,) head minus tail of y along planes with the normals `of` (E, 3)."""
    if rays is None or intrinsics is None:
        # One pixel along the edge is (1, 0) or (0, -1) in x right, y up; depth is -z.
        along = np.where(graph.axis == 0, of[:, 0], -of[:, 1])
        slope: Floats = along / np.maximum(of[:, 2], GRAZING)
        return slope
    at_tail = np.maximum(-np.einsum("ei,ei->e", of, rays[graph.tail]), GRAZING)
    at_head = np.maximum(-np.einsum("ei,ei->e", of, rays[graph.head]), GRAZING)
    focal_px = np.sqrt(intrinsics.fx * intrinsics.fy)
    step: Floats = focal_px * np.log(np.clip(at_tail / at_head, 0.5, 2))
    return step


def _even_trust(graph: PixelGraph) -> _Trust:
    half = np.full(len(graph.tail), 0.5)
    return _Trust(half, half, np.ones_like(half))


def _bilateral_trust(graph: PixelGraph, edges: _Edges, heights: Floats, k: float) -> _Trust:
    """The paper's weights.

    A neighbour outside the mask counts as no difference, so a steep pixel at the rim gives way to the one
    next to it.
    """
    difference = heights[graph.head] - heights[graph.tail]
    tail = np.empty_like(difference)
    head = np.empty_like(difference)
    forward_all = (edges.facing_tail * difference) ** 2
    backward_all = (edges.facing_head * difference) ** 2
    for along in (slice(graph.across), slice(graph.across, None)):  # views: half the time of index pairs
        forward, backward = np.zeros(graph.nodes), np.zeros(graph.nodes)
        forward[graph.tail[along]] = forward_all[along]
        backward[graph.head[along]] = backward_all[along]
        share = expit(k * (backward - forward))
        tail[along], head[along] = share[graph.tail[along]], 1 - share[graph.head[along]]
    return _Trust(tail, head, np.minimum(1, 4 * tail * head))


def _pull(edges: _Edges, trust: _Trust) -> tuple[Floats, Floats]:
    """Weight (E,) and step (E,) of each edge."""
    tail, head = trust.tail * edges.weight_tail, trust.head * edges.weight_head
    apart = 1 - trust.chord
    along = (trust.tail + trust.head) * edges.weight_chord
    chord = trust.chord * ((1 - ALONG_EDGE) * (tail + head) + ALONG_EDGE * along)
    weight = apart * (tail + head) + chord
    flux = apart * (tail * edges.step_tail + head * edges.step_head) + chord * edges.step_chord
    return weight, flux / np.maximum(weight, 1e-300)


def _solve(
    graph: PixelGraph,
    edges: _Edges,
    trust: _Trust,
    solver: LaplacianSolver,
    last: Floats,
    prior: Floats,
    prior_weights: Floats,
) -> Floats:
    weight, step = _pull(edges, trust)
    matrix = graph.laplacian(weight, prior_weights + FREE_DRIFT)
    right = graph.divergence(weight * step) + prior_weights * prior + FREE_DRIFT * last
    return solver.solve(matrix, right, last)


def _energy(graph: PixelGraph, edges: _Edges, trust: _Trust, heights: Floats) -> float:
    difference = heights[graph.head] - heights[graph.tail]
    tail = trust.tail * edges.weight_tail * (difference - edges.step_tail) ** 2
    head = trust.head * edges.weight_head * (difference - edges.step_head) ** 2
    return float(tail.sum() + head.sum())


def _prior(
    graph: PixelGraph,
    depth: npt.NDArray[np.floating] | None,
    focal_px: float | None,
    settings: IntegrationSettings,
) -> tuple[Floats, Floats]:
    """Heights y of the prior (N,), and their weights (N,), zero where it is unknown."""
    if depth is None:
        return np.zeros(graph.nodes), np.zeros(graph.nodes)
    if depth.shape != graph.mask.shape:
        raise ImageShapeError(
            f"the depth prior has shape {depth.shape}, the normals {graph.mask.shape}; resize it first"
        )
    inside = depth[graph.mask].astype(np.float64)
    known = np.isfinite(inside) & (inside > 0)
    if not known.any():
        raise SettingError("the depth prior is unknown everywhere in the mask; leave it out or check it")
    values = np.where(known, inside, float(np.median(inside[known])))
    heights = values if focal_px is None else focal_px * np.log(values)
    return heights, np.where(known, settings.prior_weight, 0.0)


def _depth(
    heights: Floats,
    labels: npt.NDArray[np.int32],
    focal_px: float | None,
    prior: Floats,
    prior_weights: Floats,
) -> Floats:
    """Depth (N,); what hangs on no prior is moved to the median of the prior, or of nothing, as a whole."""
    given = prior_weights > 0
    middle = float(np.median(prior[given])) if given.any() else 0.0
    order = np.argsort(labels, kind="stable")
    moved = heights.copy()
    for part in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if not given[part].any():
            moved[part] += middle - float(np.median(moved[part]))
    if focal_px is not None:
        return np.exp(moved / focal_px)
    return moved if given.any() else moved - moved.min() + 1


def _discontinuities(
    graph: PixelGraph, edges: _Edges, trust: _Trust, heights: Floats
) -> tuple[Floats, Flags]:
    """How much each pixel (N,) lies at a discontinuity, and which edges (E,) are torn."""
    difference = heights[graph.head] - heights[graph.tail]
    unwanted = 1 - np.minimum(1, 2 * np.maximum(trust.tail, trust.head))
    steps = np.stack([edges.step_tail, edges.step_head, edges.step_chord])
    gap = np.abs(difference - steps).min(axis=0)
    torn: Flags = (unwanted > 0.5) & (gap > TORN_PX)
    strength = unwanted * np.minimum(1, gap / TORN_PX)
    most = np.zeros(graph.nodes)
    np.maximum.at(most, graph.tail, strength)
    np.maximum.at(most, graph.head, strength)
    return most, torn


def _edge_picture(graph: PixelGraph, flags: Flags, axis: int) -> Flags:
    """(H, W): the flag of the edge that leaves each pixel along `axis`."""
    chosen = graph.axis == axis
    nodes = np.zeros(graph.nodes, dtype=np.bool_)
    nodes[graph.tail[chosen]] = flags[chosen]
    picture = np.zeros(graph.mask.shape, dtype=np.bool_)
    picture[graph.mask] = nodes
    return picture
