"""One of several pictures in a file, colours by their curves, and what else a file says."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from stablenormal.errors import ImageReadError, NormalMapError
from stablenormal.io import exr, png
from stablenormal.io.choice import Choice
from stablenormal.io.decode import decode
from stablenormal.io.depth_map import read_depth_map
from stablenormal.io.image import read_image
from stablenormal.io.normal_map import read_normal_map

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
LINEAR = np.where(PICTURE / 255 <= 0.04045, PICTURE / 255 / 12.92, ((PICTURE / 255 + 0.055) / 1.055) ** 2.4)
NORMALS = np.zeros((24, 32, 3), np.float32)
NORMALS[..., 0], NORMALS[..., 2] = 0.6, 0.8
REC709_LINEAR = imagecodecs.cms_profile(
    "rgb", gamma=1.0, primaries=[0.64, 0.33, 0.3, 0.6, 0.15, 0.06], whitepoint=[0.3127, 0.3290, 1.0]
)


def off(path: Path, expected: Any = PICTURE / 255, **choice: Any) -> float:
    return float(np.abs(decode(path, Choice(**choice)).rgb - expected).max())


def layer(name: str, values: Any, letters: str = "RGB") -> dict[str, Any]:
    return {
        f"{name}{letter}": np.ascontiguousarray(values[..., place], np.float32)
        for place, letter in enumerate(letters)
    }


def write_parts(path: Path, *parts: tuple[str, Any], **header: Any) -> None:
    kept = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File([OpenEXR.Part(dict(kept), layer("", v), name) for name, v in parts]) as file:
        file.write(str(path))


class TestExr:
    def test_the_finished_picture_of_a_render(self, tmp_path: Path) -> None:
        others = layer("ViewLayer.AO.", np.full_like(LINEAR, 0.9))
        exr.write(tmp_path / "a.exr", {**others, **layer("ViewLayer.Combined.", LINEAR)}, {})
        assert off(tmp_path / "a.exr") < 1e-3
        assert off(tmp_path / "a.exr", 0.9547, layer="ViewLayer.AO") < 1e-3
        assert off(tmp_path / "a.exr", 0.9547, layer="AO") < 1e-3

    @pytest.mark.parametrize("order", [("N", "C"), ("C", "N")])
    def test_parts_in_any_order(self, tmp_path: Path, order: tuple[str, str]) -> None:
        what = {"N": NORMALS, "C": LINEAR}
        write_parts(tmp_path / "a.exr", *((name, what[name]) for name in order))
        assert off(tmp_path / "a.exr") < 1e-3
        assert np.abs(read_normal_map(tmp_path / "a.exr", "opengl").normals - NORMALS).max() < 1e-6
        number = str(order.index("C") + 1)
        assert off(tmp_path / "a.exr", part=number) < 1e-3
        with pytest.raises(NormalMapError, match="not unit length"):
            read_normal_map(tmp_path / "a.exr", "opengl", choice=Choice(part="C"))

    def test_normals_of_a_render(self, tmp_path: Path) -> None:
        channels = {**layer("V.Combined.", LINEAR), **layer("V.Normal.", NORMALS, "XYZ")}
        exr.write(tmp_path / "a.exr", channels, {})
        assert np.abs(read_normal_map(tmp_path / "a.exr", "opengl").normals - NORMALS).max() < 1e-6

    def test_depth_beside_positions(self, tmp_path: Path) -> None:
        channels = {**layer("V.Position.", LINEAR, "XYZ"), "V.Depth.Z": np.full((24, 32), 3, np.float32)}
        exr.write(tmp_path / "a.exr", channels, {})
        assert (read_depth_map(tmp_path / "a.exr") == 3).all()

    @pytest.mark.parametrize(
        ("choice", "message"),
        [(Choice(), "2 pictures .* left; part right; choose one with `layer` or `part`"),
         (Choice(part="middle"), "no such layer or part, but part left; part right")],
    )  # fmt: skip
    def test_what_nobody_can_guess_is_asked(self, tmp_path: Path, choice: Choice, message: str) -> None:
        write_parts(tmp_path / "a.exr", ("left", LINEAR), ("right", LINEAR))
        with pytest.raises(ImageReadError, match=message):
            decode(tmp_path / "a.exr", choice)

    @pytest.mark.parametrize("low", [(10, 5), (-4, -3)])
    def test_the_data_window_lies_in_the_display_window(self, tmp_path: Path, low: tuple[int, int]) -> None:
        x, y = low
        window = (np.array([x, y], np.int32), np.array([x + 31, y + 23], np.int32))
        display = (np.array([0, 0], np.int32), np.array([39, 29], np.int32))
        write_parts(tmp_path / "a.exr", ("", NORMALS), dataWindow=window, displayWindow=display)
        found = read_normal_map(tmp_path / "a.exr", "opengl")
        inside = np.zeros((30, 40), bool)
        inside[max(0, y) : y + 24, max(0, x) : x + 32] = True
        assert np.array_equal(found.valid, inside)
        assert np.array_equal(read_image(tmp_path / "a.exr").valid, inside)

    def test_pixels_that_are_not_square_and_chroma_are_refused(self, tmp_path: Path) -> None:
        write_parts(tmp_path / "a.exr", ("", LINEAR), pixelAspectRatio=2.0)
        with pytest.raises(ImageReadError, match="2 times as wide as high"):
            decode(tmp_path / "a.exr")
        exr.write(tmp_path / "b.exr", {name: LINEAR[..., 0] for name in ("Y", "RY", "BY")}, {})
        with pytest.raises(ImageReadError, match="luminance and chroma"):
            decode(tmp_path / "b.exr")

    def test_primaries_are_turned_into_those_of_srgb(self, tmp_path: Path) -> None:
        wide = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)  # Rec. 2020
        grey, red = np.full((8, 8, 3), 0.5), np.zeros((8, 8, 3))
        red[..., 0] = 0.5
        for name, values in (("grey", grey), ("red", red)):
            write_parts(tmp_path / f"{name}.exr", ("", values), chromaticities=wide)
        assert off(tmp_path / "grey.exr", 0.7353569) < 1e-3
        found = decode(tmp_path / "red.exr").rgb[0, 0]
        assert found[0] > 0.85 and found[1] == 0  # 1.66 times as red, out of sRGB's green


class TestTiff:
    def test_pages_are_asked_and_overviews_are_not(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "two.tif", np.stack([255 - PICTURE, PICTURE]), photometric="rgb")
        with pytest.raises(ImageReadError, match="2 pages; choose one with `part` 1 to 2"):
            decode(tmp_path / "two.tif")
        assert off(tmp_path / "two.tif", part="2") < 1e-6
        with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
            for step in (2, 1, 4):
                file.write(PICTURE[::step, ::step], photometric="rgb", subfiletype=int(step > 1))
        assert off(tmp_path / "pyramid.tif") < 1e-6

    @pytest.mark.parametrize("depth", [np.uint8, np.uint16])
    def test_bands_that_are_not_opacity(self, tmp_path: Path, depth: Any) -> None:
        factor = 257 if depth == np.uint16 else 1
        infrared = np.dstack([PICTURE, np.zeros((24, 32), np.uint8)]).astype(depth) * depth(factor)
        tifffile.imwrite(tmp_path / "a.tif", infrared, photometric="rgb", extrasamples=["unspecified"])
        assert off(tmp_path / "a.tif") < 1e-6
        assert decode(tmp_path / "a.tif").alpha is None
        five = np.dstack([PICTURE, PICTURE[..., :2]]).astype(depth)
        tifffile.imwrite(tmp_path / "b.tif", five, photometric="minisblack", planarconfig="contig")
        with pytest.raises(ImageReadError, match="5 bands"):
            decode(tmp_path / "b.tif")

    @pytest.mark.parametrize("photometric", [32803, 34892])
    def test_raw_photographs_are_refused(self, tmp_path: Path, photometric: int) -> None:
        with tifffile.TiffWriter(tmp_path / "a.dng") as file:
            file.write(PICTURE, photometric="rgb", subfiletype=1, subifds=1)
            shape = (48, 64) if photometric == 32803 else (48, 64, 3)
            raw = RNG.integers(0, 4095, shape, dtype=np.uint16)
            file.write(raw, photometric=photometric, subfiletype=0)
        with pytest.raises(ImageReadError, match="raw photograph .* 32 x 24 px.*develop it"):
            decode(tmp_path / "a.dng")

    @pytest.mark.parametrize("bits", [8, 16])
    def test_exif_at_every_depth(self, tmp_path: Path, bits: int) -> None:
        grey = PICTURE[..., 0].astype(np.uint16) * 257 if bits == 16 else PICTURE[..., 0]
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[34665] = {0xA405: 35}  # FocalLengthIn35mmFilm
        Image.fromarray(grey).save(tmp_path / "a.tif", tiffinfo=tags)
        camera = read_image(tmp_path / "a.tif").intrinsics
        assert camera is not None and camera.fx == pytest.approx(35 * 40 / np.hypot(36, 24))


class TestColour:
    @pytest.mark.parametrize("kind", ["uint16", "float32"])
    def test_a_profile_is_known_by_its_curves(self, tmp_path: Path, kind: str) -> None:
        values = LINEAR.astype(np.float32) if kind == "float32" else np.rint(LINEAR * 65535).astype(np.uint16)
        profile = bytearray(REC709_LINEAR)
        description = profile.find(b"desc", profile.find(b"desc") + 4)  # the tag itself
        if description > 0:
            profile[description + 12 : description + 20] = b"sRGB IEC"
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", iccprofile=bytes(profile))
        assert off(tmp_path / "a.tif") < 0.01

    def test_floats_in_srgb_are_not_coded_twice(self, tmp_path: Path) -> None:
        values, profile = (PICTURE / 255).astype(np.float32), imagecodecs.cms_profile("srgb")
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", iccprofile=profile)
        assert off(tmp_path / "a.tif") < 1e-6

    @pytest.mark.parametrize("depth", [np.uint8, np.uint16])
    def test_a_pngs_gamma(self, tmp_path: Path, depth: Any) -> None:
        stream = png.encode(np.rint(LINEAR * np.iinfo(depth).max).astype(depth), {})
        body = b"gAMA" + struct.pack(">I", 100000)
        chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
        (tmp_path / "a.png").write_bytes(stream[:33] + chunk + stream[33:])
        assert off(tmp_path / "a.png") < (0.03 if depth == np.uint8 else 1e-3)


def test_frames_of_an_animation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dark, bright = (Image.new("L", (32, 24), level) for level in (10, 200))
    dark.save(tmp_path / "a.gif", save_all=True, append_images=[bright])
    assert decode(tmp_path / "a.gif").rgb.mean() < 0.1
    assert "2 frames, read the first" in caplog.text
    assert decode(tmp_path / "a.gif", Choice(part="2")).rgb.mean() > 0.7
    with pytest.raises(ImageReadError, match="`part` 1 to 2"):
        decode(tmp_path / "a.gif", Choice(part="3"))


@pytest.mark.parametrize("kind", ["jpg", "png", "png of 16 bits", "tif", "exr"])
def test_a_picture_above_the_callers_limit_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    """Half of the file is missing, so that decoding it would fail in another way."""
    path = tmp_path / f"large.{kind[:4].strip()}"
    pixels = np.zeros((1010, 1000, 3), np.uint8)
    if kind == "exr":
        exr.write(path, {letter: np.zeros((1010, 1000), np.float32) for letter in "RGB"}, {})
    elif kind == "tif":
        tifffile.imwrite(path, pixels)
    elif kind == "png of 16 bits":
        path = tmp_path / "large.png"
        path.write_bytes(png.encode(pixels.astype(np.uint16), {}))
    else:
        Image.fromarray(pixels).save(path)
    assert read_image(path).rgb.shape == (1010, 1000, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) // 2, 100)])
    with pytest.raises(ImageReadError, match="more than 1 megapixels; shrink it first"):
        read_image(path, max_pixels=10**6)
    path.write_bytes(whole)
    assert read_image(path, max_pixels=1_010_000).rgb.shape == (1010, 1000, 3)
