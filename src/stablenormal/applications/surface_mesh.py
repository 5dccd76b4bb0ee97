"""A triangle mesh of an integrated depth map: one vertex per pixel, no triangle across a tear."""

import numpy as np
import numpy.typing as npt

from stablenormal.applications.normal_integration import Integration
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.camera import Intrinsics, pixel_rays
from stablenormal.geometry.mesh import TriangleMesh

Flags = npt.NDArray[np.bool_]

STREAK_PX = 8.0
"""A step in depth between neighbours of more pixels than this is cut if it is also more than three times what
the flatter of the two normals asks for: an occlusion, which from the side would be a streak. Slopes toward a
rim are as steep, but there both normals say so."""


EDGE_ON = 0.15
"""Smallest cosine between the normal and the way to the camera that makes a vertex: below, a pixel spans more
than six pixels of depth, and stands out from the rim as a spike."""


def surface_mesh(
    integration: Integration, normals: npt.NDArray[np.floating], intrinsics: Intrinsics | None = None
) -> TriangleMesh:
    """Back-project every pixel and join neighbours.

    A square of four pixels gives two triangles, one of three pixels gives one; none crosses a tear or a step
    of more than `STREAK_PX`.

    Args:
        integration: of (H, W) pixels.
        normals: (H, W, 3), OpenGL camera, that were integrated; they shade the mesh.
        intrinsics: those of the integration; None is orthographic: x and y in pixels from the middle.

    Raises:
        ImageShapeError: if the sizes differ.
        SettingError: if no three neighbouring pixels form a triangle.
    """
    depth = integration.depth
    cosine = facing_cosine(normals, depth, intrinsics)
    cut_right, cut_down = _streaks(depth, cosine, intrinsics)
    return mesh_of_depth(
        depth,
        normals,
        intrinsics,
        inside=(depth > 0) & (cosine > EDGE_ON),
        cut_right=integration.torn_right | cut_right,
        cut_down=integration.torn_down | cut_down,
    )


def mesh_of_depth(
    depth: npt.NDArray[np.float32],
    normals: npt.NDArray[np.floating],
    intrinsics: Intrinsics | None,
    *,
    inside: Flags,
    cut_right: Flags,
    cut_down: Flags,
) -> TriangleMesh:
    """Back-project the pixels `inside` and join neighbours where nothing is cut.

    Args:
        depth: (H, W), distance from the image plane.
        normals: (H, W, 3), OpenGL camera; they shade the mesh.
        intrinsics: of the camera; None is orthographic.
        inside: (H, W), which pixels become vertices if a triangle needs them.
        cut_right: (H, W), where no triangle joins a pixel and its right neighbour.
        cut_down: (H, W), where no triangle joins a pixel and its lower neighbour.

    Raises:
        SettingError: if no three neighbouring pixels form a triangle.
    """
    number = np.full(depth.shape, -1, dtype=np.int32)
    number[inside] = np.arange(int(inside.sum()), dtype=np.int32)
    faces = number.ravel()[_triangles(inside, cut_right, cut_down)]
    if not len(faces):
        raise SettingError("no three neighbouring pixels are valid, so there is no surface; check the mask")
    rows, columns = np.nonzero(inside)
    height, width = depth.shape
    used = np.unique(faces)
    renumber = np.zeros(len(rows), dtype=np.int32)
    renumber[used] = np.arange(len(used), dtype=np.int32)
    uv = np.stack([(columns + 0.5) / width, 1 - (rows + 0.5) / height], axis=1)
    vectors = normals[inside]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return TriangleMesh(
        positions=_points(rows, columns, depth, intrinsics)[used].astype(np.float32),
        normals=vectors[used].astype(np.float32),
        uv=uv[used].astype(np.float32),
        faces=renumber[faces],
    )


def _points(
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    depth: npt.NDArray[np.float32],
    intrinsics: Intrinsics | None,
) -> npt.NDArray[np.float64]:
    """(N, 3)."""
    far = depth[rows, columns].astype(np.float64)
    if intrinsics is None:
        height, width = depth.shape
        return np.stack([columns + 0.5 - width / 2, height / 2 - rows - 0.5, -far], axis=1)
    return pixel_rays(intrinsics, rows, columns) * far[:, None]


