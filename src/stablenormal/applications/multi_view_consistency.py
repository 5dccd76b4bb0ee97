"""Do the normals of several views agree? The angle between what two views say about one point of the surface.

Points come from the views' depth maps where there are any (a point counts in another view if that one's
depth at its pixel differs by at most `DEPTH_TOLERANCE`), otherwise from sparse points and the photographs in
which they were matched. The score of a view is over its points and all other views that see them, that of a
scene over all such pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stablenormal.geometry.normals import valid_pixels
from stablenormal.geometry.posed import PosedCamera

Array = npt.NDArray[np.float64]

DEPTH_TOLERANCE = 0.02
"""Relative difference of depths that is still the same surface."""

PIXELS_PER_VIEW = 2000
"""Pixels of a depth map that become points, about; a regular subset."""

CLOSE_DEG = 11.25
"""Angle under which two views agree."""


@dataclass(frozen=True, eq=False)
class ViewNormals:
    """What one view says."""

    camera: PosedCamera
    normals: npt.NDArray[np.float32]
    """(H, W, 3), OpenGL camera, zero where unknown."""
    depth: npt.NDArray[np.float32] | None = None
    """(H, W), 0 where unknown."""
    points: npt.NDArray[np.int64] | None = None
    """(K,) rows of the scene's points that this photograph shows."""


@dataclass(frozen=True)
class Agreement:
    """Angles between pairs of normals."""

    mean_deg: float
    median_deg: float
    close: float
    """Share under `CLOSE_DEG`, in [0, 1]."""
    pairs: int


@dataclass(frozen=True)
class Consistency:
    """Agreement of all views."""

    by: Literal["depth", "points", "nothing"]
    """Where the common points come from; `nothing`: there are none, so there is no score."""
    overall: Agreement | None
    views: tuple[Agreement | None, ...]
    """None for a view that shares no point with another."""


def consistency(views: Sequence[ViewNormals], points: Array | None = None) -> Consistency:
    """Score the views of a scene.

    Args:
        views: their cameras, normals, and what is known of depth or points.
        points: (N, 3) sparse points in the world.
    """
    by: Literal["depth", "points", "nothing"] = "nothing"
    if any(view.depth is not None for view in views):
        by = "depth"
    elif points is not None and any(view.points is not None for view in views):
        by = "points"
    angles: list[list[Array]] = [[] for _ in views]
    if by == "depth":
        for index, view in enumerate(views):
            for other in range(len(views)):
                if other != index and view.depth is not None and views[other].depth is not None:
                    angles[index].append(_by_depth(view, views[other]))
    elif by == "points":
        assert points is not None, "by points there are points"
        seen = [_at_points(view, points) for view in views]  # (N, 3) each, zero where unseen
        for index in range(len(views)):
            for other in range(index):
                pair = _angles_deg(seen[index], seen[other])
                angles[index].append(pair)
                angles[other].append(pair)
    each = [np.concatenate(rows) if rows else np.zeros(0) for rows in angles]
    return Consistency(
        by, _agreement(np.concatenate(each) if each else np.zeros(0)), tuple(_agreement(row) for row in each)
    )


def _by_depth(view: ViewNormals, other: ViewNormals) -> Array:
    assert view.depth is not None and other.depth is not None, "both have depth"
    stride = max(1, int(np.sqrt(view.depth.size / PIXELS_PER_VIEW)))
    rows, columns = np.nonzero(view.depth[::stride, ::stride] > 0)
    rows, columns = rows * stride, columns * stride
    directions = view.camera.directions()[rows, columns]
    places = view.camera.centre + directions * view.depth[rows, columns][:, None]
    mine = view.normals[rows, columns] @ view.camera.rotation.T
    there, pixel = _pixels(other, places)
    _, distance = other.camera.project(places)
    known = other.depth[pixel[1], pixel[0]]
    near = np.abs(known - distance) <= DEPTH_TOLERANCE * np.maximum(distance, 1e-12)
    there = np.asarray(there & (known > 0) & near)
    theirs = other.normals[pixel[1], pixel[0]] @ other.camera.rotation.T
    return _angles_deg(mine[there], theirs[there])


def _at_points(view: ViewNormals, points: Array) -> Array:
    found = np.zeros_like(points)
    if view.points is None:
        return found
    there, pixel = _pixels(view, points[view.points])
    normals = view.normals[pixel[1], pixel[0]] @ view.camera.rotation.T
    found[view.points[there]] = normals[there]
    return found


def _pixels(view: ViewNormals, places: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each place (N, 3) lies in the picture, and its column and row (2, N), 0 where not."""
    pixels, _ = view.camera.project(places)
    size = [view.camera.intrinsics.width, view.camera.intrinsics.height]
    with np.errstate(invalid="ignore"):
        inside: npt.NDArray[np.bool_] = np.asarray(((pixels >= 0) & (pixels < size)).all(axis=1))
    return inside, np.where(inside[:, None], pixels, 0).astype(np.int64).T


def _angles_deg(first: Array, second: Array) -> Array:
    """Angles between rows that are both known."""
    known = valid_pixels(first) & valid_pixels(second)
    a, b = first[known], second[known]
    sine = np.linalg.norm(np.cross(a, b), axis=1)
    angles: Array = np.degrees(np.arctan2(sine, (a * b).sum(axis=1)))
    return angles


def _agreement(angles_deg: Array) -> Agreement | None:
    if not len(angles_deg):
        return None
    return Agreement(
        mean_deg=float(angles_deg.mean()),
        median_deg=float(np.median(angles_deg)),
        close=float((angles_deg < CLOSE_DEG).mean()),
        pairs=len(angles_deg),
    )
