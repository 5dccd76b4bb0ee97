import cv2
import numpy as np
import pytest

from stablenormal.app.previews import (
    INVALID_COLOUR,
    PREVIEW_SIDE,
    frame_legend,
    normals_preview,
    photo_preview,
    uncertainty_preview,
)


def test_photo_keeps_values_and_is_shrunk_to_the_limit() -> None:
    small = photo_preview(np.full((4, 6, 3), 0.5, dtype=np.float32))
    assert small.shape == (4, 6, 3)
    assert (small == 128).all()
    assert photo_preview(np.zeros((10, PREVIEW_SIDE * 2, 3), dtype=np.float32)).shape == (5, PREVIEW_SIDE, 3)


@pytest.mark.parametrize(
    ("frame", "colour"), [("opengl", (128, 128, 255)), ("opencv", (128, 128, 0)), ("dsine", (128, 128, 255))]
)
def test_normals_toward_the_viewer_have_the_colour_of_the_frame(
    frame: str, colour: tuple[int, int, int]
) -> None:
    normals = np.zeros((2, 2, 3), dtype=np.float32)
    normals[..., 2] = 1
    assert np.abs(normals_preview(normals, frame).astype(int) - colour).max() <= 1


def test_frames_differ_in_y() -> None:
    normals = np.zeros((1, 1, 3), dtype=np.float32)
    normals[..., 1] = 1
    assert normals_preview(normals, "opengl")[0, 0, 1] == 255
    assert normals_preview(normals, "directx")[0, 0, 1] == 0


def test_invalid_normals_are_grey() -> None:
    assert (normals_preview(np.zeros((2, 2, 3), dtype=np.float32), "opengl") == INVALID_COLOUR).all()


def test_uncertainty_gets_brighter_and_invalid_pixels_are_grey() -> None:
    spread = np.array([[0, 5, 15, 30, 90]], dtype=np.float32)
    valid = np.array([[True, True, True, True, False]])
    colours = uncertainty_preview(spread, valid).astype(int)
    assert (np.diff(colours[0, :4].sum(axis=-1)) > 0).all()
    assert (colours[0, 4] == INVALID_COLOUR).all()


def test_the_legend_shows_a_sphere_in_the_frame() -> None:
    legend = frame_legend("opengl", side=64)
    sphere = cv2.imdecode(np.frombuffer(legend.sphere_png, np.uint8), cv2.IMREAD_UNCHANGED)  # BGRA
    assert sphere.shape == (64, 64, 4)
    assert sphere[32, 58, 2] > 220  # right: x up, red
    assert sphere[5, 32, 1] > 220  # top: y up, green
    assert sphere[32, 32, 0] == 255  # middle: z toward the viewer, blue
    assert sphere[0, 0, 3] == 0
    assert "toward the viewer" in legend.axes
