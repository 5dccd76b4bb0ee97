import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from stablenormal.errors import FrameError, ImageShapeError, SettingError
from stablenormal.geometry.camera import (
    Intrinsics,
    check_rotation,
    focal_px_from_exif,
    pixel_rays,
    rays,
    roll_rotation,
)

CAMERA = Intrinsics(70.0, 60.0, 30.0, 25.0, 64, 48)

cameras = st.builds(
    Intrinsics,
    fx=st.floats(10, 1000),
    fy=st.floats(10, 1000),
    cx=st.floats(-50, 150),
    cy=st.floats(-50, 150),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
)


def close(a: Intrinsics, b: Intrinsics) -> bool:
    return (a.width, a.height) == (b.width, b.height) and np.allclose(a.matrix(), b.matrix(), atol=1e-9)


class TestIntrinsics:
    @given(cameras)
    def test_resizing_returns(self, camera: Intrinsics) -> None:
        assert close(camera.resize(50, 60).resize(camera.width, camera.height), camera)

    @given(cameras, st.sampled_from([0.0, 0.5]))
    def test_matrix_round_trip(self, camera: Intrinsics, pixel_centre: float) -> None:
        matrix = camera.matrix(pixel_centre)
        assert close(Intrinsics.from_matrix(matrix, camera.width, camera.height, pixel_centre), camera)

    def test_pixel_centre_shifts_the_principal_point(self) -> None:
        centred = Intrinsics.centred(100.0, 640, 480)
        assert centred.matrix()[0, 2] == 320
        assert centred.matrix(pixel_centre=0.0)[0, 2] == 319.5

    def test_field_of_view(self) -> None:
        assert Intrinsics.from_fov(90, 640, 480).fx == pytest.approx(320)
        horizontal, vertical = Intrinsics.from_fov(90, 640, 480).fov_deg
        assert horizontal == pytest.approx(90)
        assert vertical == pytest.approx(2 * math.degrees(math.atan(240 / 320)))

    def test_field_of_view_of_a_shifted_camera_is_edge_to_edge(self) -> None:
        shifted = Intrinsics(100.0, 100.0, 0.0, 50.0, 100, 100)
        assert shifted.fov_deg[0] == pytest.approx(45)

    @given(cameras, st.floats(1, 179))
    def test_fov_round_trip(self, camera: Intrinsics, fov_deg: float) -> None:
        assert Intrinsics.from_fov(fov_deg, camera.width, camera.height).fov_deg[0] == pytest.approx(fov_deg)

    def test_a_crop_looks_the_same_way(self) -> None:
        cropped = rays(CAMERA.crop(20, 10, 30, 25))
        assert torch.allclose(cropped, rays(CAMERA)[..., 10:35, 20:50])

    def test_a_resized_picture_looks_the_same_way(self) -> None:
        doubled = rays(CAMERA.resize(128, 96))
        assert torch.allclose(F.avg_pool2d(doubled, 2), rays(CAMERA), atol=1e-6)

    def test_a_crop_outside_is_refused(self) -> None:
        with pytest.raises(ImageShapeError, match="does not fit into 64 x 48 px"):
            CAMERA.crop(60, 0, 5, 5)

    @pytest.mark.parametrize(
        "numbers", [(0, 1, 1, 1, 8, 8), (1, -1, 1, 1, 8, 8), (1, 1, math.nan, 1, 8, 8), (1, 1, 1, 1, 0, 8)]
    )
    def test_impossible_numbers_are_refused(self, numbers: tuple[Any, ...]) -> None:
        with pytest.raises(SettingError):
            Intrinsics(*numbers)

    @pytest.mark.parametrize("fov_deg", [0, 180, -5])
    def test_impossible_fields_of_view_are_refused(self, fov_deg: float) -> None:
        with pytest.raises(SettingError, match="field of view"):
            Intrinsics.from_fov(fov_deg, 8, 8)

    @pytest.mark.parametrize(
        "matrix", [np.eye(4), [[1, 0.5, 1], [0, 1, 1], [0, 0, 1]], np.eye(3).tolist()[::-1]]
    )
    def test_other_matrices_are_refused(self, matrix: Any) -> None:
        with pytest.raises(SettingError):
            Intrinsics.from_matrix(matrix, 8, 8)


