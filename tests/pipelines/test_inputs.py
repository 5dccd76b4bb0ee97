"""Images as people have them."""

import numpy as np
import pytest
import torch
from PIL import Image

from stablenormal.errors import ImageReadError, ImageShapeError, SettingError
from stablenormal.io.image import read_image
from stablenormal.pipelines.inputs import as_inputs


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)


@pytest.fixture
def expected(codes):
    return torch.from_numpy(codes.astype(np.float32).transpose(2, 0, 1) / 255)


def only(image):
    (one,) = as_inputs(image)
    return one


class TestOneImage:
    def test_every_kind_gives_the_same_tensor(self, codes, expected, tmp_path):
        path = tmp_path / "photo.png"
        Image.fromarray(codes).save(path)
        for image in (
            path,
            str(path),
            Image.fromarray(codes),
            codes,
            codes / 255.0,
            read_image(path),
            expected,
        ):
            found = only(image)
            torch.testing.assert_close(found.image, expected)
            assert found.valid is None

    def test_transparent_pixels_are_invalid(self, codes, tmp_path):
        opacity = np.full((9, 12, 1), 255, np.uint8)
        opacity[:4] = 0
        picture = Image.fromarray(np.concatenate([codes, opacity], axis=-1))
        path = tmp_path / "cut-out.png"
        picture.save(path)
        for image in (picture, path):
            found = only(image)
            assert torch.equal(found.valid, torch.from_numpy(opacity[..., 0] > 0))
            assert (found.image[:, :4] == 1).all()  # laid over white

    def test_grey_pil_images_are_read_as_grey(self):
        found = only(Image.fromarray(np.full((8, 8), 51, np.uint8)))
        torch.testing.assert_close(found.image, torch.full((3, 8, 8), 0.2))


class TestSeveral:
    def test_a_list_may_mix_kinds(self, codes, expected):
        found = as_inputs([codes, Image.fromarray(codes), expected])
        assert len(found) == 3
        for one in found:
            torch.testing.assert_close(one.image, expected)

    def test_batches_are_taken_apart(self, codes, expected):
        assert len(as_inputs(expected.expand(2, -1, -1, -1))) == 2
        batch = as_inputs(np.stack([codes, codes, codes]))
        assert len(batch) == 3
        torch.testing.assert_close(batch[2].image, expected)


class TestBadInput:
    @pytest.mark.parametrize(
        ("image", "error", "told"),
        [
            (np.zeros((8, 8)), ImageShapeError, "grey array.*repeat it"),
            (np.zeros((8, 8, 4)), ImageShapeError, r"four channels.*array\[\.\.\., :3\]"),
            (np.zeros((3, 8, 9)), ImageShapeError, r"channels come last: array\.transpose\(1, 2, 0\)"),
            (np.zeros((8, 8, 3), np.int32), SettingError, "array of int32; give uint8"),
            ([], SettingError, "the list is empty"),
            (5, SettingError, "cannot take int"),
            ([{}], SettingError, "image 0: cannot take dict"),
            (Image.new("I;16", (8, 8)), SettingError, "mode I;16"),
        ],
    )
    def test_what_cannot_be_taken_is_said(self, image, error, told):
        with pytest.raises(error, match=told):
            as_inputs(image)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ImageReadError, match=r"nothing\.jpg"):
            as_inputs(tmp_path / "nothing.jpg")
