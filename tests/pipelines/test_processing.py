import pytest
import torch

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.pipelines.processing import (
    check_image,
    prepare,
    prepare_start,
    resize_to_input,
    restore,
    unpad,
    working_size,
)


class TestCheckImage:
    def test_accepts_images(self):
        check_image(torch.rand(3, 1, 1), "x")
        check_image(torch.rand(3, 5, 4).double(), "x")

    @pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 3, 4, 4), (3, 0, 4)])
    def test_refuses_shapes(self, shape):
        with pytest.raises(ImageShapeError, match=r"^x: expected a tensor \(3, H, W\)"):
            check_image(torch.zeros(shape), "x")

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (torch.zeros(3, 2, 2, dtype=torch.uint8), "255"),
            (torch.full((3, 2, 2), float("nan")), "NaN"),
            (torch.full((3, 2, 2), float("inf")), "infinite"),
            (torch.full((3, 2, 2), 1.5), "rescale"),
            (torch.full((3, 2, 2), -0.5), "rescale"),
        ],
    )
    def test_refuses_values(self, image, message):
        with pytest.raises(SettingError, match=f"^x: .*{message}"):
            check_image(image, "x")


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((48, 64), 64, (48, 64)),
        ((480, 640), 256, (192, 256)),
        ((10, 20), 64, (32, 64)),
        ((1, 20000), 64, (1, 64)),
        ((7, 9), 0, (7, 9)),
    ],
)
def test_working_size(size, resolution, expected):
    assert working_size(size, resolution) == expected


class TestPrepare:
    def test_pads_right_and_below_by_replication(self):
        image = torch.rand(3, 5, 7)
        prepared = prepare(image, 0, 8)
        assert prepared.image.shape == (1, 3, 8, 8)
        assert (prepared.inner, prepared.size) == ((5, 7), (5, 7))
        torch.testing.assert_close(prepared.image[0, :, :5, :7], image * 2 - 1)
        assert torch.equal(prepared.image[..., 4, :], prepared.image[..., 7, :])
        assert torch.equal(prepared.image[..., 6], prepared.image[..., 7])
        assert torch.equal(unpad(prepared.image, prepared), prepared.image[..., :5, :7])

    def test_resizes_with_antialias(self):
        stripes = (torch.arange(64) % 2).float().expand(3, 64, 64)
        prepared = prepare(stripes, 16, 8)
        assert prepared.image.shape == (1, 3, 16, 16)
        assert prepared.image[..., 2:-2].abs().max() < 0.1

    def test_leaves_the_image_alone(self):
        image = torch.rand(3, 8, 8)
        before = image.clone()
        prepare(image, 0, 8)
        prepare(image, 16, 8)
        assert torch.equal(image, before)


class TestRestore:
    def test_unit_length_at_the_inputs_size(self):
        prepared = prepare(torch.rand(3, 20, 30), 16, 8)
        vectors = torch.randn(1, 3, *prepared.inner)
        normals = restore(vectors, prepared, "opengl")
        assert normals.shape == (3, 20, 30)
        torch.testing.assert_close(normals.norm(dim=0), torch.ones(20, 30))

    def test_converts_the_native_frame(self):
        prepared = prepare(torch.rand(3, 8, 8), 0, 8)
        left = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
        assert torch.equal(restore(left, prepared, "dsine"), -left[0])
        assert torch.equal(restore(left, prepared, "opengl"), left[0])

    def test_invalid_pixels_are_exactly_zero(self):
        prepared = prepare(torch.rand(3, 8, 8), 0, 8)
        valid = torch.rand(8, 8) > 0.5
        normals = restore(torch.randn(1, 3, 8, 8), prepared, "opengl", valid)
        assert torch.equal(normals.norm(dim=0) > 0, valid)

    def test_resizing_to_the_same_size_changes_nothing(self):
        prepared = prepare(torch.rand(3, 8, 8), 0, 8)
        values = torch.randn(1, 2, 8, 8)
        assert resize_to_input(values, prepared) is values


def test_start_has_the_prepared_images_form_and_native_frame():
    prepared = prepare(torch.rand(3, 20, 30), 16, 8)
    left = torch.tensor([-1.0, 0, 0]).view(3, 1, 1).expand(3, 40, 60)
    start = prepare_start(left, prepared, "dsine")
    assert start.shape == prepared.image.shape == (1, 3, 16, 16)
    torch.testing.assert_close(start[:, 0], torch.ones(1, 16, 16))