class TestRays:
    def test_a_point_projects_back_to_its_pixel(self) -> None:
        x, y, z = (rays(CAMERA, dtype=torch.float64)[0] * 3.7).numpy()
        assert np.allclose(CAMERA.fx * x / -z + CAMERA.cx, np.arange(64) + 0.5)
        assert np.allclose((CAMERA.fy * -y / -z + CAMERA.cy).T, np.arange(48) + 0.5)

    def test_right_is_x_and_up_is_y(self) -> None:
        seen = rays(CAMERA)
        assert seen.shape == (1, 3, 48, 64)
        assert (seen[0, 0].diff(dim=1) > 0).all()
        assert (seen[0, 1].diff(dim=0) < 0).all()
        assert (seen[0, 2] == -1).all()

    def test_some_pixels_are_those_of_the_picture(self) -> None:
        whole = pixel_rays(CAMERA)
        assert whole.shape == (48, 64, 3)
        some = pixel_rays(CAMERA, [3, 40], [5, 60])
        np.testing.assert_array_equal(some, whole[[3, 40], [5, 60]])
        np.testing.assert_array_equal(rays(CAMERA, dtype=torch.float64)[0].permute(1, 2, 0), whole)

    def test_number_type(self) -> None:
        assert rays(CAMERA, device=torch.device("cpu"), dtype=torch.float64).dtype == torch.float64


class TestRotations:
    def test_a_roll_turns_right_to_up(self) -> None:
        assert torch.allclose(
            roll_rotation(90) @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 1.0, 0]).double()
        )
        check_rotation(roll_rotation(33))

    @pytest.mark.parametrize("matrix", [torch.zeros(3, 3), torch.eye(2), -torch.eye(3)])
    def test_what_is_no_rotation_is_refused(self, matrix: torch.Tensor) -> None:
        with pytest.raises(FrameError):
            check_rotation(matrix)


class TestFocalLengthFromExif:
    def test_35_mm_equivalent_of_a_full_frame_is_the_focal_length(self) -> None:
        # A 50 mm lens on 36 mm of film, 6000 px wide.
        focal = focal_px_from_exif({"FocalLengthIn35mmFilm": 50}, 6000, 4000)
        assert focal == pytest.approx(50 / 36 * 6000)

    def test_35_mm_equivalent_does_not_depend_on_orientation(self) -> None:
        tags = {"FocalLengthIn35mmFilm": 26}
        assert focal_px_from_exif(tags, 4032, 3024) == focal_px_from_exif(tags, 3024, 4032)

    @pytest.mark.parametrize(
        ("unit", "per_unit"), [(2, 25.4 * 150), (3, 1500), (4, 150), (5, 0.15), (None, 3810)]
    )
    def test_focal_plane_resolution(self, unit: int | None, per_unit: float) -> None:
        tags = {
            "FocalLength": Fraction(18),
            "FocalPlaneXResolution": per_unit,
            "FocalPlaneResolutionUnit": unit,
        }
        assert focal_px_from_exif(tags, 6000, 4000) == pytest.approx(18 * 150)

    def test_a_picture_shrunk_since_has_a_shorter_focal_length(self) -> None:
        tags = {
            "FocalLength": 18,
            "FocalPlaneXResolution": 150,
            "FocalPlaneResolutionUnit": 4,
            "ExifImageWidth": 6000,
            "ExifImageHeight": 4000,
        }
        assert focal_px_from_exif(tags, 1500, 1000) == pytest.approx(18 * 150 / 4)

    def test_the_sensor_is_believed_before_the_equivalent(self) -> None:
        tags = {"FocalLength": 18, "FocalPlaneXResolution": 150, "FocalPlaneResolutionUnit": 4}
        assert focal_px_from_exif({**tags, "FocalLengthIn35mmFilm": 99}, 60, 40) == pytest.approx(2700)

    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"FocalLength": 18},
            {"FocalLengthIn35mmFilm": 0},
            {"FocalLengthIn35mmFilm": "unknown"},
            {"FocalLengthIn35mmFilm": math.nan},
            {"FocalLength": 18, "FocalPlaneXResolution": 150, "FocalPlaneResolutionUnit": 1},
        ],
    )
    def test_unknown_is_none(self, tags: dict[str, Any]) -> None:
        assert focal_px_from_exif(tags, 6000, 4000) is None
