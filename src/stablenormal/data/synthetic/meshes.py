"""Triangle meshes with shading normals and texture coordinates, and the primitives everything is built of.

z is up, lengths are metres. A `Mesh` holds each vertex once per smoothing group: flat faces stay flat.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stablenormal.data.synthetic.draws import Array

Faces = npt.NDArray[np.int64]
CREASE_DEG = 38.0
"""Faces that meet at less than this angle are shaded as one smooth surface."""


@dataclass(frozen=True)
class Mesh:
    """Triangles with shading normals and texture coordinates."""

    vertices: npt.NDArray[np.float32]
    """(V, 8): position, unit normal, texture coordinate in metres."""
    faces: npt.NDArray[np.int32]
    """(F, 3): rows of `vertices`."""

    @property
    def positions(self) -> npt.NDArray[np.float32]:
        """Vertex positions (V, 3)."""
        return self.vertices[:, :3]

    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner, (3,) each."""
        return self.positions.min(0).astype(float), self.positions.max(0).astype(float)


def mesh_from_faces(
    points: Array, faces: Faces, crease_deg: float = CREASE_DEG, uv: Array | None = None
) -> Mesh:
    """A mesh whose normals are smooth across edges flatter than the crease angle.

    Args:
        points: (V, 3), shared between faces that touch.
        faces: (F, 3) rows of `points`; neighbours are wound the same way round.
        crease_deg: edges sharper than this stay sharp.
        uv: texture coordinates (F, 3, 2) of the corners; without them those of `box_uv`.
    """
    corners = points[faces]  # (F, 3, 3)
    scaled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(scaled, axis=1)
    keep = area > 1e-12
    faces, corners = faces[keep], corners[keep]
    face_normals = scaled[keep] / area[keep][:, None]
    angles = _corner_angles(corners)
    normals = _corner_normals(faces, angles, face_normals, np.cos(np.radians(crease_deg)))
    texture = box_uv(corners, face_normals) if uv is None else uv[keep].reshape(-1, 2)
    return _join_equal_vertices(corners.reshape(-1, 3), normals, texture)


def wound_alike(points: Array, faces: Faces) -> tuple[Faces, int]:
    """Faces turned so that neighbours across an edge are wound the same way round, and closed bodies outward.

    Args:
        points: (V, 3), shared between faces that touch.
        faces: (F, 3) rows of `points`.

    Returns:
        The faces (F, 3), and how many of them were turned. One-sided bands (Moebius) stay as they are.
    """
    count = len(faces)
    edges = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)  # (3F, 2), in winding order
    upward = edges[:, 0] < edges[:, 1]
    keys = np.sort(edges, 1) @ np.array([len(points), 1])
    order = np.argsort(keys, kind="stable")
    _, starts, shared = np.unique(keys[order], return_index=True, return_counts=True)
    first, second = order[starts[shared == 2]], order[starts[shared == 2] + 1]  # edges of exactly two faces
    one, two = first // 3, second // 3
    differ = upward[first] == upward[second]  # the same direction twice: wound differently
    # Each face is two nodes, as it is and turned; what is connected goes together.
    rows = np.concatenate([one, one + count])
    columns = np.concatenate([two + count * differ, two + count * ~differ])
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(2 * count, 2 * count))
    _, group = connected_components(graph, directed=False)
    as_is, turned = group[:count], group[count:]
    flip = as_is > turned  # of the two mirrored groups, the one with the smaller number
    body = np.minimum(as_is, turned)
    flipped = np.where(flip[:, None], faces[:, ::-1], faces)
    corners = points[flipped] - points.mean(0)
    volume = np.bincount(body, np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))
    edge_body = body[one]
    closed = np.bincount(edge_body, minlength=len(volume)) * 2 >= np.bincount(body, minlength=len(volume)) * 3
    kept = np.bincount(body, np.where(flip, -1, 1), minlength=len(volume)) >= 0  # most faces as they were
    inward = np.where(closed, volume < 0, ~kept)
    flip = flip ^ inward[body]
    return np.where(flip[:, None], faces[:, ::-1], faces), int(flip.sum())


def _corner_angles(corners: Array) -> Array:
    """The angle of each triangle at each of its corners, (F, 3) radians."""
    onward = np.roll(corners, -1, 1) - corners
    back = np.roll(corners, 1, 1) - corners
    sine = np.linalg.norm(np.cross(onward, back), axis=-1)
    angles: Array = np.arctan2(sine, (onward * back).sum(-1))
    return angles


