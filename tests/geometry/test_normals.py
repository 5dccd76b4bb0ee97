import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stablenormal.errors import FrameError, ImageShapeError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.frames import FRAMES
from stablenormal.geometry.normals import (
    angular_error_deg,
    convert_frame,
    decode_8bit,
    dequantise,
    encode_8bit,
    encode_16bit,
    flip_horizontal,
    resize_normals,
    unit_length,
    valid_mask,
    valid_pixels,
)

Sphere = Callable[..., tuple[Tensor, Tensor]]
CAMERA = Intrinsics(70.0, 70.0, 32.0, 24.0, 64, 48)

components = st.floats(-1, 1, width=32)
directions = st.tuples(components, components, components).filter(lambda n: math.hypot(*n) > 0.01)


def one(*vector: float) -> Tensor:
    """A map of one pixel."""
    return torch.tensor(vector, dtype=torch.float32)[None, :, None, None]


def some_normals(height: int = 5, width: int = 7, batch: int = 2, seed: int = 0) -> Tensor:
    """Random unit vectors with an invalid corner."""
    normals = unit_length(torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)))
    normals[..., :2, :2] = 0
    return normals


def rotation(seed: int = 0) -> Tensor:
    q, _ = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )
    return q * torch.linalg.det(q)


class TestUnitLength:
    @given(directions, st.floats(0.01, 1000))
    def test_any_vector_gets_length_one_and_keeps_its_direction(
        self, vector: tuple[float, float, float], scale: float
    ) -> None:
        unit = unit_length(one(*vector) * scale)
        assert torch.linalg.vector_norm(unit).item() == pytest.approx(1, abs=1e-6)
        assert angular_error_deg(unit, one(*vector)).item() < 0.01

    def test_zero_stays_exactly_zero_with_a_finite_gradient(self) -> None:
        normals = torch.zeros(1, 3, 2, 2, requires_grad=True)
        unit = unit_length(normals)
        unit.sum().backward()
        assert (unit == 0).all()
        assert normals.grad is not None and (normals.grad == 0).all()

    def test_eps_is_the_length_that_counts_as_none(self) -> None:
        assert (unit_length(one(0.1, 0, 0), eps=0.2) == 0).all()
        assert unit_length(one(0.1, 0, 0), eps=0.05)[0, 0, 0, 0] == 1

    def test_nan_is_not_hidden(self) -> None:
        assert unit_length(one(math.nan, 0, 1)).isnan().all()

    def test_the_argument_is_not_modified(self) -> None:
        normals = torch.full((1, 3, 2, 2), 2.0)
        unit_length(normals)
        assert (normals == 2).all()

    @pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4, 4), (1, 4, 4, 3)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ImageShapeError, match="B, 3, H, W"):
            unit_length(torch.ones(shape))


