"""A mesh of a photograph: whole surfaces, torn at outlines alone, without shards.

Predicted normals contradict each other a little everywhere, and an integration tears wherever they do so by
a pixel. Most of those tears nobody would see; together they cut a photograph to pieces. So here the depth
decides, not the integration's tears: an edge is cut where depth jumps by a visible share of the picture, and
by far more than the surface beside it slopes. What hangs together then is kept or dropped as a whole.
"""

import numpy as np
import numpy.typing as npt

from stablenormal.applications.normal_integration import Integration
from stablenormal.applications.surface_mesh import Flags, depth_px, facing_cosine, mesh_of_depth, slope_px
from stablenormal.errors import SettingError, argument
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.mesh import TriangleMesh, keep_vertices, vertex_parts

JUMP_SHARE = 0.01
"""Smallest jump in depth that is cut, as a share of the picture's longer side: from 50 degrees beside the
camera, a smaller one is a wall of less than a hundredth of the picture."""

JUMP_LEAST_PX = 2.0
"""The same in pixels, for small pictures: an edge of 63 degrees."""

JUMP_SLOPES = 3.0
"""A jump is also this many times what the surfaces beside it gain a pixel."""

STEEPEST_PX = 12.0
"""An edge that gains more pixels of depth than this is cut whatever the normals say: it is seen at less than
five degrees, where half a degree of error changes the gain by a tenth."""

FAR = 2.5
"""Default of the farthest depth, as a multiple of the median: rooms end at two medians, but a ground that
runs to the horizon has no end, and shown whole it makes what stands on it a speck."""

SPECK_SHARE = 0.01
"""A part with a smaller share of all vertices is dropped."""

STRAY_SHARE = 0.1
"""A part with a smaller share of the largest part's vertices is dropped if it begins where that one ends."""


def relief_mesh(
    integration: Integration,
    normals: npt.NDArray[np.floating],
    intrinsics: Intrinsics | None = None,
    far: float = FAR,
) -> TriangleMesh:
    """The mesh of an integrated photograph, as one looks at it.

    Args:
        integration: of (H, W) pixels; its tears are not asked.
        normals: (H, W, 3), OpenGL camera, that were integrated.
        intrinsics: those of the integration; None is orthographic: x and y in pixels from the middle.
        far: pixels at more than this many times the median depth are left out, unless orthographic.

    Raises:
        ImageShapeError: if the sizes differ.
        SettingError: if `far` leaves out half of the pixels or more, or no three neighbouring pixels form
            a triangle.
    """
    check_far(far)
    depth = integration.depth
    inside = depth > 0
    if intrinsics is not None:
        inside &= depth <= far * np.median(depth[inside])
    cosine = facing_cosine(normals, depth, intrinsics)
    cut_right, cut_down = visible_jumps(depth, cosine, intrinsics)
    mesh = mesh_of_depth(depth, normals, intrinsics, inside=inside, cut_right=cut_right, cut_down=cut_down)
    return keep_vertices(mesh, ~_strays(mesh))


def check_far(far: float) -> None:
    """Refuse a farthest depth that leaves next to nothing.

    Raises:
        SettingError: if it is not more than one median depth.
    """
    if not far > 1:
        raise SettingError(
            f"{argument('far')} = {far:g} leaves out half of the photograph or more; choose more than 1"
        )


def visible_jumps(
    depth: npt.NDArray[np.float32], cosine: npt.NDArray[np.float64], intrinsics: Intrinsics | None
) -> tuple[Flags, Flags]:
    """(H, W) each: whether depth jumps between a pixel and its right and its lower neighbour.

    Args:
        depth: (H, W), distance from the image plane, 0 outside.
        cosine: (H, W) between the normals and the way to the camera.
        intrinsics: of the camera; None is orthographic.
    """
    far = depth_px(depth, intrinsics)
    slope = slope_px(cosine)
    least = max(JUMP_LEAST_PX, JUMP_SHARE * max(depth.shape))
    right = np.zeros(depth.shape, np.bool_)
    right[:, :-1] = _jumps(far, slope, least)
    down = np.zeros(depth.shape, np.bool_)
    down[:-1] = _jumps(far.T, slope.T, least).T
    return right, down


def _jumps(far: npt.NDArray[np.float64], slope: npt.NDArray[np.float64], least: float) -> Flags:
    """(H, W - 1): jumps along the rows.

    The normals at a jump are a mixture of two surfaces', so the pixel behind either end is asked too.
    """
    step = np.abs(np.diff(far, axis=1))
    outer = np.pad(slope, ((0, 0), (1, 1)), mode="edge")
    beside = np.minimum(np.minimum(outer[:, :-3], outer[:, 1:-2]), np.minimum(outer[:, 2:-1], outer[:, 3:]))
    jump: Flags = (step > np.maximum(least, JUMP_SLOPES * beside)) | (step > max(least, STEEPEST_PX))
    return jump


def _strays(mesh: TriangleMesh) -> Flags:
    """(V,): which vertices belong to specks, and to small parts beyond the far end of the largest one."""
    part = vertex_parts(mesh)
    sizes = np.bincount(part)
    main = int(sizes.argmax())
    far = -mesh.positions[:, 2].astype(np.float64)
    begins = np.full(len(sizes), np.inf)
    np.minimum.at(begins, part, far)
    beyond = (sizes < STRAY_SHARE * sizes[main]) & (begins > np.percentile(far[part == main], 99))
    stray = (sizes < SPECK_SHARE * len(part)) | beyond
    stray[main] = False
    flags: Flags = stray[part]
    return flags