def facing_cosine(
    normals: npt.NDArray[np.floating], depth: npt.NDArray[np.float32], intrinsics: Intrinsics | None
) -> npt.NDArray[np.float64]:
    """(H, W) cosine between each normal and the way to the camera, 0 where there is no normal.

    Raises:
        ImageShapeError: if the normals are not those of the depth's pixels.
    """
    if normals.shape != (*depth.shape, 3):
        raise ImageShapeError(f"normals {normals.shape} do not fit depth {depth.shape}; use the same pixels")
    rays = np.array([0.0, 0.0, -1.0]) if intrinsics is None else pixel_rays(intrinsics)
    lengths = np.linalg.norm(normals, axis=-1) * np.linalg.norm(rays, axis=-1)
    cosine: npt.NDArray[np.float64] = -(normals * rays).sum(axis=-1) / np.maximum(lengths, 1e-12)
    return cosine


def depth_px(depth: npt.NDArray[np.float32], intrinsics: Intrinsics | None) -> npt.NDArray[np.float64]:
    """Depth (H, W) whose differences are in pixels: log depth times focal length, as in the integration."""
    far = depth.astype(np.float64)
    if intrinsics is None:
        return far
    focal_px = float(np.sqrt(intrinsics.fx * intrinsics.fy))
    in_pixels: npt.NDArray[np.float64] = np.log(np.where(depth > 0, far, 1)) * focal_px
    return in_pixels


def slope_px(cosine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How many pixels of depth a surface gains a pixel at most, (H, W), at this cosine to the camera."""
    seen = np.clip(cosine, 0.01, 1)
    slopes: npt.NDArray[np.float64] = np.sqrt(1 - seen**2) / seen
    return slopes


def _streaks(
    depth: npt.NDArray[np.float32], cosine: npt.NDArray[np.float64], intrinsics: Intrinsics | None
) -> tuple[Flags, Flags]:
    """(H, W) each: whether the step to the right and to the lower neighbour is an occlusion."""
    far = depth_px(depth, intrinsics)
    slopes = slope_px(cosine)
    right, down = np.zeros(depth.shape, np.bool_), np.zeros(depth.shape, np.bool_)
    flatter = np.minimum(slopes[:, 1:], slopes[:, :-1])
    right[:, :-1] = np.abs(np.diff(far, axis=1)) > np.maximum(STREAK_PX, 3 * flatter)
    flatter = np.minimum(slopes[1:], slopes[:-1])
    down[:-1] = np.abs(np.diff(far, axis=0)) > np.maximum(STREAK_PX, 3 * flatter)
    return right, down


def _triangles(inside: Flags, torn_right: Flags, torn_down: Flags) -> npt.NDArray[np.int64]:
    """Flat pixel numbers (F, 3), counter-clockwise as the viewer sees them.

    A triangle needs the two sides of its square that it lies on. Squares with all four corners and no tear
    are cut along one diagonal; others keep the corners whose two sides are whole.
    """
    across = inside[:, :-1] & inside[:, 1:] & ~torn_right[:, :-1]
    down = inside[:-1] & inside[1:] & ~torn_down[:-1]
    top, bottom = across[:-1], across[1:]
    left, right = down[:, :-1], down[:, 1:]
    width = inside.shape[1]
    corner = np.arange(inside.size, dtype=np.int64).reshape(inside.shape)[:-1, :-1]
    a, b, c, d = corner, corner + 1, corner + width, corner + width + 1  # a b over c d
    whole = top & bottom & left & right
    pieces = [
        (whole, (a, c, b)),
        (whole, (b, c, d)),
        (~whole & top & left, (a, c, b)),
        (~whole & bottom & right & ~(top & left), (b, c, d)),
        (~whole & top & right & ~(top & left) & ~(bottom & right), (a, d, b)),
        (~whole & bottom & left & ~(top & left) & ~(bottom & right) & ~(top & right), (a, c, d)),
    ]
    return np.concatenate(
        [np.stack([corners[flags] for corners in triple], axis=1) for flags, triple in pieces]
    )
