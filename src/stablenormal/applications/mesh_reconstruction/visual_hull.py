"""The visual hull: the part of space that lies inside the object's mask in every view.

Source: Laurentini, The visual hull concept for silhouette-based image understanding, TPAMI 1994.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter

from stablenormal.applications.mesh_reconstruction.views import Cube, ReconstructionView
from stablenormal.errors import SceneError

Grid = npt.NDArray[np.float64]

SEARCH_RESOLUTION = 48
"""Nodes along each side when the object's place is searched."""

ROOM = 1.12
"""Side of the cube over the longest side of the hull."""

LEAST_VIEWS = 2
"""Views that must have a point in their picture before it can be part of the object."""


def find_cube(views: Sequence[ReconstructionView]) -> Cube:
    """The cube around the visual hull.

    Raises:
        SceneError: if fewer than two views show the object, or the masks have no common point.
    """
    seeing = [view for view in views if (view.mask > 0.5).any()]
    if len(seeing) < LEAST_VIEWS:
        raise SceneError(
            f"only {len(seeing)} of {len(views)} views show the object in their mask; check the masks"
        )
    cube = _cube_by_size(seeing)
    for _ in range(2):
        inside = hull(seeing, cube, SEARCH_RESOLUTION)
        if not inside.any():
            raise SceneError(_why_empty(seeing, cube))
        places = np.argwhere(inside) * (2 / (SEARCH_RESOLUTION - 1)) - 1
        low, high = places.min(0) - 1 / SEARCH_RESOLUTION, places.max(0) + 1 / SEARCH_RESOLUTION
        middle = cube.to_world((low + high)[None] / 2)[0]
        cube = Cube(
            (float(middle[0]), float(middle[1]), float(middle[2])),
            float((high - low).max() / 2 * cube.half * ROOM),
        )
    return cube


def hull(views: Sequence[ReconstructionView], cube: Cube, resolution: int) -> npt.NDArray[np.bool_]:
    """Nodes (R, R, R) of the cube that lie inside every mask.

    A view whose mask stays clear of the picture's edge shows the whole object: what lies outside its picture
    is no object. Otherwise the other views decide, of which at least two must have the point in theirs. A
    view with an empty mask says nothing.
    """
    views = [view for view in views if (view.mask > 0.5).any()]
    places = node_places(resolution)
    possible = np.ones(len(places), np.bool_)
    seen = np.zeros(len(places), np.int64)
    for view in views:
        covered, in_picture = _covered(view, cube.to_world(places))
        possible &= covered if _shows_all(view) else covered | ~in_picture
        seen += in_picture
    return (possible & (seen >= min(LEAST_VIEWS, len(views)))).reshape((resolution,) * 3)


def signed_distance(inside: npt.NDArray[np.bool_]) -> Grid:
    """Signed distances (R, R, R) in the cube, negative inside, of a smoothed set of nodes."""
    spacing = 2 / (inside.shape[0] - 1)
    outside_by = distance_transform_edt(~inside) if not inside.all() else np.zeros(inside.shape)
    inside_by = distance_transform_edt(inside) if inside.any() else np.zeros(inside.shape)
    steps = np.where(inside, 0.5 - inside_by, outside_by - 0.5)
    smoothed: Grid = gaussian_filter(steps, 0.7, mode="nearest") * spacing
    return smoothed


def node_places(resolution: int) -> Grid:
    """Places (R^3, 3) of all nodes in the cube."""
    axis = np.linspace(-1, 1, resolution)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def _shows_all(view: ReconstructionView) -> bool:
    inside = view.mask > 0.5
    return not (inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())


def _covered(view: ReconstructionView, points: Grid) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether the mask covers each point's pixel, and whether it has one."""
    pixels, _ = view.camera.project(points)
    height, width = view.mask.shape
    with np.errstate(invalid="ignore"):
        in_picture = np.asarray(((pixels >= 0) & (pixels < [width, height])).all(axis=1))
    columns, rows = np.where(in_picture[:, None], pixels, 0).astype(np.int64).T
    return np.asarray(in_picture & (view.mask[rows, columns] > 0.5)), in_picture


def _cube_by_size(views: Sequence[ReconstructionView]) -> Cube:
    """Around the point nearest to the rays through the middles of the masks."""
    matrix, vector = np.zeros((3, 3)), np.zeros(3)
    axes = []
    for view in views:
        rows, columns = np.nonzero(view.mask > 0.5)
        direction = view.camera.directions()[rows, columns].mean(axis=0)
        direction /= np.linalg.norm(direction)
        across = np.eye(3) - np.outer(direction, direction)
        matrix += across
        vector += across @ view.camera.centre
        axes.append((view, rows, columns, direction))
    if np.linalg.cond(matrix) > 1e6:
        raise SceneError(
            "all views look the same way from the same place; a surface needs views from several sides"
        )
    middle = np.linalg.solve(matrix, vector)
    halves = []
    for view, rows, columns, direction in axes:
        away = float(direction @ (middle - view.camera.centre))
        lens = view.camera.intrinsics
        half_px = max(np.ptp(columns) + 1, np.ptp(rows) + 1)
        if away <= 0:
            raise SceneError(
                f"{view.name}: the object that the other views show lies behind this camera; check its pose"
            )
        halves.append(half_px / min(lens.fx, lens.fy) * away)
    half = float(np.median(halves))
    return Cube((float(middle[0]), float(middle[1]), float(middle[2])), half)


def _why_empty(views: Sequence[ReconstructionView], cube: Cube) -> str:
    """The view whose removal leaves the most points."""
    left = [
        int(hull([other for other in views if other is not view], cube, 24).sum()) if len(views) > 2 else 0
        for view in views
    ]
    worst = views[int(np.argmax(left))].name
    if not any(left):
        return "no point lies inside the masks of all views; check masks and poses"
    return (
        f"no point lies inside the masks of all views, but it would without {worst}; check its mask and pose"
    )
