from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from stablenormal.errors import ImageReadError, OutputError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io import exr, png
from stablenormal.io.image import read_image, write_image
from stablenormal.io.image_files import list_images

HEIGHT, WIDTH = 24, 40
ORIENTATION, FOCAL_35MM = 274, 41989


def picture() -> np.ndarray[Any, Any]:
    """A smooth uint8 picture (H, W, 3) in which every corner differs."""
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH] / [[[HEIGHT]], [[WIDTH]]]
    return np.rint(np.stack([u, v, 0.5 * u * v + 0.2], axis=-1) * 255).astype(np.uint8)


def linear(coded: Any) -> Any:
    """Undo the sRGB curve."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def off(photograph_rgb: Any, expected: Any) -> float:
    return float(np.abs(photograph_rgb - expected).max())


class TestFormats:
    @pytest.mark.parametrize(
        ("ending", "options", "bound"),
        [
            (".jpg", {"quality": 98, "subsampling": 0}, 0.03),
            (".png", {}, 1e-6),
            (".tif", {}, 1e-6),
            (".webp", {"lossless": True}, 1e-6),
            (".webp", {"quality": 95}, 0.1),
            (".avif", {"quality": 98}, 0.1),
            (".bmp", {}, 1e-6),
            (".ppm", {}, 1e-6),
            (".jp2", {}, 1e-6),
        ],
    )
    def test_8_bit_colour(self, tmp_path: Path, ending: str, options: dict[str, Any], bound: float) -> None:
        Image.fromarray(picture()).save(tmp_path / f"photo{ending}", **options)
        photo = read_image(tmp_path / f"photo{ending}")
        assert photo.rgb.shape == (HEIGHT, WIDTH, 3) and photo.rgb.dtype == np.float32
        assert off(photo.rgb, picture() / 255) < bound
        assert photo.valid.all() and photo.valid.shape == (HEIGHT, WIDTH)
        assert (photo.bit_depth, photo.intrinsics, photo.path) == (8, None, tmp_path / f"photo{ending}")

    def test_heic(self, tmp_path: Path) -> None:
        pillow_heif.from_pillow(Image.fromarray(picture())).save(tmp_path / "photo.heic", quality=98)
        assert off(read_image(tmp_path / "photo.heic").rgb, picture() / 255) < 0.1

    def test_gif_palette(self, tmp_path: Path) -> None:
        Image.fromarray(picture()).quantize(64).save(tmp_path / "photo.gif")
        assert np.abs(read_image(tmp_path / "photo.gif").rgb - picture() / 255).mean() < 0.05

    def test_the_name_does_not_matter(self, tmp_path: Path) -> None:
        Image.fromarray(picture()).save(tmp_path / "photo.png")
        (tmp_path / "photo.png").rename(tmp_path / "photo.jpg")
        assert off(read_image(tmp_path / "photo.jpg").rgb, picture() / 255) < 1e-6

    @pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
    def test_other_colour_modes(self, tmp_path: Path, mode: str) -> None:
        converted = Image.fromarray(picture()).convert(mode)
        converted.save(tmp_path / "photo.tif")
        expected = np.asarray(converted.convert("RGB")) / 255
        assert off(read_image(tmp_path / "photo.tif").rgb, expected) < 0.02

    def test_lab_tiff(self, tmp_path: Path) -> None:
        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        ImageCms.applyTransform(Image.fromarray(picture()), to_lab).save(tmp_path / "photo.tif")
        assert np.abs(read_image(tmp_path / "photo.tif").rgb - picture() / 255).mean() < 0.01

    def test_grey_is_three_equal_channels(self, tmp_path: Path) -> None:
        Image.fromarray(picture()).convert("L").save(tmp_path / "photo.jpg", quality=98)
        rgb = read_image(tmp_path / "photo.jpg").rgb
        assert (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all()

    def test_cmyk_jpeg(self, tmp_path: Path) -> None:
        Image.fromarray(picture()).convert("CMYK").save(tmp_path / "photo.jpg", quality=98, subsampling=0)
        assert off(read_image(tmp_path / "photo.jpg").rgb, picture() / 255) < 0.04


class TestBitDepth:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_16_bit_png_keeps_16_bits(self, tmp_path: Path, channels: int) -> None:
        codes = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels)).astype(np.uint16)
        if channels in (2, 4):
            codes[..., -1] = 65535
        (tmp_path / "photo.png").write_bytes(imagecodecs.png_encode(codes.squeeze()))
        photo = read_image(tmp_path / "photo.png")
        expected = codes[..., :3] if channels >= 3 else np.repeat(codes[..., :1], 3, axis=2)
        assert off(photo.rgb * 65535, expected) < 0.01
        assert photo.bit_depth == 16

    @pytest.mark.parametrize("kind", ["contiguous", "separate", "zlib"])
    def test_16_bit_tiff(self, tmp_path: Path, kind: str) -> None:
        codes = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
        options: dict[str, Any] = {"compression": "zlib"} if kind == "zlib" else {}
        pixels = np.moveaxis(codes, -1, 0) if kind == "separate" else codes
        planar = "separate" if kind == "separate" else "contig"
        tifffile.imwrite(tmp_path / "p.tif", pixels, photometric="rgb", planarconfig=planar, **options)
        photo = read_image(tmp_path / "p.tif")
        assert off(photo.rgb * 65535, codes) < 0.01
        assert photo.bit_depth == 16

    def test_16_bit_grey_tiff_both_ways_round(self, tmp_path: Path) -> None:
        codes = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
        for kind, expected in (("minisblack", codes), ("miniswhite", 65535 - codes)):
            tifffile.imwrite(tmp_path / "photo.tif", codes, photometric=kind)
            assert off(read_image(tmp_path / "photo.tif").rgb[..., 1] * 65535, expected) < 0.01

    def test_16_bit_tiff_with_opacity(self, tmp_path: Path) -> None:
        codes = np.full((HEIGHT, WIDTH, 4), 65535, np.uint16)
        codes[:10, :, 3] = 0
        tifffile.imwrite(tmp_path / "photo.tif", codes, photometric="rgb", extrasamples=["unassalpha"])
        assert read_image(tmp_path / "photo.tif").valid.sum() == (HEIGHT - 10) * WIDTH

    def test_float_tiff_is_linear_light(self, tmp_path: Path) -> None:
        coded = picture() / 255
        tifffile.imwrite(tmp_path / "photo.tif", linear(coded), photometric="rgb")
        photo = read_image(tmp_path / "photo.tif")
        assert off(photo.rgb, coded) < 1e-4
        assert photo.bit_depth == 32


class TestExr:
    def test_linear_light_is_coded(self, tmp_path: Path) -> None:
        coded = picture() / 255
        exr.write(tmp_path / "a.exr", dict(zip("RGB", np.moveaxis(linear(coded), -1, 0), strict=True)), {})
        photo = read_image(tmp_path / "a.exr")
        assert off(photo.rgb, coded) < 1e-4
        assert photo.bit_depth == 32

    def test_bright_pictures_are_exposed_down_and_dark_ones_stay(self, tmp_path: Path) -> None:
        light = linear(picture() / 255)
        for gain, expected in ((0.1, light * 0.1), (50.0, light / np.percentile(light.max(-1), 99))):
            exr.write(tmp_path / "a.exr", dict(zip("RGB", np.moveaxis(light * gain, -1, 0), strict=True)), {})
            read = linear(read_image(tmp_path / "a.exr").rgb)
            assert off(read, np.clip(expected, 0, 1)) < 1e-4

    @pytest.mark.parametrize("names", [["Y"], ["beauty.R", "beauty.G", "beauty.B", "depth.Z"]])
    def test_other_channels(self, tmp_path: Path, names: list[str]) -> None:
        exr.write(tmp_path / "a.exr", dict.fromkeys(names, np.full((HEIGHT, WIDTH), 0.5, np.float32)), {})
        assert off(read_image(tmp_path / "a.exr").rgb, 0.7353569) < 1e-5

    def test_premultiplied_alpha(self, tmp_path: Path) -> None:
        alpha = np.ones((HEIGHT, WIDTH), np.float32)
        alpha[:8], alpha[8:16] = 0, 0.6
        exr.write(tmp_path / "a.exr", {"A": alpha, **dict.fromkeys("RGB", alpha * 0.5)}, {})
        photo = read_image(tmp_path / "a.exr")
        assert photo.valid.sum() == 16 * WIDTH
        assert off(photo.rgb[:8], 1) == 0  # white behind
        assert off(photo.rgb[8:16], 0.6 * 0.7353569 + 0.4) < 1e-5
        assert off(photo.rgb[16:], 0.7353569) < 1e-5

    @pytest.mark.parametrize("broken", [np.nan, np.inf])
    @pytest.mark.parametrize("channel", ["G", "A"])
    def test_nan_is_an_error_that_says_where(self, tmp_path: Path, broken: float, channel: str) -> None:
        channels = {name: np.full((HEIGHT, WIDTH), 0.5, np.float32) for name in "RGBA"}
        channels[channel][3, 5] = broken
        exr.write(tmp_path / "a.exr", channels, {})
        with pytest.raises(
            ImageReadError, match=r"a\.exr: \d values are NaN or infinite, .* column 5, row 3"
        ):
            read_image(tmp_path / "a.exr")

    def test_no_colour(self, tmp_path: Path) -> None:
        exr.write(tmp_path / "a.exr", {"Z": np.ones((HEIGHT, WIDTH), np.float32)}, {})
        with pytest.raises(ImageReadError, match="no channels R, G, B or Y among Z"):
            read_image(tmp_path / "a.exr")


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
    def test_pictures_come_upright(self, tmp_path: Path, orientation: int, ending: str) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(picture()).save(tmp_path / f"photo{ending}", exif=exif, quality=98)
        with Image.open(tmp_path / f"photo{ending}") as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")) / 255
        assert off(read_image(tmp_path / f"photo{ending}").rgb, expected) < 1e-6

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_deep_pictures_come_upright_too(self, tmp_path: Path, orientation: int) -> None:
        tifffile.imwrite(
            tmp_path / "p.tif",
            picture().astype(np.uint16) * 257,
            photometric="rgb",
            extratags=[(ORIENTATION, "H", 1, orientation, True)],
        )
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(picture()).save(tmp_path / "p.png", exif=exif)
        assert off(read_image(tmp_path / "p.tif").rgb, read_image(tmp_path / "p.png").rgb) < 1e-6

    def test_heic(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        pillow_heif.register_heif_opener()
        Image.fromarray(picture()).save(tmp_path / "photo.heic", exif=exif.tobytes(), quality=98)
        photo = read_image(tmp_path / "photo.heic")
        assert off(photo.rgb, np.rot90(picture(), -1) / 255) < 0.1

    def test_opacity_and_camera_turn_with_the_picture(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6  # to be turned clockwise
        exif.get_ifd(34665)[FOCAL_35MM] = 28
        rgba = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        rgba[:6, :, 3] = 0  # the top of the stored picture is the right of the upright one
        Image.fromarray(rgba).save(tmp_path / "photo.png", exif=exif)
        photo = read_image(tmp_path / "photo.png")
        assert photo.valid.shape == (WIDTH, HEIGHT)
        assert not photo.valid[:, -6:].any() and photo.valid[:, :-6].all()
        diagonal = np.hypot(HEIGHT, WIDTH)
        focal = 28 / np.hypot(36, 24) * diagonal
        assert photo.intrinsics is not None
        assert photo.intrinsics.fx == pytest.approx(focal)
        assert photo.intrinsics == Intrinsics.centred(photo.intrinsics.fx, HEIGHT, WIDTH)

    def test_damaged_exif_is_ignored(self, tmp_path: Path) -> None:
        Image.fromarray(picture()).save(
            tmp_path / "photo.jpg", exif=b"Exif\0\0MM\0*\0\0\0\xff\0\0", quality=98
        )
        assert read_image(tmp_path / "photo.jpg").rgb.shape == (HEIGHT, WIDTH, 3)


class TestColourProfiles:
    @pytest.mark.parametrize("depth", [8, 16])
    def test_a_wide_profile_is_converted(self, tmp_path: Path, depth: int) -> None:
        profile = imagecodecs.cms_profile("adobergb")
        codes = np.full((HEIGHT, WIDTH, 3), (200, 100, 100), np.uint8)
        if depth == 8:
            path = tmp_path / "photo.png"
            Image.fromarray(codes).save(path, icc_profile=profile)
        else:
            path = tmp_path / "photo.tif"
            tifffile.imwrite(path, codes.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile)
        assert off(read_image(path).rgb * 255, adobe_to_srgb((200, 100, 100))) < 1.5

    def test_a_grey_profile_is_converted(self, tmp_path: Path) -> None:
        profile = imagecodecs.cms_profile("gray", gamma=1.0, whitepoint=[0.3127, 0.329, 1.0])
        grey = Image.fromarray(np.full((HEIGHT, WIDTH), 55, np.uint8))  # 0.2157 of the light
        grey.save(tmp_path / "photo.png", icc_profile=profile)
        assert off(read_image(tmp_path / "photo.png").rgb * 255, 128) < 1.0

    def test_an_srgb_profile_changes_nothing(self, tmp_path: Path) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(picture()).save(tmp_path / "photo.png", icc_profile=profile)
        assert off(read_image(tmp_path / "photo.png").rgb, picture() / 255) < 1e-6

    @pytest.mark.parametrize("profile", [b"no profile", imagecodecs.cms_profile("adobergb")[:200]])
    def test_a_damaged_profile_is_ignored(self, tmp_path: Path, profile: bytes) -> None:
        Image.fromarray(picture()).save(tmp_path / "photo.png", icc_profile=profile)
        assert off(read_image(tmp_path / "photo.png").rgb, picture() / 255) < 1e-6

    def test_a_profile_for_other_channels_is_ignored(self, tmp_path: Path) -> None:
        grey = Image.fromarray(picture()).convert("L")
        grey.save(tmp_path / "photo.png", icc_profile=imagecodecs.cms_profile("adobergb"))
        assert off(read_image(tmp_path / "photo.png").rgb[..., 0], np.asarray(grey) / 255) < 1e-6


def adobe_to_srgb(codes: tuple[int, int, int]) -> Any:
    """Adobe RGB (1998) to sRGB by their definitions, both D65: no white point to adapt."""
    light = (np.array(codes) / 255) ** (563 / 256)
    to_xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    to_srgb = np.array(
        [[3.24045, -1.53714, -0.49853], [-0.96927, 1.87601, 0.04156], [0.05564, -0.20403, 1.05723]]
    )
    linear_srgb = np.clip(to_srgb @ to_xyz @ light, 0, 1)
    coded = np.where(linear_srgb <= 0.0031308, 12.92 * linear_srgb, 1.055 * linear_srgb ** (1 / 2.4) - 0.055)
    return coded * 255


class TestTransparency:
    def rgba(self) -> Any:
        rgba = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        rgba[:6, :, 3], rgba[6:12, :, 3], rgba[12:18, :, 3] = 0, 127, 128
        return rgba

    @pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
    def test_less_than_half_opaque_is_invalid_and_lies_on_white(self, tmp_path: Path, ending: str) -> None:
        Image.fromarray(self.rgba()).save(tmp_path / f"photo{ending}", lossless=True)
        photo = read_image(tmp_path / f"photo{ending}")
        assert not photo.valid[:12].any() and photo.valid[12:].all()
        assert (photo.rgb[:6] == 1).all()
        assert off(photo.rgb[18:], picture()[18:] / 255) < 1e-6
        assert off(photo.rgb[12:18], picture()[12:18] / 255 * 128 / 255 + 127 / 255) < 1e-6

    def test_palette_with_a_transparent_colour(self, tmp_path: Path) -> None:
        paletted = Image.fromarray(picture()).quantize(16)
        paletted.save(tmp_path / "photo.png", transparency=3)
        photo = read_image(tmp_path / "photo.png")
        assert np.array_equal(photo.valid, np.asarray(paletted) != 3)
        assert not photo.valid.all()

    def test_grey_with_alpha(self, tmp_path: Path) -> None:
        Image.fromarray(self.rgba()).convert("LA").save(tmp_path / "photo.png")
        assert read_image(tmp_path / "photo.png").valid.sum() == 12 * WIDTH

    def test_16_bit_png(self, tmp_path: Path) -> None:
        (tmp_path / "photo.png").write_bytes(png.encode(self.rgba().astype(np.uint16) * 257, {}))
        assert read_image(tmp_path / "photo.png").valid.sum() == 12 * WIDTH


class TestMask:
    @pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "I;16"])
    def test_dark_pixels_are_invalid(self, tmp_path: Path, mode: str) -> None:
        write_image(tmp_path / "photo.png", picture())
        bright = np.zeros((HEIGHT, WIDTH), np.uint8)
        bright[5:] = 255
        if mode == "I;16":
            (tmp_path / "mask.png").write_bytes(png.encode(bright.astype(np.uint16) * 257, {}))
        else:
            Image.fromarray(bright).convert(mode).save(tmp_path / "mask.png")
        photo = read_image(tmp_path / "photo.png", mask=tmp_path / "mask.png")
        assert np.array_equal(photo.valid, bright > 0)
        assert off(photo.rgb, picture() / 255) < 1e-6

    def test_transparent_pixels_of_a_mask_are_invalid(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png", picture())
        rgba = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
        rgba[:5, :, 3] = 0
        Image.fromarray(rgba).save(tmp_path / "mask.png")
        assert read_image(tmp_path / "photo.png", mask=tmp_path / "mask.png").valid.sum() == 19 * WIDTH

    def test_opacity_and_mask_add_up(self, tmp_path: Path) -> None:
        rgba = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        rgba[:, :3, 3] = 0
        Image.fromarray(rgba).save(tmp_path / "photo.png")
        bright = np.full((HEIGHT, WIDTH), 255, np.uint8)
        bright[:5] = 0
        Image.fromarray(bright).save(tmp_path / "mask.png")
        valid = read_image(tmp_path / "photo.png", mask=tmp_path / "mask.png").valid
        assert valid.sum() == 19 * 37

    def test_another_size_is_refused(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png", picture())
        write_image(tmp_path / "mask.png", picture()[:10])
        with pytest.raises(
            ImageReadError, match=r"mask\.png: the mask is 40 x 10 px, .*photo\.png is 40 x 24 px"
        ):
            read_image(tmp_path / "photo.png", mask=tmp_path / "mask.png")

    def test_a_missing_mask_is_named(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photo.png", picture())
        with pytest.raises(ImageReadError, match=r"mask\.png: no such file"):
            read_image(tmp_path / "photo.png", mask=tmp_path / "mask.png")


class TestBadInput:
    def fails(self, path: Path, words: str) -> None:
        with pytest.raises(ImageReadError, match=words) as caught:
            read_image(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    def test_missing_folder_and_empty(self, tmp_path: Path) -> None:
        self.fails(tmp_path / "photo.jpg", "no such file")
        self.fails(tmp_path, "this is a folder")
        (tmp_path / "empty.jpg").touch()
        self.fails(tmp_path / "empty.jpg", "the file is empty")

    def test_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "read_bytes", refuse)
        self.fails(tmp_path / "photo.jpg", "permission denied")

    @pytest.mark.parametrize("ending", [".jpg", ".png", ".exr", ".tif", ".heic"])
    def test_not_an_image(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / f"notes{ending}").write_text("these are notes, and no picture at all")
        self.fails(tmp_path / f"notes{ending}", "not an image")

    @pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic", ".bmp", ".jp2"])
    @pytest.mark.parametrize("share", [0.1, 0.6])
    def test_truncated(self, tmp_path: Path, ending: str, share: float) -> None:
        pillow_heif.register_heif_opener()
        path = tmp_path / f"photo{ending}"
        noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        self.fails(path, "damaged or cut off|not an image")

    @pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
    def test_truncated_deep_files(self, tmp_path: Path, share: float) -> None:
        noise = np.random.default_rng(0).integers(0, 65535, (HEIGHT, WIDTH, 3)).astype(np.uint16)
        (tmp_path / "a.png").write_bytes(png.encode(noise, {}))
        tifffile.imwrite(tmp_path / "a.tif", noise, photometric="rgb")
        tifffile.imwrite(tmp_path / "b.tif", noise, photometric="rgb", compression="zlib")
        exr.write(tmp_path / "a.exr", dict.fromkeys("RGB", noise[..., 0].astype(np.float32)), {})
        for path in sorted(tmp_path.iterdir()):
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * share)])
            self.fails(path, "damaged or cut off")

    def test_too_small_and_too_large(self, tmp_path: Path) -> None:
        write_image(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
        self.fails(tmp_path / "dot.png", "1 x 1 px is too small; at least 8 px")
        write_image(tmp_path / "wide.png", np.zeros((8, 20000, 3), np.uint8))
        self.fails(tmp_path / "wide.png", "20000 x 8 px is too large; shrink it to 16384")
        write_image(tmp_path / "least.png", np.zeros((8, 8, 3), np.uint8))
        assert read_image(tmp_path / "least.png").rgb.shape == (8, 8, 3)

    def test_too_small_and_too_large_deep_files(self, tmp_path: Path) -> None:
        for size, words in (((1, 1), "too small"), ((8, 20000), "too large")):
            (tmp_path / "a.png").write_bytes(png.encode(np.zeros((*size, 3), np.uint16), {}))
            tifffile.imwrite(tmp_path / "a.tif", np.zeros((*size, 3), np.uint16), photometric="rgb")
            exr.write(tmp_path / "a.exr", {"Y": np.zeros(size, np.float32)}, {})
            for path in sorted(tmp_path.iterdir()):
                self.fails(path, words)

    def test_a_decompression_bomb(self, tmp_path: Path) -> None:
        Image.new("1", (16000, 16000)).save(tmp_path / "bomb.png")
        self.fails(tmp_path / "bomb.png", "more than 178 megapixels; shrink it first")

    def test_integer_tiffs_with_a_sign(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.int16), photometric="minisblack")
        self.fails(tmp_path / "a.tif", "int16 TIFF of kind MINISBLACK is not supported")


class TestWriteImage:
    @pytest.mark.parametrize("ending", [".png", ".jpg", ".jpeg", ".webp"])
    def test_round_trip(self, tmp_path: Path, ending: str) -> None:
        write_image(tmp_path / f"p{ending}", (picture() / 255).astype(np.float32))
        with Image.open(tmp_path / f"p{ending}") as opened:
            assert opened.format == {".png": "PNG", ".webp": "WEBP"}.get(ending, "JPEG")
        assert np.abs(read_image(tmp_path / f"p{ending}").rgb - picture() / 255).mean() < 0.02

    def test_floats_are_rounded_and_clipped(self, tmp_path: Path) -> None:
        values = np.full((8, 8, 3), (-0.5, 0.999 * 128 / 255, 7), np.float32)
        write_image(tmp_path / "p.png", values)
        with Image.open(tmp_path / "p.png") as opened:
            assert opened.getpixel((0, 0)) == (0, 128, 255)

    def test_quality_changes_the_size(self, tmp_path: Path) -> None:
        for quality in (10, 95):
            write_image(tmp_path / f"{quality}.jpg", picture(), quality)
        assert (tmp_path / "10.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size

    def test_grey(self, tmp_path: Path) -> None:
        write_image(tmp_path / "p.png", picture()[..., 0])
        with Image.open(tmp_path / "p.png") as opened:
            assert opened.mode == "L"

    def test_another_ending_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"written as \.png, \.jpg"):
            write_image(tmp_path / "p.gif", picture())


class TestListImages:
    def make(self, *paths: Path) -> None:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def relative(self, *inputs: Path | str) -> list[str]:
        return [entry.relative.as_posix() for entry in list_images(inputs)]

    def test_folders_are_searched_in_order(self, tmp_path: Path) -> None:
        self.make(
            *(
                tmp_path / name
                for name in ("b.JPG", "a.png", "sub/deep/c.heic", "notes.txt", ".x.png", ".git/d.png")
            )
        )
        assert self.relative(tmp_path) == ["a.png", "b.JPG", "sub/deep/c.heic"]

    def test_files_are_taken_whatever_their_ending(self, tmp_path: Path) -> None:
        self.make(tmp_path / "photo.raw", tmp_path / ".hidden")
        assert self.relative(tmp_path / "photo.raw", tmp_path / ".hidden") == ["photo.raw", ".hidden"]

    def test_globs_keep_what_lies_below_the_fixed_part(self, tmp_path: Path) -> None:
        self.make(*(tmp_path / name for name in ("x/a.png", "x/b.jpg", "y/c.png", "y/z/d.png")))
        assert self.relative(f"{tmp_path}/*/*.png") == ["x/a.png", "y/c.png"]
        assert self.relative(f"{tmp_path}/**/*.png") == ["x/a.png", "y/c.png", "y/z/d.png"]

    def test_a_file_with_brackets_in_its_name_is_a_file(self, tmp_path: Path) -> None:
        self.make(tmp_path / "photo[1].png")
        assert self.relative(str(tmp_path / "photo[1].png")) == ["photo[1].png"]

    def test_each_file_once(self, tmp_path: Path) -> None:
        self.make(tmp_path / "a.png", tmp_path / "b.png")
        assert self.relative(tmp_path / "b.png", tmp_path, f"{tmp_path}/*.png") == ["b.png", "a.png"]

    def test_equal_names_of_two_inputs_keep_their_folders(self, tmp_path: Path) -> None:
        self.make(tmp_path / "left" / "1.png", tmp_path / "right" / "1.png")
        assert self.relative(tmp_path / "left", tmp_path / "right") == ["left/1.png", "right/1.png"]

    def test_the_order_of_the_file_system_does_not_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.make(*(tmp_path / f"{letter}.png" for letter in "badc"))
        rglob = Path.rglob
        monkeypatch.setattr(Path, "rglob", lambda folder, pattern: sorted(rglob(folder, pattern))[::-1])
        assert self.relative(tmp_path) == ["a.png", "b.png", "c.png", "d.png"]

    def test_nothing_found(self, tmp_path: Path) -> None:
        self.make(tmp_path / "notes.txt")
        with pytest.raises(ImageReadError, match="no image in it; looked for .*.jpg"):
            list_images([tmp_path])
        with pytest.raises(ImageReadError, match="no image in it"):
            list_images([f"{tmp_path}/*.png"])
        with pytest.raises(ImageReadError, match="no such file or folder"):
            list_images([tmp_path / "missing.png"])
