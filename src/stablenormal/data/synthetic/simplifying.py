"""Makes heavy models light: fewer, larger leaves where a model is made of leaves, else fewer triangles."""

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.meshes import Faces
from stablenormal.data.synthetic.model_files import ModelPart
from stablenormal.errors import SettingError

LEAF = 60
"""A part whose pieces have fewer triangles than this on average is thinned out, not simplified."""


def lighter(part: ModelPart, share: float) -> ModelPart:
    """The part with about this share (0 to 1) of its triangles.

    Raises:
        SettingError: if fast-simplification is not installed.
    """
    pieces = _pieces(part)
    count = int(pieces.max()) + 1
    if len(part.faces) < LEAF * count and count > 20:
        return _thinned(part, pieces, count, share)
    try:
        from fast_simplification import simplify  # of the extra "synth"
    except ImportError:
        raise SettingError(
            "simplifying models needs fast-simplification; install it: pip install 'stablenormal[synth]'"
        ) from None
    old_points, old_faces = np.ascontiguousarray(part.points), np.ascontiguousarray(part.faces)
    for haste in (3, 5, 7):  # 7, its default, leaves slivers across edges; 3 sometimes stops early
        points, faces, *_ = simplify(old_points, old_faces, target_reduction=1 - share, agg=haste)
        if len(faces) < 1.3 * share * len(old_faces):
            break
    points, faces = np.asarray(points, float), np.asarray(faces, np.int64)
    uv = None if part.uv is None else _carried_over(part, points[faces])
    return replace(part, points=points, faces=faces, uv=uv)


def _pieces(part: ModelPart) -> Faces:
    """The number of the connected piece of each face (F,)."""
    rows, columns = part.faces[:, :2].T, part.faces[:, 1:].T
    edges = np.ones(2 * len(part.faces), bool)
    shape = (len(part.points),) * 2
    graph = coo_matrix((edges, (np.concatenate(list(rows)), np.concatenate(list(columns)))), shape=shape)
    _, group = connected_components(graph, directed=False)
    _, numbers = np.unique(group[part.faces[:, 0]], return_inverse=True)
    return np.asarray(numbers.ravel(), np.int64)


def _thinned(part: ModelPart, pieces: Faces, count: int, share: float) -> ModelPart:
    """Every so manieth piece, grown about its middle so that together they cover what all covered."""
    kept = np.diff(np.floor(np.arange(count + 1) * share + 0.5)) > 0  # evenly, in the order of the file
    faces, piece = part.faces[kept[pieces]], pieces[kept[pieces]]
    corners = part.points[faces]  # (F, 3, 3)
    sizes = np.maximum(np.bincount(piece, minlength=count), 1)[:, None]
    middle = np.stack([np.bincount(piece, corners[..., k].mean(1), count) for k in range(3)], 1) / sizes
    owner = np.full(len(part.points), -1)
    owner[faces] = piece[:, None]
    points = part.points.copy()
    moved = owner >= 0
    around = middle[owner[moved]]
    points[moved] = around + (points[moved] - around) * share**-0.5
    return replace(part, points=points, faces=faces, uv=None if part.uv is None else part.uv[kept[pieces]])


def _carried_over(part: ModelPart, corners: Array) -> Array:
    """Texture coordinates (F, 3, 2) of new triangles (F, 3, 3), each in the map of the nearest old one.

    One old triangle decides for all three corners, so that no triangle spans a seam of the picture.
    """
    assert part.uv is not None
    old = part.points[part.faces]
    nearest = cKDTree(old.mean(1)).query(corners.mean(1))[1]
    origin, sides = old[nearest, 0], old[nearest, 1:] - old[nearest, :1]  # (F, 2, 3)
    gram = sides @ sides.transpose(0, 2, 1)
    weight = np.trace(gram, axis1=1, axis2=2)[:, None, None] * 1e-9 + 1e-30
    offsets = (corners - origin[:, None]) @ sides.transpose(0, 2, 1)  # (F, 3, 2)
    weights = np.linalg.solve(gram + weight * np.eye(2), offsets.transpose(0, 2, 1)).transpose(0, 2, 1)
    weights = np.clip(weights, -8, 8)
    texture = part.uv[nearest]
    carried: Array = texture[:, :1] + weights @ (texture[:, 1:] - texture[:, :1])
    return carried
