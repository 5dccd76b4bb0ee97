import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from stablenormal.io import png

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_pixels_survive_bit_for_bit(dtype: type, channels: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max, (9, 13, *channels), endpoint=True).astype(dtype)
    data = png.encode(pixels, {})
    assert png.decode(data).dtype == dtype
    assert np.array_equal(png.decode(data), pixels)
    assert png.bit_depth(data) == np.iinfo(dtype).bits
    assert png.size(data) == (13, 9)


def test_a_single_pixel_of_a_turned_array_is_written() -> None:
    planes = np.array([7, 8, 9], np.uint16).reshape(3, 1, 1)
    assert png.decode(png.encode(planes.transpose(1, 2, 0), {})).tolist() == [[[7, 8, 9]]]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50))
def test_texts_survive(text: str) -> None:
    data = png.encode(np.zeros((2, 2, 3), np.uint16), {"stablenormal:frame": text, "Title": "a map"})
    assert png.texts(data) == {"stablenormal:frame": text, "Title": "a map"}


def test_other_readers_understand_the_texts_and_the_pixels() -> None:
    pixels = RNG.integers(0, 255, (9, 13, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(png.encode(pixels, {"stablenormal:frame": "opengl"}))) as picture:
        assert picture.info["stablenormal:frame"] == "opengl"
        assert np.array_equal(np.asarray(picture), pixels)


def test_texts_of_other_writers_are_understood() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("latin", "grün")
    info.add_itxt("unicode", "法線", lang="ja", tkey="訳")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    assert png.texts(buffer.getvalue()) == {"latin": "grün", "unicode": "法線"}


@pytest.mark.parametrize("kept", [0, 7, 20, 60, -1, -6, -12])
def test_a_truncated_file_is_noticed(kept: int) -> None:
    data = png.encode(RNG.integers(0, 65535, (9, 13, 3)).astype(np.uint16), {"key": "text"})
    for read in (png.decode, png.texts):
        with pytest.raises(ValueError):
            read(data[:kept])


@pytest.mark.parametrize("place", [18, 50, 200, -8])
def test_a_flipped_bit_is_noticed(place: int) -> None:
    data = bytearray(png.encode(RNG.integers(0, 65535, (9, 13, 3)).astype(np.uint16), {"key": "text"}))
    data[place] ^= 1
    with pytest.raises(ValueError):
        png.decode(bytes(data))