def _corner_normals(faces: Faces, angles: Array, face_normals: Array, crease_cos: float) -> Array:
    """Per corner (3F, 3): the mean of the touching faces within the crease angle of its own.

    Weighted by angle, so that it does not matter along which diagonal a quad was cut: on a cylinder of 24
    sections, weights by area are off by 2.5 degrees.
    """
    owner = np.repeat(np.arange(len(faces)), 3)
    vertex = faces.reshape(-1)
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex)
    starts = np.cumsum(counts) - counts
    degree = counts[vertex]
    mine = np.repeat(np.arange(len(vertex)), degree)  # every pair of corners that share a vertex
    within = np.arange(degree.sum()) - np.repeat(np.cumsum(degree) - degree, degree)
    theirs = order[starts[vertex[mine]] + within]
    smooth = np.einsum("ij,ij->i", face_normals[owner[mine]], face_normals[owner[theirs]]) > crease_cos
    mine, theirs = mine[smooth], theirs[smooth]
    weighted = face_normals[owner[theirs]] * angles.reshape(-1)[theirs][:, None]
    summed = np.stack([np.bincount(mine, weighted[:, k], len(vertex)) for k in range(3)], 1)
    unit: Array = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit


def box_uv(corners: Array, face_normals: Array) -> Array:
    """Texture coordinates (3F, 2) in metres: each face projected along its dominant axis."""
    axes = np.array([[1, 2], [0, 2], [0, 1]])[np.abs(face_normals).argmax(1)]
    return np.take_along_axis(corners, np.repeat(axes[:, None], 3, 1), 2).reshape(-1, 2)


def _join_equal_vertices(positions: Array, normals: Array, uv: Array) -> Mesh:
    rows = np.hstack([positions, normals, uv]).astype(np.float32)
    keys = np.ascontiguousarray(np.round(rows, 5) + np.float32(0)).view(np.dtype((np.void, 32))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Mesh(rows[first], inverse.reshape(-1, 3).astype(np.int32))


def in_order_of_use(mesh: Mesh) -> Mesh:
    """The same mesh with its vertices in the order in which the faces first name them."""
    used, first = np.unique(mesh.faces, return_index=True)
    order = used[np.argsort(first)]
    place = np.zeros(len(mesh.vertices), np.int32)
    place[order] = np.arange(len(order))
    return Mesh(mesh.vertices[order], place[mesh.faces])


def with_normals(points: Array, faces: Faces, normals: Array) -> Mesh:
    """A mesh whose vertex normals (V, 3) are known exactly."""
    corners = points[faces]
    geometric = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    keep = np.linalg.norm(geometric, axis=1) > 1e-12
    uv = box_uv(corners[keep], geometric[keep])
    return _join_equal_vertices(corners[keep].reshape(-1, 3), normals[faces[keep]].reshape(-1, 3), uv)


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.vstack([mesh.vertices for mesh in meshes]),
        np.vstack([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]).astype(
            np.int32
        ),
    )


def transformed(mesh: Mesh, matrix: Array, *, own_texture: bool = False) -> Mesh:
    """The mesh under an affine map (4, 4); normals follow.

    Textures keep their size in metres; with `own_texture` they stretch with the mesh: a picture made for it.
    """
    linear = matrix[:3, :3]
    vertices = np.empty_like(mesh.vertices)
    vertices[:, :3] = mesh.vertices[:, :3] @ linear.T + matrix[:3, 3]
    normals = mesh.vertices[:, 3:6] @ np.linalg.inv(linear)
    vertices[:, 3:6] = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    size = 1.0 if own_texture else np.cbrt(abs(np.linalg.det(linear)))
    vertices[:, 6:] = mesh.vertices[:, 6:] * size
    return Mesh(vertices, mesh.faces)


def moved(mesh: Mesh, offset: Sequence[float] | Array) -> Mesh:
    """The mesh shifted by (3,) metres."""
    return transformed(mesh, translation(offset))


def translation(offset: Sequence[float] | Array) -> Array:
    """A (4, 4) shift."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def scaling(factors: Sequence[float] | Array | float) -> Array:
    """A (4, 4) scaling by one factor or three."""
    return np.diag([*(np.ones(3) * np.asarray(factors)), 1.0])


def rotation(axis: Sequence[float] | Array, angle: float) -> Array:
    """A (4, 4) right-handed rotation about an axis through the origin, by radians."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix


