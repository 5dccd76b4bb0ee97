import json
import logging
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from stablenormal.errors import FrameError, NormalMapError, OutputError, SettingError
from stablenormal.geometry.frames import FRAMES
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.io import exr, normal_map, png
from stablenormal.io.normal_map import read_normal_map, write_normal_map

FORMATS = {"png16": ".png", "png8": ".png", "exr": ".exr", "npy": ".npy"}
TURN = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])


@pytest.fixture
def normals() -> np.ndarray[Any, Any]:
    """Random unit vectors (11, 13, 3) with an invalid corner."""
    vectors = np.random.default_rng(0).normal(size=(11, 13, 3))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors[:3, :4] = 0
    return vectors.astype(np.float32)


def write(folder: Path, normals: Any, format: str, frame: str = "opengl") -> Path:
    path = folder / f"map{FORMATS[format]}"
    write_normal_map(path, normals, frame, format, TURN if frame == "world" else None)
    return path


def worst_deg(a: Any, b: Any) -> float:
    a, b = (torch.from_numpy(map_)[(a != 0).any(2)].T[None, :, :, None] for map_ in (a, b))
    return float(angular_error_deg(a, b).max())


class TestRoundTrip:
    @pytest.mark.parametrize("frame", FRAMES)
    @pytest.mark.parametrize(
        ("format", "bound_deg"), [("png16", 0.0016), ("png8", 0.4), ("exr", 1e-4), ("npy", 1e-4)]
    )
    def test_every_format_in_every_frame(
        self, tmp_path: Path, normals: Any, format: str, bound_deg: float, frame: str
    ) -> None:
        back = read_normal_map(write(tmp_path, normals, format, frame))
        assert back.stored_frame == frame
        assert back.normals.dtype == np.float32 and back.normals.shape == normals.shape
        assert np.array_equal(back.valid, (normals != 0).any(2))
        assert (back.normals[~back.valid] == 0).all()
        assert np.abs(np.linalg.norm(back.normals[back.valid], axis=1) - 1).max() < 2e-7
        assert worst_deg(normals, back.normals) < bound_deg

    @pytest.mark.parametrize("format", FORMATS)
    def test_the_file_alone_is_complete(self, tmp_path: Path, normals: Any, format: str) -> None:
        write(tmp_path, normals, format)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == (["map.json", "map.npy"] if format == "npy" else [f"map{FORMATS[format]}"])

    @pytest.mark.parametrize("format", FORMATS)
    def test_an_all_invalid_map(self, tmp_path: Path, format: str) -> None:
        back = read_normal_map(write(tmp_path, np.zeros((9, 9, 3), np.float32), format))
        assert not back.valid.any() and (back.normals == 0).all()

    @pytest.mark.parametrize("format", FORMATS)
    def test_the_argument_is_not_modified(self, tmp_path: Path, normals: Any, format: str) -> None:
        before = normals.copy()
        write(tmp_path, normals, format, "opencv")
        assert np.array_equal(normals, before)


class TestWhatIsWritten:
    def test_16_bit_png(self, tmp_path: Path, normals: Any) -> None:
        data = write(tmp_path, normals, "png16", "opencv").read_bytes()
        pixels = imagecodecs.png_decode(data)
        assert pixels.dtype == np.uint16
        expected = np.rint((normals * [1, -1, -1] + 1) / 2 * 65535) * (normals != 0).any(2, keepdims=True)
        assert np.abs(pixels - expected).max() <= 1  # rounding of a half
        assert png.texts(data) == {"stablenormal:frame": "opencv"}

    def test_8_bit_png(self, tmp_path: Path, normals: Any) -> None:
        with Image.open(write(tmp_path, normals, "png8", "dsine")) as picture:
            assert (picture.mode, picture.size) == ("RGB", (13, 11))
            assert picture.info["stablenormal:frame"] == "dsine"
            assert picture.getpixel((0, 0)) == (0, 0, 0)

    def test_exr(self, tmp_path: Path, normals: Any) -> None:
        channels, header = exr.read(write(tmp_path, normals, "exr", "directx"))
        assert sorted(channels) == ["B", "G", "R"]
        assert channels["R"].dtype == np.float32
        assert np.abs(channels["G"] + normals[..., 1]).max() < 1e-6
        assert header["stablenormal:frame"] == "directx"

    def test_npy_with_its_record(self, tmp_path: Path, normals: Any) -> None:
        path = write(tmp_path, normals, "npy", "world")
        array = np.load(path)
        assert array.dtype == np.float32
        assert np.abs(array - normals @ TURN.T).max() < 1e-6
        record = json.loads((tmp_path / "map.json").read_text())
        assert record["stablenormal:frame"] == "world"
        assert json.loads(record["stablenormal:camera_to_world"]) == TURN.tolist()
        assert record["shape"] == [11, 13, 3]

    @pytest.mark.parametrize("format", ["exr", "npy"])
    def test_vectors_within_tolerance_are_written_with_unit_length(
        self, tmp_path: Path, normals: Any, format: str
    ) -> None:
        back = read_normal_map(write(tmp_path, normals * np.float32(1.0005), format))
        assert np.abs(np.linalg.norm(back.normals[back.valid], axis=1) - 1).max() < 2e-7


