"""Finds views that would harm training: each problem has a name, a limit and a line that says how bad it is.

Frames are judged by the best evidence there is. With depth: normals computed from it, against every choice of
axes. Without: a visible surface faces the camera, so n . ray < 0 (rooms show at their edges which sign of x
or y is wrong); and the slopes of the surface that the normals describe must close: with the ray (x, y, -1),
log depth changes by P = -n_x / (n . ray) along x and Q = -n_y / (n . ray) along y, so dP/dy = dQ/dx.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import permutations

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.data.readers.source import (
    ASSUMED_FOV_DEG,
    Depth,
    Flags,
    Image,
    Vectors,
    View,
    derived_vectors,
)
from stablenormal.errors import SettingError
from stablenormal.geometry.camera import Intrinsics, pixel_rays
from stablenormal.geometry.frames import AXIS_SIGNS, FRAMES, axes_name
from stablenormal.geometry.normals import valid_pixels
from stablenormal.io.normal_map import NO_DIRECTION

Floats = npt.NDArray[np.float32]

PROBLEMS = {
    "unreadable": "a file is missing or damaged, or the camera is no camera",
    "size": "image and normals differ in size",
    "tiny": "the picture is very small",
    "blank": "the picture is of one colour",
    "nan": "normals are NaN or infinite where the set says that there is a surface",
    "length": "normals are not of unit length",
    "empty": "too few pixels have a normal",
    "inward": "most normals point away from the camera",
    "away": "many normals point away from the camera",
    "frame": "the normals are in another frame than declared",
    "misfit": "normals and depth describe different surfaces",
    "misaligned": "image and normals are shifted against each other",
    "mirrored": "image and normals are mirrored against each other",
    "tilt-shift": "the camera's image plane is tilted against its axis",
}
"""Every problem that a check can name."""

_REACH_PX = 8
"""Largest shift between image and normals that is tried, in pixels of the reduced maps."""
_COMPARED_SIDE = 512
"""Longer side of maps for comparing edges, and at most about that for depth."""
_SIGNED_ORDERS = [(order, signs) for order in permutations(range(3)) for signs in AXIS_SIGNS]
"""Every choice of axes; the unchanged one first."""


@dataclass(frozen=True)
class Limits:
    """Limits beyond which a measure counts as a problem."""

    smallest_side: int = 64
    """Shorter side of a picture in pixels; below is `tiny`."""
    least_contrast: float = 3.0
    """Standard deviation of brightness in 8-bit steps; below is `blank`."""
    length_tolerance: float = 0.05
    """How far from one a length may be."""
    wrong_length_share: float = 0.01
    """Share of normals beyond that tolerance."""
    least_valid_share: float = 0.05
    """Share of pixels with a normal."""
    away_share: float = 0.05
    """Share of normals that point more than 3 degrees away from the camera."""
    frame_gain: float = 0.15
    """By how much another frame must improve the mean cosine with depth's normals."""
    least_cosine: float = 0.5
    """Mean cosine with depth's normals under the best frame; below is `misfit`."""
    shift_gain: float = 0.06
    """By how much a shift must improve the correlation of edges."""
    mirror_gain: float = 0.12
    """The same for mirroring."""
    tilt_deg: float = 0.5
    """Angle of the image plane, and the same as a skew."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0:
            raise SettingError(f"{self}: limits must not be negative")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one view."""

    problem: str
    """A name in `PROBLEMS`."""
    detail: str
    """How bad it is, in one line."""

    def __post_init__(self) -> None:
        if self.problem not in PROBLEMS:
            raise ValueError(f"no problem is named {self.problem!r}")


