"""What ruins training is noticed, and what does not is left alone."""

from dataclasses import replace

import numpy as np
import pytest

from stablenormal.data.checking import (
    PROBLEMS,
    Finding,
    Limits,
    ViewReport,
    check_view,
    majority_axes,
    unreadable,
)
from stablenormal.data.readers.source import View
from stablenormal.errors import SettingError
from stablenormal.geometry.camera import Intrinsics

HEIGHT, WIDTH = 96, 128


def room() -> View:
    """Floor, ceiling, walls and two balls, lit and ray traced."""
    camera = Intrinsics.from_fov(75, WIDTH, HEIGHT)
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy, -np.ones_like(u)], -1)
    depth, normals = np.full((HEIGHT, WIDTH), np.inf), np.zeros((HEIGHT, WIDTH, 3))
    albedo = np.zeros((HEIGHT, WIDTH))
    planes = [((0, 1, 0), 1.1, 0.5), ((0, -1, 0), 1.2, 0.9), ((1, 0, 0), 1.6, 0.7), ((-1, 0, 0), 1.5, 0.6)]
    for normal, distance, tone in [*planes, ((0.1, 0, 0.995), 4.0, 0.8)]:
        steepness = rays @ np.array(normal)
        reached = np.where(steepness < -1e-6, -distance / np.minimum(steepness, -1e-6), np.inf)
        nearer = reached < depth
        depth, albedo = np.where(nearer, reached, depth), np.where(nearer, tone, albedo)
        normals[nearer] = np.array(normal) / np.linalg.norm(normal)
    for centre, radius, tone in (((-0.5, -0.5, -2.6), 0.6, 0.35), ((0.7, 0.3, -3.0), 0.5, 0.95)):
        a, b = (rays**2).sum(-1), rays @ np.array(centre)
        c = np.dot(centre, centre) - radius**2
        reached = np.where(b**2 > a * c, (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a, np.inf)
        nearer = reached < depth
        depth, albedo = np.where(nearer, reached, depth), np.where(nearer, tone, albedo)
        normals[nearer] = ((depth[..., None] * rays - centre) / radius)[nearer]
    light = np.array([0.4, 0.8, 0.45])
    shade = np.clip(albedo * (0.25 + 0.75 * np.clip(normals @ light, 0, 1)), 0, 1)
    return View(
        image=np.repeat((255 * shade[..., None]).astype(np.uint8), 3, -1),
        vectors=normals.astype(np.float32),
        valid=np.ones((HEIGHT, WIDTH), bool),
        depth=depth.astype(np.float32),
        intrinsics=camera,
    )


def ball() -> View:
    """The first ball alone on black, without depth: only its curvature can tell how it was mirrored."""
    view = room()
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    camera = view.intrinsics
    rays = np.stack([(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy, -np.ones_like(u)], -1)
    centre = np.array([0.2, 0.1, -2.5])
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - 1
    hit = b**2 > a * c
    depth = (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a
    normals = np.where(hit[..., None], depth[..., None] * rays - centre, 0).astype(np.float32)
    image = np.where(hit[..., None], 90 + 150 * np.clip(normals @ [0.4, 0.6, 0.7], 0, 1)[..., None], 0)
    return replace(
        view, image=np.repeat(image, 3, -1).astype(np.uint8), vectors=normals, valid=hit, depth=None
    )


def check(view: View, frame: str = "opengl", derived: bool = False, **limits) -> ViewReport:
    return check_view(view, "here", frame, derived, Limits(**limits))


def flipped(view: View, *signs: int) -> View:
    return replace(view, vectors=view.vectors * np.float32(signs))


@pytest.mark.parametrize("view", [room(), replace(room(), depth=None), ball()], ids=["depth", "room", "ball"])
def test_good_views_have_no_problem(view: View) -> None:
    report = check(view)
    assert report.findings == ()
    assert report.away_share < 0.01 and report.better_axes == ""
    assert report.shift_px == (0, 0)


SIGNS = [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, -1)]
NAMES = {(-1, 1, 1): "dsine", (1, -1, 1): "directx", (1, -1, -1): "opencv"}


@pytest.mark.parametrize("signs", SIGNS)
@pytest.mark.parametrize("with_depth", [True, False])
def test_another_frame_is_named(signs: tuple[int, int, int], with_depth: bool) -> None:
    view = room() if with_depth else replace(room(), depth=None)
    report = check(flipped(view, *signs))
    assert "frame" in report.problems
    assert report.better_axes == NAMES.get(signs, report.better_axes) != ""


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_curvature_and_the_view_tell_where_there_is_no_depth(signs: tuple[int, int, int]) -> None:
    report = check(flipped(ball(), *signs))
    assert "frame" in report.problems
    if signs in NAMES:
        assert report.better_axes == NAMES[signs]


def test_the_better_frame_is_named_as_the_files_must_be_read() -> None:
    """Vectors read as `opencv` that lie as `dsine` in the files."""
    report = check(flipped(room(), -1, -1, -1), frame="opencv")
    assert report.better_axes == "dsine"


def test_inward_normals() -> None:
    report = check(flipped(room(), -1, -1, -1))
    assert "inward" in report.problems and report.away_share > 0.95
    assert report.mean_z < 0


def test_channels_in_another_order() -> None:
    view = room()
    report = check(replace(view, vectors=view.vectors[..., ::-1].copy()))
    assert report.better_axes == "(z, y, x)" and "frame" in report.problems


def test_derived_normals_are_not_judged_by_their_own_depth() -> None:
    assert check(room(), derived=True).depth_cosine is None
    assert check(room()).depth_cosine > 0.97


def test_depth_of_another_place_is_a_misfit() -> None:
    view, rng = room(), np.random.default_rng(0)
    steps = np.kron(rng.uniform(1, 9, (12, 16)), np.ones((8, 8)))
    tilted = steps + np.kron(np.ones((12, 16)), np.add.outer(np.arange(8), np.arange(8)) * 0.1)
    report = check(replace(view, depth=tilted.astype(np.float32)))
    assert report.problems == ("misfit",)


def test_nan_length_and_holes() -> None:
    view = room()
    broken = view.vectors.copy()
    broken[5:8, 5:15] = np.nan
    report = check(replace(view, vectors=broken))
    assert report.problems == ("nan",) and report.nan_share == pytest.approx(30 / (HEIGHT * WIDTH))
    assert check(replace(view, vectors=view.vectors * 0.5)).problems == ("length",)
    empty = view.vectors.copy()
    empty[:, 4:] = 0
    assert "empty" in check(replace(view, vectors=empty)).problems


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -4), (-5, 6)])
def test_a_shift_between_image_and_normals_is_measured(right: int, down: int) -> None:
    view = room()
    report = check(replace(view, image=np.roll(view.image, (down, right), (0, 1))))
    assert report.problems == ("misaligned",)
    assert report.shift_px == (right, down)


