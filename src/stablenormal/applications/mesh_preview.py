"""Pictures of a mesh without a graphics card: samples of its triangles in a depth buffer."""

import numpy as np
import numpy.typing as npt

from stablenormal.geometry.mesh import TriangleMesh, vertex_parts

Colours = npt.NDArray[np.float32]

BACKGROUND = 1.0
"""Grey level around the object."""

FRAMED_SHARE = 0.2
"""Parts with a smaller share of the largest part's vertices do not decide how the mesh fills the picture."""

SPACING = 0.7
"""Largest distance between samples of a triangle, in pixels of the picture: no holes."""

FINEST = 24
"""Most samples along a triangle's side; longer ones are slivers at the rim, seen edge-on from the camera."""


def render_turn(
    mesh: TriangleMesh, angle_deg: float, side: int = 384, photograph: Colours | None = None
) -> npt.NDArray[np.uint8]:
    """An orthographic picture of the mesh, turned about the vertical axis through its middle.

    Args:
        mesh: what to show.
        angle_deg: positive shows more of the right side.
        side: width and height in pixels.
        photograph: (H, W, 3) in [0, 1] that colours the surface; None is plain clay.

    Returns:
        (side, side, 3).
    """
    turned, normals = _turned(mesh, angle_deg, side)
    colours = _shaded(mesh, normals, photograph)
    canvas = np.full((side * side, 3), BACKGROUND, dtype=np.float32)
    nearest = np.full(side * side, -np.inf)
    corners = turned[mesh.faces]  # (F, 3, 3)
    edges = corners - np.roll(corners, 1, axis=1)
    longest = np.linalg.norm(edges[..., :2], axis=-1).max(axis=1)
    counts = np.clip(np.ceil(longest / SPACING), 1, FINEST).astype(np.int64)
    for count in np.unique(counts):
        faces = mesh.faces[counts == count]
        for weights in _barycentric(int(count)):
            points = np.einsum("k,fki->fi", weights, turned[faces])
            tints = np.einsum("k,fki->fi", weights, colours[faces])
            _draw(canvas, nearest, points, tints, side)
    return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8).reshape(side, side, 3)


def render_row(
    mesh: TriangleMesh, angles_deg: tuple[float, ...], side: int = 384, photograph: Colours | None = None
) -> npt.NDArray[np.uint8]:
    """Pictures from several sides next to each other; arguments as of `render_turn`.

    Returns:
        (side, side * number of angles, 3).
    """
    return np.concatenate([render_turn(mesh, angle, side, photograph) for angle in angles_deg], axis=1)


def _turned(
    mesh: TriangleMesh, angle_deg: float, side: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Vertices in pixels of the picture (x right, y down, z toward the viewer), and turned normals."""
    points = mesh.positions.astype(np.float64)
    framed = points[_framed(mesh)]
    # Percentiles: a few stray points must not shrink the rest.
    low, high = np.percentile(framed, 0.5, axis=0), np.percentile(framed, 99.5, axis=0)
    radius = max(float(np.linalg.norm(high - low)) / 2, 1e-12)
    angle = np.radians(-angle_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    view = (points - (low + high) / 2) @ rotation.T * (side * 0.48 / radius)
    view[:, 0] += side / 2
    view[:, 1] = side / 2 - view[:, 1]
    return view.astype(np.float32), (mesh.normals @ rotation.T).astype(np.float32)


def _framed(mesh: TriangleMesh) -> npt.NDArray[np.bool_]:
    """(V,): the vertices of the large parts."""
    parts = vertex_parts(mesh)
    sizes = np.bincount(parts)
    large: npt.NDArray[np.bool_] = (sizes >= FRAMED_SHARE * sizes.max())[parts]
    return large


def _shaded(
    mesh: TriangleMesh, normals: npt.NDArray[np.float32], photograph: Colours | None
) -> npt.NDArray[np.float32]:
    """Colour (V, 3) of each vertex: the photograph's, or clay under a light from the upper left."""
    if photograph is not None:
        height, width = photograph.shape[:2]
        columns = np.clip((mesh.uv[:, 0] * width).astype(np.int64), 0, width - 1)
        rows = np.clip(((1 - mesh.uv[:, 1]) * height).astype(np.int64), 0, height - 1)
        seen: Colours = photograph[rows, columns]
        return seen
    light = np.array([-0.4, 0.5, 0.77], dtype=np.float32)
    brightness = 0.25 + 0.65 * np.maximum(normals @ light, 0)
    clay = np.array([0.98, 0.93, 0.86], dtype=np.float32)
    shaded: Colours = (brightness[:, None] * clay).astype(np.float32)
    return shaded


def _barycentric(count: int) -> npt.NDArray[np.float32]:
    """Weights (S, 3) of a regular grid on a triangle with `count` steps along a side."""
    i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
    keep = i + j <= count
    return np.stack([i[keep], j[keep], count - i[keep] - j[keep]], axis=1).astype(np.float32) / np.float32(
        count
    )


def _draw(
    canvas: npt.NDArray[np.float32],
    nearest: npt.NDArray[np.float64],
    points: npt.NDArray[np.float32],
    tints: npt.NDArray[np.float32],
    side: int,
) -> None:
    """Put points (M, 3) with colours (M, 3) on the canvas (side^2, 3) where nothing nearer is."""
    columns, rows = np.floor(points[:, 0]).astype(np.int64), np.floor(points[:, 1]).astype(np.int64)
    seen = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    pixels, depths, colours = (rows * side + columns)[seen], points[seen, 2].astype(np.float64), tints[seen]
    np.maximum.at(nearest, pixels, depths)
    front = nearest[pixels] == depths
    canvas[pixels[front]] = colours[front]