class TestWhatIsRefused:
    def test_wrong_lengths(self, tmp_path: Path, normals: Any) -> None:
        normals[5, 5] *= 0.9
        with pytest.raises(NormalMapError, match="1 normals are neither unit length nor zero"):
            write(tmp_path, normals, "png16")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("broken", [np.nan, np.inf])
    def test_nan(self, tmp_path: Path, normals: Any, broken: float) -> None:
        normals[5, 5, 1] = broken
        with pytest.raises(NormalMapError, match="NaN or infinite"):
            write(tmp_path, normals, "exr")

    @pytest.mark.parametrize("shape", [(3, 9, 9), (9, 9), (1, 9, 9, 3), (0, 9, 3)])
    def test_wrong_shapes(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        with pytest.raises(NormalMapError, match=r"expected normals \(H, W, 3\)"):
            write(tmp_path, np.zeros(shape, np.float32), "npy")

    def test_unknown_format(self, tmp_path: Path, normals: Any) -> None:
        with pytest.raises(SettingError, match="'jpg'; choose one of png16, png8, exr, npy"):
            write_normal_map(tmp_path / "map.jpg", normals, format="jpg")

    def test_an_ending_of_another_format(self, tmp_path: Path, normals: Any) -> None:
        with pytest.raises(SettingError, match=r"exr has the ending \.exr"):
            write_normal_map(tmp_path / "map.png", normals, format="exr")

    def test_unknown_frame(self, tmp_path: Path, normals: Any) -> None:
        with pytest.raises(FrameError, match="choose one of opengl"):
            write(tmp_path, normals, "png16", "blender")

    def test_world_without_its_rotation_and_a_rotation_without_world(
        self, tmp_path: Path, normals: Any
    ) -> None:
        with pytest.raises(FrameError, match="needs camera_to_world"):
            write_normal_map(tmp_path / "map.png", normals, frame="world")
        with pytest.raises(FrameError, match="only for frame 'world'"):
            write_normal_map(tmp_path / "map.png", normals, camera_to_world=TURN)

    @pytest.mark.parametrize("format", FORMATS)
    def test_an_output_folder_that_is_a_file(self, tmp_path: Path, normals: Any, format: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="not a folder"):
            write(tmp_path / "file", normals, format)

    @pytest.mark.parametrize("format", FORMATS)
    def test_an_interruption_leaves_nothing(
        self, tmp_path: Path, normals: Any, format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("os.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, normals, format)
        assert list(tmp_path.iterdir()) == []


class TestReading:
    def test_a_file_without_a_frame(self, tmp_path: Path, normals: Any) -> None:
        path = tmp_path / "map.npy"
        np.save(path, normals)
        with pytest.raises(
            FrameError, match="map.npy: the file does not say its frame; give frame= one of opengl, "
        ):
            read_normal_map(path)
        back = read_normal_map(path, frame="opencv")
        assert back.stored_frame == "opencv"
        assert np.abs(back.normals - normals * [1, -1, -1]).max() < 1e-6

    def test_a_file_with_an_unknown_frame(self, tmp_path: Path) -> None:
        codes = np.full((9, 9, 3), (128, 128, 255), np.uint8)
        (tmp_path / "map.png").write_bytes(png.encode(codes, {"stablenormal:frame": "blender"}))
        with pytest.raises(FrameError, match="unknown frame 'blender'; give frame= one of opengl"):
            read_normal_map(tmp_path / "map.png")
        assert read_normal_map(tmp_path / "map.png", frame="opengl").valid.all()

    def test_a_frame_that_contradicts_the_file(self, tmp_path: Path, normals: Any) -> None:
        path = write(tmp_path, normals, "exr", "dsine")
        assert read_normal_map(path, frame="dsine").stored_frame == "dsine"
        with pytest.raises(FrameError, match="records frame 'dsine', not 'opengl'"):
            read_normal_map(path, frame="opengl")

    def test_an_unknown_frame_argument(self, tmp_path: Path, normals: Any) -> None:
        with pytest.raises(FrameError, match="choose one of"):
            read_normal_map(write(tmp_path, normals, "exr"), frame="blender")

    @pytest.mark.parametrize("rotation", [None, "[[1, 2]]", "no matrix", "[[2,0,0],[0,2,0],[0,0,2]]"])
    def test_world_with_a_bad_rotation(self, tmp_path: Path, rotation: str | None) -> None:
        texts = {"stablenormal:frame": "world"}
        if rotation is not None:
            texts["stablenormal:camera_to_world"] = rotation
        codes = np.full((9, 9, 3), (128, 128, 255), np.uint8)
        (tmp_path / "map.png").write_bytes(png.encode(codes, texts))
        with pytest.raises(FrameError):
            read_normal_map(tmp_path / "map.png")

    def test_grey_paint_for_no_normal_is_invalid(self, tmp_path: Path) -> None:
        codes = np.full((9, 9, 3), (128, 128, 255), np.uint8)
        codes[:2] = 127
        codes[2:4] = 128
        (tmp_path / "map.png").write_bytes(png.encode(codes, {}))
        assert read_normal_map(tmp_path / "map.png", frame="opengl").valid.sum() == 5 * 9

    def test_transparent_pixels_are_invalid(self, tmp_path: Path) -> None:
        codes = np.full((9, 9, 4), (128, 128, 255, 255), np.uint8)
        codes[:4, :, 3] = 0
        (tmp_path / "map.png").write_bytes(png.encode(codes, {}))
        back = read_normal_map(tmp_path / "map.png", frame="opengl")
        assert back.valid.sum() == 5 * 9 and (back.normals[:4] == 0).all()

    @pytest.mark.parametrize(
        "names", ["XYZ", "rgb", ["normal.X", "normal.Y", "normal.Z"], ["n.R", "n.G", "n.B"]]
    )
    def test_exr_channel_names_of_other_programs(self, tmp_path: Path, normals: Any, names: Any) -> None:
        channels = {name: normals[..., place] for place, name in enumerate(names)}
        exr.write(tmp_path / "map.exr", channels, {})
        assert worst_deg(normals, read_normal_map(tmp_path / "map.exr", frame="opengl").normals) < 1e-4

    def test_half_float_exr(self, tmp_path: Path, normals: Any) -> None:
        with OpenEXR.File({}, {"RGB": normals.astype(np.float16)}) as file:
            file.write(str(tmp_path / "map.exr"))
        assert worst_deg(normals, read_normal_map(tmp_path / "map.exr", frame="opengl").normals) < 0.1

    def test_a_photograph_is_no_normal_map(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (30, 30, 3)).astype(np.uint8)
        (tmp_path / "photo.png").write_bytes(png.encode(noise, {}))
        with pytest.raises(NormalMapError, match=r"photo.png: \d+ of \d+ vectors are not unit length"):
            read_normal_map(tmp_path / "photo.png", frame="opengl")

    def test_a_few_wrong_lengths_are_normalised_and_told(
        self, tmp_path: Path, normals: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        normals[5, 5] *= 0.8
        np.save(tmp_path / "map.npy", normals)
        with caplog.at_level(logging.WARNING, normal_map.__name__):
            back = read_normal_map(tmp_path / "map.npy", frame="opengl")
        assert np.linalg.norm(back.normals[5, 5]) == pytest.approx(1)
        assert "1 of" in caplog.text

    @pytest.mark.parametrize("format", FORMATS)
    @pytest.mark.parametrize("kept", [0, 3, 100, -30])
    def test_a_truncated_file(self, tmp_path: Path, normals: Any, format: str, kept: int) -> None:
        path = write(tmp_path, normals, format)
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(NormalMapError, match=f"map{FORMATS[format]}") as caught:
            read_normal_map(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("ending", FORMATS.values())
    def test_missing_folder_and_nonsense(self, tmp_path: Path, ending: str) -> None:
        with pytest.raises(NormalMapError, match="no such file"):
            read_normal_map(tmp_path / f"missing{ending}", frame="opengl")
        (tmp_path / f"folder{ending}").mkdir()
        with pytest.raises(NormalMapError, match="this is a folder"):
            read_normal_map(tmp_path / f"folder{ending}", frame="opengl")
        (tmp_path / f"text{ending}").write_text("not a map at all, but long enough to be one of them")
        with pytest.raises(NormalMapError):
            read_normal_map(tmp_path / f"text{ending}", frame="opengl")

    def test_another_ending(self, tmp_path: Path) -> None:
        with pytest.raises(NormalMapError, match=r"one of \.png, \.exr, \.npy"):
            read_normal_map(tmp_path / "map.jpg", frame="opengl")

    def test_nan(self, tmp_path: Path, normals: Any) -> None:
        normals[5, 5, 1] = np.nan
        np.save(tmp_path / "map.npy", normals)
        with pytest.raises(NormalMapError, match="1 normals are NaN"):
            read_normal_map(tmp_path / "map.npy", frame="opengl")

    @pytest.mark.parametrize("array", [np.zeros((9, 9)), np.zeros((9, 9, 3), int), np.array([None])])
    def test_other_arrays(self, tmp_path: Path, array: Any) -> None:
        np.save(tmp_path / "map.npy", array, allow_pickle=True)
        with pytest.raises(NormalMapError):
            read_normal_map(tmp_path / "map.npy", frame="opengl")

    def test_grey_png_and_exr_without_colours(self, tmp_path: Path) -> None:
        (tmp_path / "map.png").write_bytes(png.encode(np.zeros((9, 9), np.uint8), {}))
        with pytest.raises(NormalMapError, match="grey"):
            read_normal_map(tmp_path / "map.png", frame="opengl")
        exr.write(tmp_path / "map.exr", {"Z": np.zeros((9, 9), np.float32)}, {})
        with pytest.raises(NormalMapError, match="no channels R, G, B or X, Y, Z among Z"):
            read_normal_map(tmp_path / "map.exr", frame="opengl")

    def test_a_damaged_record(self, tmp_path: Path, normals: Any) -> None:
        path = write(tmp_path, normals, "npy")
        (tmp_path / "map.json").write_text("{")
        with pytest.raises(NormalMapError, match=r"map\.json: not readable JSON"):
            read_normal_map(path)


def test_channels_first_arrays_are_taken_and_others_say_their_shape(tmp_path: Path) -> None:
    normals = np.zeros((8, 9, 3), np.float32)
    normals[..., 0], normals[..., 2] = 0.6, 0.8
    np.save(tmp_path / "map.npy", np.moveaxis(normals, -1, 0))
    assert np.abs(read_normal_map(tmp_path / "map.npy", frame="opengl").normals - normals).max() < 1e-6
    np.save(tmp_path / "map.npy", normals[None])
    with pytest.raises(NormalMapError, match=r"got shape \(1, 8, 9, 3\)"):
        read_normal_map(tmp_path / "map.npy", frame="opengl")


def test_a_photograph_is_no_generated_map(tmp_path: Path) -> None:
    greys = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (24, 256, 3))
    (tmp_path / "a.png").write_bytes(png.encode(greys, {}))
    with pytest.raises(NormalMapError, match="no normal map"):
        read_normal_map(tmp_path / "a.png", frame="opengl", any_length=True)