def test_a_mirrored_picture() -> None:
    view = room()
    report = check(replace(view, image=view.image[:, ::-1].copy()))
    assert report.problems == ("mirrored",) and "left to right" in report.findings[0].detail
    report = check(replace(view, image=view.image[::-1].copy()))
    assert "top to bottom" in report.findings[0].detail


def test_blank_tiny_and_different_sizes() -> None:
    view = room()
    assert check(replace(view, image=np.full_like(view.image, 80))).problems == ("blank",)
    assert check(view, smallest_side=100).problems == ("tiny",)
    report = check(replace(view, image=view.image[::2, ::2].copy()))
    assert report.problems == ("tiny", "size")
    assert report.findings[1].detail == "image 64 x 48, normals 128 x 96 px"
    assert check(replace(view, depth=view.depth[::2])).problems == ("size",)
    assert (
        check(replace(view, valid=view.valid[::2])).findings[0].detail == "image 128 x 96, mask 128 x 48 px"
    )


@pytest.mark.parametrize("meta", [{"tilt_deg": 2.0}, {"tilt_deg": 0.0, "skew": 0.05}])
def test_tilted_cameras(meta: dict[str, float]) -> None:
    assert check(replace(room(), meta=meta)).problems == ("tilt-shift",)
    assert check(replace(room(), meta={"tilt_deg": 0.1})).problems == ()


def test_the_majority_decides_for_the_set() -> None:
    wrong, right = check(flipped(room(), 1, -1, -1)), check(room())
    assert majority_axes([wrong, wrong, right, unreadable("x", "gone")]) == ("opencv", 2, 3)
    assert majority_axes([]) == ("", 0, 0)


def test_depth_that_knows_nothing_hides_no_wrong_frame() -> None:
    wrong = flipped(room(), 1, -1, -1)
    found = check(replace(wrong, depth=np.zeros_like(wrong.depth)))
    alone = check(replace(wrong, depth=None))
    assert "frame" in found.problems
    assert (found.better_axes, found.depth_cosine) == (alone.better_axes, None)


def test_every_finding_is_a_known_problem() -> None:
    with pytest.raises(ValueError, match="no problem is named 'fram'"):
        Finding("fram", "")
    assert set(unreadable("x", "two\nlines").problems) <= set(PROBLEMS)
    assert unreadable("x", "two\nlines").findings[0].detail == "two lines"
    with pytest.raises(SettingError):
        Limits(smallest_side=-1)