class TestCoding:
    @given(directions)
    def test_8_bits_keep_the_direction_to_0_4_degrees(self, vector: tuple[float, float, float]) -> None:
        decoded = decode_8bit(encode_8bit(one(*vector)))
        assert angular_error_deg(decoded, one(*vector)).item() < 0.4

    @given(directions)
    def test_16_bits_keep_the_direction_to_0_0016_degrees(self, vector: tuple[float, float, float]) -> None:
        decoded = unit_length(dequantise(encode_16bit(one(*vector)), 65535))
        assert angular_error_deg(decoded, one(*vector)).item() < 0.0016

    @given(directions)
    def test_a_normal_is_never_coded_as_invalid(self, vector: tuple[float, float, float]) -> None:
        assert encode_8bit(one(*vector)).any()
        assert encode_16bit(one(*vector)).to(torch.int32).any()

    def test_the_vector_nearest_to_black_is_far_from_it(self) -> None:
        assert (encode_8bit(one(-1, -1, -1)) == 54).all()

    def test_codes_are_rounded_not_truncated(self) -> None:
        # (0.6 + 1) / 2 * 255 = 204 exactly; (0.8 + 1) / 2 * 255 = 229.5 -> 230 (even); z = 0 is 127.5 -> 128.
        assert encode_8bit(one(0.6, 0.8, 0)).flatten().tolist() == [204, 230, 128]
        assert encode_8bit(one(0, 0, 1)).flatten().tolist() == [128, 128, 255]
        assert encode_16bit(one(0, 0, -1)).to(torch.int32).flatten().tolist() == [32768, 32768, 0]

    def test_invalid_pixels_are_black_both_ways(self) -> None:
        assert (encode_8bit(one(0, 0, 0)) == 0).all()
        assert (encode_16bit(one(0, 0, 0)).to(torch.int32) == 0).all()
        assert (decode_8bit(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)) == 0).all()
        assert (dequantise(torch.zeros(1, 3, 1, 1, dtype=torch.uint16), 65535) == 0).all()

    def test_number_types(self) -> None:
        assert encode_8bit(some_normals()).dtype == torch.uint8
        assert encode_16bit(some_normals()).dtype == torch.uint16
        assert decode_8bit(encode_8bit(some_normals())).dtype == torch.float32

    def test_dequantise_keeps_the_stored_length(self) -> None:
        codes = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
        assert dequantise(codes, 255).flatten().tolist() == [1, 1, 1]
        assert dequantise(codes, 510).flatten().tolist() == [0, 0, 0]


class TestFrames:
    # A surface that faces left, up and the viewer, in each frame's own axes.
    @pytest.mark.parametrize(
        ("frame", "expected"),
        [
            ("opengl", (-0.6, 0.48, 0.64)),
            ("opencv", (-0.6, -0.48, -0.64)),
            ("directx", (-0.6, -0.48, 0.64)),
            ("dsine", (0.6, 0.48, 0.64)),
        ],
    )
    def test_axes(self, frame: str, expected: tuple[float, float, float]) -> None:
        assert convert_frame(one(-0.6, 0.48, 0.64), "opengl", frame).flatten().tolist() == pytest.approx(
            expected
        )

    def test_world_turns_with_the_camera(self) -> None:
        # The camera looks along world x, world z is up: its x, y, z axes are -y, z, -x of the world.
        camera_to_world = torch.tensor([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])
        assert convert_frame(one(0, 0, 1), "opengl", "world", camera_to_world).flatten().tolist() == [
            -1,
            0,
            0,
        ]
        assert convert_frame(one(0, 1, 0), "opengl", "world", camera_to_world).flatten().tolist() == [0, 0, 1]

    @pytest.mark.parametrize("source", FRAMES)
    @pytest.mark.parametrize("target", FRAMES)
    def test_there_and_back(self, source: str, target: str) -> None:
        normals, turn = some_normals(), rotation()
        there = convert_frame(normals, source, target, turn)
        back = convert_frame(there, target, source, turn)
        assert torch.allclose(back, normals, atol=1e-6)
        assert torch.allclose(there.norm(dim=1), normals.norm(dim=1), atol=1e-6)
        assert (source == target) == torch.equal(there, normals)

    def test_each_picture_of_a_batch_has_its_rotation(self) -> None:
        normals, turns = some_normals(), torch.stack([rotation(1), rotation(2)])
        both = convert_frame(normals, "opengl", "world", turns)
        for place in (0, 1):
            alone = convert_frame(normals[place : place + 1], "opengl", "world", turns[place])
            assert torch.allclose(both[place], alone[0], atol=1e-6)

    def test_unknown_frames_are_refused_with_the_choices(self) -> None:
        for source, target in (("blender", "opengl"), ("opengl", "blender")):
            with pytest.raises(
                FrameError, match="'blender'; choose one of opengl, opencv, directx, dsine, world"
            ):
                convert_frame(some_normals(), source, target)

    def test_world_needs_a_rotation(self) -> None:
        with pytest.raises(FrameError, match="needs camera_to_world"):
            convert_frame(some_normals(), "world", "opengl")

    @pytest.mark.parametrize(
        "matrix", [torch.eye(4), torch.eye(3) * 2, torch.diag(torch.tensor([1.0, 1, -1]))]
    )
    def test_what_is_no_rotation_is_refused(self, matrix: Tensor) -> None:
        with pytest.raises(FrameError, match="rotation"):
            convert_frame(some_normals(), "opengl", "world", matrix)