def box(size: Sequence[float] | Array, centre: Sequence[float] | Array = (0, 0, 0)) -> Mesh:
    """A sharp box: full size and centre, (3,) each."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
         [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )  # fmt: skip
    return mesh_from_faces(signs * np.asarray(size) / 2 + np.asarray(centre), faces)


def rounded_box(
    size: Sequence[float] | Array, radius: float, centre: Sequence[float] | Array = (0, 0, 0)
) -> Mesh:
    """A box with rounded edges and corners and exact normals; the radius shrinks to fit thin boxes."""
    half = np.asarray(size, float) / 2
    radius = min(radius, 0.9 * float(half.min()))
    core = half - radius
    steps = radius * np.tan(np.radians([45.0, 22.5, 0.0]))
    points: list[Array] = []
    normals: list[Array] = []
    faces: list[Faces] = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        nodes = [np.concatenate([-core[k] - steps, (core[k] + steps)[::-1]]) for k in (first, second)]
        grid = np.stack(np.meshgrid(*nodes, indexing="ij"), -1).reshape(-1, 2)
        for side in (-1.0, 1.0):
            outer = np.empty((len(grid), 3))
            outer[:, axis], outer[:, [first, second]] = side * half[axis], grid
            inner = np.clip(outer, -core, core)
            outward = (outer - inner) / np.linalg.norm(outer - inner, axis=1, keepdims=True)
            faces.append(_grid_faces(6, 6, wrap=False) + 36 * len(points))
            points.append(inner + radius * outward)
            normals.append(outward)
    return with_normals(np.vstack(points) + np.asarray(centre), np.vstack(faces), np.vstack(normals))


def _grid_faces(rows: int, columns: int, wrap: bool) -> Faces:
    index = np.arange(rows * columns).reshape(rows, columns)
    if wrap:
        index = np.vstack([index, index[:1]])
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    return np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def grid(points: Array, *, wrap: bool = False, crease_deg: float = CREASE_DEG) -> Mesh:
    """The surface through a lattice of points (U, V, 3); `wrap` closes it along U."""
    rows, columns = points.shape[:2]
    return mesh_from_faces(points.reshape(-1, 3), _grid_faces(rows, columns, wrap), crease_deg)


def revolved(profile: Array, sections: int = 32, crease_deg: float = CREASE_DEG) -> Mesh:
    """A profile (K, 2) of radius and height, turned about z."""
    turn = np.linspace(0, 2 * np.pi, sections, endpoint=False)[:, None]
    radius, height = np.maximum(profile[None, :, 0], 1e-5), profile[None, :, 1]
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), height + 0 * turn], -1)
    return grid(points, wrap=True, crease_deg=crease_deg)


def cylinder(
    radius: float, height: float, centre: Sequence[float] | Array = (0, 0, 0), sections: int = 24
) -> Mesh:
    """An upright closed cylinder."""
    half = height / 2
    return moved(
        revolved(np.array([[0, -half], [radius, -half], [radius, half], [0, half]]), sections), centre
    )


def rod(start: Array, end: Array, radius: float, end_radius: float | None = None, sections: int = 10) -> Mesh:
    """A round bar between two points, tapering to `end_radius`."""
    along = np.asarray(end, float) - start
    length = float(np.linalg.norm(along))
    tip = radius if end_radius is None else end_radius
    mesh = revolved(np.array([[0, 0], [radius, 0], [tip, length], [0, length]]), sections, 60.0)
    return transformed(mesh, translation(start) @ _frame_along(along / length))


def _frame_along(axis: Array) -> Array:
    """A (4, 4) rotation that takes z to the axis."""
    side = np.cross([0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0], axis)
    side /= np.linalg.norm(side)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([side, np.cross(axis, side), axis], 1)
    return matrix


def tube(path: Array, radius: float, sections: int = 8) -> Mesh:
    """A round tube of constant radius along a path (K, 3)."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent, [0.31, 0.17, 0.93])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    turn = np.linspace(0, 2 * np.pi, sections, endpoint=False)[:, None, None]
    ring = path[None] + radius * (np.cos(turn) * side[None] + np.sin(turn) * np.cross(tangent, side)[None])
    return grid(ring, wrap=True, crease_deg=75.0)


def sphere_points(level: int) -> tuple[Array, Faces]:
    """Points and faces of an icosahedron divided `level` times, on the unit sphere."""
    g = (1 + 5**0.5) / 2
    points = np.array(
        [[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g],
         [0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]], float
    )  # fmt: skip
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    faces = np.array(
        [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2],
         [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5],
         [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]]
    )  # fmt: skip
    for _ in range(level):
        edges = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = points[unique].sum(1)
        a, b, c = faces.T
        ab, bc, ca = (inverse.reshape(-1, 3) + len(points)).T
        points = np.vstack([points, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        faces = np.vstack([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return points, faces


def sphere(radius: float = 1.0, level: int = 4) -> Mesh:
    """A sphere about the origin with exact normals at its vertices."""
    points, faces = sphere_points(level)
    return with_normals(points * radius, faces, points)


def fitted_to_unit_ball(mesh: Mesh) -> Mesh:
    """The mesh with its box centred at the origin and its farthest vertex at distance one."""
    low, high = mesh.bounds()
    centred = moved(mesh, -(low + high) / 2)
    return transformed(centred, scaling(1 / float(np.linalg.norm(centred.positions, axis=1).max())))
