"""What can be done with an output: arrays, pictures, files."""

import numpy as np
import pytest
import torch
from PIL import Image

from stablenormal.errors import FrameError, SettingError
from stablenormal.geometry.normals import angular_error_deg, decode_8bit, unit_length
from stablenormal.io.normal_map import read_normal_map
from stablenormal.pipelines.output import NormalsOutput


@pytest.fixture
def vectors():
    normals = unit_length(torch.randn(1, 3, 8, 10, generator=torch.Generator().manual_seed(0)))[0]
    normals[:, :2] = 0
    return normals


def of(*maps):
    return NormalsOutput(list(maps), None, 0, "turbo", 0, 0, 64, 1)


class TestConversion:
    def test_an_array_has_the_channels_last(self, vectors):
        assert np.array_equal(of(vectors).numpy(), vectors.permute(1, 2, 0).numpy())

    def test_another_frame_turns_the_vectors(self, vectors):
        assert np.array_equal(of(vectors).numpy(frame="opencv"), of(vectors).numpy() * [1, -1, -1])

    def test_a_picture_decodes_to_the_normals(self, vectors):
        codes = torch.from_numpy(np.array(of(vectors).to_pil())).permute(2, 0, 1)[None]
        angles = angular_error_deg(decode_8bit(codes), vectors[None])[0, 2:]
        assert angles.max() < 0.41
        assert (codes[0, :, :2] == 0).all()


class TestFiles:
    @pytest.mark.parametrize("ending", [".png", ".exr", ".npy"])
    def test_the_ending_says_the_format(self, vectors, ending, tmp_path):
        path = of(vectors).save(tmp_path / f"normals{ending}", frame="directx")
        found = read_normal_map(path)
        assert found.stored_frame == "directx"
        assert np.abs(found.normals - of(vectors).numpy()).max() < 1e-4

    def test_eight_bits_where_asked(self, vectors, tmp_path):
        path = of(vectors).save(tmp_path / "normals.png", format="png8")
        with Image.open(path) as picture:
            assert picture.mode == "RGB"
        assert np.abs(read_normal_map(path).normals - of(vectors).numpy()).max() < 0.02

    def test_another_ending_is_refused(self, vectors, tmp_path):
        with pytest.raises(SettingError, match=r"saved as \.png, \.exr, \.npy"):
            of(vectors).save(tmp_path / "normals.jpg")
        assert not list(tmp_path.iterdir())


class TestWhichImage:
    def test_of_several_one_is_chosen(self, vectors):
        assert np.array_equal(of(vectors, -vectors).numpy(1), -of(vectors).numpy())

    def test_not_choosing_is_an_error(self, vectors):
        with pytest.raises(SettingError, match="had 2 images; say which one, from 0 to 1"):
            of(vectors, vectors).to_pil()

    def test_one_that_is_not_there_is_an_error(self, vectors):
        with pytest.raises(SettingError, match="had 1 images, so there is no 3"):
            of(vectors).numpy(3)

    def test_a_frame_that_needs_a_camera_is_an_error(self, vectors):
        with pytest.raises(FrameError, match="camera_to_world"):
            of(vectors).numpy(frame="world")