class TestMirror:
    def test_agrees_with_a_mirrored_ball(self, sphere: Sphere) -> None:
        aside = Intrinsics(70.0, 70.0, 30.0, 24.0, 64, 48)
        _, normals = sphere(aside, centre=(0.3, 0.2, -3.0))
        _, mirrored = sphere(Intrinsics(70.0, 70.0, 34.0, 24.0, 64, 48), centre=(-0.3, 0.2, -3.0))
        assert torch.allclose(flip_horizontal(normals), mirrored, atol=1e-9)

    def test_twice_is_the_identity(self) -> None:
        normals = some_normals()
        assert torch.equal(flip_horizontal(flip_horizontal(normals)), normals)
        assert not torch.equal(flip_horizontal(normals), normals)


class TestResize:
    @pytest.mark.parametrize("size", [(3, 4), (10, 14), (17, 5), (1, 1), (5, 7)])
    def test_length_is_one_or_zero(self, size: tuple[int, int]) -> None:
        resized = resize_normals(some_normals(), size)
        lengths = resized.norm(dim=1)
        assert resized.shape == (2, 3, *size)
        assert (((lengths - 1).abs() < 1e-6) | (lengths == 0)).all()

    @pytest.mark.parametrize("filling", [(0.0, 0.0, -1.0), (5.0, -5.0, 3.0), (math.nan, math.nan, math.nan)])
    @pytest.mark.parametrize("size", [(4, 4), (16, 16), (5, 13)])
    def test_invalid_pixels_never_bleed(
        self, filling: tuple[float, float, float], size: tuple[int, int]
    ) -> None:
        normals = torch.empty(1, 3, 8, 8)
        normals[:] = one(0.6, 0, 0.8)
        valid = torch.ones(1, 8, 8, dtype=torch.bool)
        valid[:, :, 4:] = False
        normals[..., 4:] = torch.tensor(filling)[None, :, None, None]
        resized = resize_normals(normals, size, valid)
        kept = valid_mask(resized)
        assert angular_error_deg(resized, one(0.6, 0, 0.8).expand_as(resized))[kept].max() < 1e-3
        assert kept[:, :, : size[1] // 2].all() and not kept[:, :, size[1] // 2 + 1 :].any()

    def test_without_a_mask_zero_vectors_are_invalid(self) -> None:
        resized = resize_normals(some_normals(8, 8), (16, 16))
        assert not valid_mask(resized)[:, :3, :3].any()
        assert valid_mask(resized)[:, 5:, 5:].all()

    def test_the_same_size_changes_nothing(self) -> None:
        assert torch.allclose(resize_normals(some_normals(), (5, 7)), some_normals(), atol=1e-6)

    def test_shrinking_averages_every_pixel(self) -> None:
        normals = one(0, 0, 1).repeat(1, 1, 32, 32)
        normals[..., 1::2] = one(0.6, 0, 0.8)
        small = resize_normals(normals, (4, 4))
        middle = unit_length(one(0.6, 0, 1.8)).expand_as(small)
        assert angular_error_deg(small, middle).max() < 1.0

    def test_a_resized_ball_is_the_ball_of_the_resized_camera(self, sphere: Sphere) -> None:
        _, normals = sphere(CAMERA)
        _, expected = sphere(CAMERA.resize(32, 24))
        resized = resize_normals(normals, (24, 32))
        both = valid_mask(resized) & valid_mask(expected)
        assert both.sum() > 0.9 * valid_mask(expected).sum()
        assert angular_error_deg(resized, expected)[both].mean() < 1.0

    def test_wrong_masks_and_sizes_are_refused(self) -> None:
        with pytest.raises(ImageShapeError, match="one flag per pixel"):
            resize_normals(some_normals(), (4, 4), torch.ones(2, 7, 5, dtype=torch.bool))
        with pytest.raises(ImageShapeError, match="at least 1"):
            resize_normals(some_normals(), (0, 4))


class TestAngularError:
    @pytest.mark.parametrize("angle_deg", [0, 1e-3, 0.1, 45, 90, 135, 179.9, 179.999, 180])
    def test_known_angles(self, angle_deg: float) -> None:
        angle = math.radians(angle_deg)
        error = angular_error_deg(one(1, 0, 0), one(math.cos(angle), math.sin(angle), 0))
        assert error.item() == pytest.approx(angle_deg, abs=2e-5)

    def test_lengths_do_not_matter(self) -> None:
        assert angular_error_deg(one(3, 0, 0), one(0.1, 0.1, 0)).item() == pytest.approx(45)

    def test_gradient_is_right(self) -> None:
        generator = torch.Generator().manual_seed(1)
        a, b = (torch.randn(1, 3, 2, 3, dtype=torch.float64, generator=generator) for _ in range(2))
        assert torch.autograd.gradcheck(angular_error_deg, (a.requires_grad_(), b.requires_grad_()))

    @pytest.mark.parametrize("target", [(0.6, 0.0, 0.8), (-0.6, 0.0, -0.8), (0.0, 0.0, 0.0)])
    def test_gradient_is_finite_at_0_and_180_degrees_and_at_zero(
        self, target: tuple[float, float, float]
    ) -> None:
        prediction = one(0.6, 0, 0.8).requires_grad_()
        angular_error_deg(prediction, one(*target)).sum().backward()
        assert prediction.grad is not None and prediction.grad.isfinite().all()
        assert prediction.grad.norm() < 60  # 180 / pi degrees per unit of length

    @pytest.mark.parametrize("offset", [1e-20, 1e-10, 1e-6])
    def test_gradient_is_finite_near_0_degrees(self, offset: float) -> None:
        prediction = one(offset, 0, 1).requires_grad_()
        angular_error_deg(prediction, one(0, 0, 1)).sum().backward()
        assert prediction.grad is not None and prediction.grad.isfinite().all()
        assert prediction.grad.norm() < 60

    def test_an_empty_prediction_is_not_perfect(self) -> None:
        assert angular_error_deg(one(0, 0, 0), one(0, 0, 1)).item() == 90

    def test_half_precision_is_computed_in_single(self) -> None:
        error = angular_error_deg(one(0, 0, 1).bfloat16(), one(0, 0.01, 1))
        assert error.dtype == torch.float32
        assert error.item() == pytest.approx(math.degrees(math.atan(0.01)), rel=1e-4)

    def test_shapes_that_differ_are_refused(self) -> None:
        with pytest.raises(ImageShapeError, match="of one shape"):
            angular_error_deg(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 5))
        with pytest.raises(ImageShapeError, match="B, 3, H, W"):
            angular_error_deg(torch.ones(1, 4, 4, 4), torch.ones(1, 4, 4, 4))


def test_valid_is_what_is_not_zero() -> None:
    normals = some_normals()
    assert not valid_mask(normals)[:, :2, :2].any()
    assert valid_mask(normals)[:, 2:].all() and valid_mask(normals)[:, :, 2:].all()
    assert torch.equal(valid_mask(normals[0]), valid_mask(normals)[0])
    pixels = normals[0].permute(1, 2, 0).numpy()
    assert (valid_pixels(pixels) == valid_mask(normals)[0].numpy()).all()
    assert (valid_pixels(pixels[2]) == [True] * 7).all()
    for shape in [(7, 5), (1, 4, 5, 7)]:
        with pytest.raises(ImageShapeError):
            valid_mask(torch.zeros(shape))