@dataclass(frozen=True)
class ViewReport:
    """What was measured on one view; measures that do not apply are None."""

    key: str
    width: int = 0
    height: int = 0
    valid_share: float | None = None
    """Pixels with a normal."""
    nan_share: float | None = None
    """Surface pixels with NaN or infinity."""
    wrong_length_share: float | None = None
    away_share: float | None = None
    """Normals that point away from the camera."""
    mean_z: float | None = None
    """Mean z component, OpenGL: positive is toward the viewer."""
    depth_cosine: float | None = None
    """Mean cosine with the normals of the depth, in the declared frame."""
    better_axes: str = ""
    """Frame that the normals seem to be in; empty if the declared one is fine."""
    shift_px: tuple[int, int] | None = None
    """Right and down: where the image's edges best fit those of the normals."""
    tilt_deg: float | None = None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of what was found, each once."""
        return tuple(dict.fromkeys(finding.problem for finding in self.findings))


def unreadable(key: str, reason: str) -> ViewReport:
    """The report of a view that could not be read."""
    return ViewReport(key, findings=(Finding("unreadable", " ".join(reason.split())),))


def check_view(view: View, key: str, frame: str | None, derived: bool, limits: Limits) -> ViewReport:
    """Measure one view.

    Args:
        view: as a reader gives it, nothing mended.
        key: its name.
        frame: the frame that its normals are declared to be stored in, to name a better one; None if each
            file says its own.
        derived: whether the normals were computed from the depth, which then is no witness.
        limits: from where on something is a problem.
    """
    height, width = view.image.shape[:2]
    findings: list[Finding] = []

    def found(problem: str, detail: str) -> None:
        findings.append(Finding(problem, detail))

    if min(height, width) < limits.smallest_side:
        found("tiny", f"{width} x {height} px, shorter than {limits.smallest_side}")
    contrast = float(view.image.mean(-1).std())
    if contrast < limits.least_contrast:
        found("blank", f"brightness varies by {contrast:.1f} steps of 255")
    tilt, skew = float(view.meta.get("tilt_deg", 0)), float(view.meta.get("skew", 0))
    if max(tilt, np.degrees(abs(skew))) > limits.tilt_deg:
        found("tilt-shift", f"image plane tilted by {tilt:.1f} degrees, skew {skew:.3f}")

    for name, shape in (
        ("normals", view.vectors.shape),
        ("mask", view.valid.shape),
        ("depth", None if view.depth is None else view.depth.shape),
    ):
        if shape is not None and shape[:2] != (height, width):
            found("size", f"image {width} x {height}, {name} {shape[1]} x {shape[0]} px")
    valid = (
        view.valid
        if view.valid.shape == view.vectors.shape[:2]
        else np.ones(view.vectors.shape[:2], np.bool_)
    )
    finite: Flags = np.asarray(np.isfinite(view.vectors).all(-1))
    length = np.linalg.norm(np.where(finite[..., None], view.vectors, 0), axis=-1)
    surface: Flags = valid & finite & (length >= NO_DIRECTION)
    nan_share = _share(valid & ~finite, valid)
    wrong_length = _share(surface & (np.abs(length - 1) > limits.length_tolerance), surface)
    valid_share = float(surface.mean())
    if nan_share > 0:
        found("nan", f"{100 * nan_share:.2g} % of the surface's normals")
    if wrong_length > limits.wrong_length_share:
        found(
            "length",
            f"{100 * wrong_length:.2g} % are off by more than {limits.length_tolerance:g}, median length "
            f"{np.median(length[surface]):.3f}",
        )
    if valid_share < limits.least_valid_share:
        found("empty", f"{100 * valid_share:.2g} % of the pixels have a normal")
    unit = np.where(surface[..., None], view.vectors, 0) / np.where(surface, length, 1)[..., None]
    normals = unit.astype(np.float32)
    away = mean_z = cosine = shift = None
    axes = ""
    if view.vectors.shape[:2] == (height, width) and surface.any():
        camera = view.intrinsics or Intrinsics.from_fov(ASSUMED_FOV_DEG, width, height)
        directions = _unit_rays(camera)
        away, mean_z = (
            _away_share(normals[surface], directions[surface]),
            float(normals[surface][:, 2].mean()),
        )
        if away > limits.away_share:
            found("inward" if away > 0.5 else "away", f"{100 * away:.2g} % of the normals")
        compared = None
        if view.depth is not None and view.depth.shape == (height, width) and not derived:
            compared = _against_depth(normals, view.depth, camera)
        if compared is not None:
            cosine, best, gain, order, signs = compared
            # Where other axes fit three times as well, less of a gain is sure enough.
            sure = gain > limits.frame_gain or (gain > limits.frame_gain / 4 and 3 * (1 - best) < 1 - cosine)
            if sure and best > limits.least_cosine:
                axes = _named(frame, order, signs)
                found(
                    "frame",
                    f"{axes} fits the depth with a mean cosine of {best:.2f}, as declared {cosine:.2f}",
                )
            elif best < limits.least_cosine:
                found("misfit", f"mean cosine with the depth's normals {cosine:.2f}")
        else:
            signs = _likely_signs(normals, surface, directions, camera, limits)
            if signs != (1, 1, 1):
                axes = _named(frame, (0, 1, 2), signs)
                found("frame", f"{axes} would face the camera and be a surface")
        shift, detail = _alignment(view.image, normals, surface, limits)
        for problem, line in detail:
            found(problem, line)
    return ViewReport(
        key=key,
        width=width,
        height=height,
        valid_share=valid_share,
        nan_share=nan_share,
        wrong_length_share=wrong_length,
        away_share=away,
        mean_z=mean_z,
        depth_cosine=cosine,
        better_axes=axes,
        shift_px=shift,
        tilt_deg=tilt if "tilt_deg" in view.meta else None,
        findings=tuple(findings),
    )


def _share(part: Flags, whole: Flags) -> float:
    return float(part.sum() / max(1, whole.sum()))


def _unit_rays(camera: Intrinsics) -> Floats:
    """Where each pixel looks, (H, W, 3), unit length."""
    directions = pixel_rays(camera)
    return np.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True), np.float32)


def _away_share(normals: Vectors, directions: Floats) -> float:
    """Of normals (n, 3) seen along unit rays (n, 3)."""
    return float(((normals * directions).sum(-1) > _AWAY_COSINE).mean())


_AWAY_COSINE = float(np.sin(np.radians(3)))


def _named(frame: str | None, order: tuple[int, ...], signs: tuple[int, int, int]) -> str:
    """The frame whose vectors, read as `frame`, must still be changed so."""
    declared = FRAMES[frame or "opengl"]
    if order != (0, 1, 2) or declared is None:
        letters = ", ".join(
            ("-" if sign < 0 else "") + "xyz"[one] for one, sign in zip(order, signs, strict=True)
        )
        return f"({letters})"
    x, y, z = (a * b for a, b in zip(declared, signs, strict=True))
    return axes_name((x, y, z))


def _against_depth(
    normals: Vectors, depth: Depth, camera: Intrinsics
) -> tuple[float, float, float, tuple[int, ...], tuple[int, int, int]] | None:
    """Mean cosine as declared, under the best axes, their difference, and those axes; None without depth."""
    step = max(1, max(depth.shape) // _COMPARED_SIDE)
    step += 1 - step % 2  # odd: then every taken pixel is the middle of its block
    rows, columns = (side // step * step for side in depth.shape)
    middle = slice(step // 2, None, step)
    small = np.ascontiguousarray(depth[:rows, :columns][middle, middle])
    cropped = camera.crop(0, 0, columns, rows).resize(small.shape[1], small.shape[0])
    expected = derived_vectors(small, cropped, window=5)
    stored = normals[:rows, :columns][middle, middle]
    both = valid_pixels(expected) & valid_pixels(stored)
    if both.sum() < 50:
        return None
    # Mean of expected_i stored_j: the mean cosine of any choice of axes is a sum of three of its entries.
    products = expected[both].T.astype(np.float64) @ stored[both] / both.sum()
    scores = [
        sum(sign * products[row, column] for row, (column, sign) in enumerate(zip(order, signs, strict=True)))
        for order, signs in _SIGNED_ORDERS
    ]
    best = int(np.argmax(scores))
    order, signs = _SIGNED_ORDERS[best]
    return float(scores[0]), float(scores[best]), float(scores[best] - scores[0]), order, signs


def _likely_signs(
    normals: Vectors, surface: Flags, directions: Floats, camera: Intrinsics, limits: Limits
) -> tuple[int, int, int]:
    """Signs of the axes under which the normals face the camera and belong to a surface, without depth."""
    parts = normals[surface] * directions[surface]  # (n, 3), of n . ray
    parts = parts[:: max(1, len(parts) // _FACING_PIXELS)]
    away = {signs: float((parts @ np.array(signs, np.float32) > _AWAY_COSINE).mean()) for signs in AXIS_SIGNS}
    now = (1, 1, 1)
    fine = [signs for signs in AXIS_SIGNS if away[signs] <= min(away.values()) + 0.01]
    step = max(1, max(surface.shape) // _CURVED_SIDE)
    maps = (normals[::step, ::step], surface[::step, ::step], directions[::step, ::step])
    focal = (camera.fx / step, camera.fy / step)
    open_share = {signs: _open_share(*maps, signs, focal) for signs in {*fine, now}}
    best = min(fine, key=lambda signs: open_share[signs])
    faces_wrong = away[now] > limits.away_share and away[best] < away[now] / 3
    opens_wrong = open_share[now] > _OPEN and open_share[best] < _CLOSED and away[best] <= limits.away_share
    return best if faces_wrong or opens_wrong else now


_OPEN, _CLOSED = 0.7, 0.35
"""Of a mirrored surface the slopes do not close, of a true one they do."""

_FACING_PIXELS = 50_000
"""At most about so many are asked whether they face the camera."""

_CURVED_SIDE = 256
"""Slopes are looked at with about this longer side."""


def _open_share(
    normals: Vectors,
    surface: Flags,
    directions: Floats,
    signs: tuple[int, int, int],
    focal: tuple[float, float],
) -> float:
    """How far slopes are from closing: sum of |dP/dy - dQ/dx| over that of |dP/dy| + |dQ/dx|, in [0, 1].

    Creases, outlines and grazing views are left out. On planes alone both sums are nearly zero: 0.
    """
    turned = normals * np.array(signs, np.float32)
    rays_to_depth_one = directions / -directions[..., 2:]
    facing = -np.einsum("hwi,hwi->hw", turned, rays_to_depth_one)
    usable = surface & (facing > 0.15)
    slope = np.where(usable[..., None], turned[..., :2] / np.where(usable, facing, 1)[..., None], 0)
    p, q = np.moveaxis(np.asarray(cv2.GaussianBlur(slope.astype(np.float32), (0, 0), 1.0)), -1, 0)
    along_y, along_x = -np.gradient(p, axis=0) * focal[1], np.gradient(q, axis=1) * focal[0]  # y is up
    turn = np.abs(np.gradient(turned, axis=0)).sum(-1) + np.abs(np.gradient(turned, axis=1)).sum(-1)
    inner = cv2.erode((usable & (turn < 0.5)).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    # On a plane both are n_x n_y / (n . ray)^2: what counts is the part that comes from curvature.
    curved = inner & (turn > 0.01)
    if curved.sum() < 100:
        return 0.0
    total = (np.abs(along_y) + np.abs(along_x))[curved].sum()
    return float(np.abs(along_y - along_x)[curved].sum() / max(float(total), 1e-9))


def _alignment(
    image: Image, normals: Vectors, surface: Flags, limits: Limits
) -> tuple[tuple[int, int] | None, list[tuple[str, str]]]:
    """Where the edges of the image fit those of the normals best, and what is wrong with that."""
    step = max(1.0, max(surface.shape) / _COMPARED_SIDE)
    size = (round(surface.shape[1] / step), round(surface.shape[0] / step))
    if min(size) < 4 * _REACH_PX:
        return None, []
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    seen = _edges(np.asarray(small, np.float32) / np.float32(255))
    shape = _edges(np.asarray(cv2.resize(normals, size, interpolation=cv2.INTER_AREA), np.float32))
    if min(float(seen.std()), float(shape.std())) < 1e-3:
        return None, []
    straight = _correlations(seen, shape)
    middle, best = float(straight[_REACH_PX, _REACH_PX]), float(straight.max())
    row, column = np.unravel_index(straight.argmax(), straight.shape)
    down, right = int(row) - _REACH_PX, int(column) - _REACH_PX
    # The template lies in the image at the best place: a positive offset means that the image came too far.
    shift = (round(right * step), round(down * step))
    details = []
    mirrors = {"left to right": shape[:, ::-1], "top to bottom": shape[::-1]}
    flips = {name: float(_correlations(seen, mirrored).max()) for name, mirrored in mirrors.items()}
    name = max(flips, key=flips.__getitem__)
    if flips[name] > max(best, 0.15) + limits.mirror_gain:
        line = f"edges correlate by {flips[name]:.2f} if mirrored {name}, as they are by {best:.2f}"
        details.append(("mirrored", line))
    elif max(abs(right), abs(down)) >= 2 and best > max(middle, 0.1) + limits.shift_gain:
        line = (
            f"the image lies {shift[0]:+d} px right and {shift[1]:+d} px down of the normals (correlation of "
            f"edges {best:.2f} there, {middle:.2f} unshifted)"
        )
        details.append(("misaligned", line))
    return shift, details


def _edges(values: Floats) -> Floats:
    """Strength of edges (H, W) of a map (H, W, 3), compressed so that the strongest do not decide alone."""
    smooth = cv2.GaussianBlur(values, (0, 0), 1.0)
    strength = sum(np.square(cv2.Sobel(smooth, cv2.CV_32F, *along)).sum(-1) for along in ((1, 0), (0, 1)))
    return np.asarray(np.sqrt(np.sqrt(strength)), np.float32)


def _correlations(seen: Floats, shape: Floats) -> Floats:
    """Normalised correlation of edges for every shift up to `_REACH_PX`, (2 R + 1, 2 R + 1)."""
    inner = np.ascontiguousarray(shape[_REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX])
    return np.asarray(cv2.matchTemplate(np.ascontiguousarray(seen), inner, cv2.TM_CCOEFF_NORMED), np.float32)


def majority_axes(reports: Iterable[ViewReport]) -> tuple[str, int, int]:
    """The frame that most views seem to be in, how many of them, and of how many that could be judged."""
    judged = [report for report in reports if report.away_share is not None]
    names = [report.better_axes for report in judged]
    name = max(set(names), key=names.count, default="")
    return name, names.count(name), len(judged)
