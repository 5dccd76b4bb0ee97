"""Videos are read upright, whole or as far as they go; previews keep times and sound."""

import gc
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from stablenormal.errors import SettingError, VideoError  # noqa: E402
from stablenormal.io import video  # noqa: E402
from stablenormal.io.video import PreviewWriter, VideoReader  # noqa: E402


def picture(number: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """Grey that brightens by eight a frame, with a white corner at the top left."""
    pixels = np.full((height, width, 3), 8 * (number % 20) + 20, np.uint8)
    pixels[: height // 4, : width // 4] = 255
    return pixels


def make(
    path: Path,
    times: list[int] | int = 10,
    size: tuple[int, int] = (48, 64),
    *,
    rotation: int = 0,
    sound: str | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of ten frames a second, or of frames at these hundredths of a second."""
    stamps = [10 * number for number in range(times)] if isinstance(times, int) else times
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options={"crf": "10", "bf": "0", **(options or {})})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = out.add_stream(sound, rate=48000) if sound else None
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.start_encoding()
        out.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(48000) / 10).astype(np.float32)[None] * 0.3
            if tone.codec_context.format.name == "s16":
                wave = (wave * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave, format=tone.codec_context.format.name, layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return path


def read(path: Path) -> tuple[VideoReader, list[video.VideoFrame]]:
    reader = VideoReader(path)
    return reader, list(reader)


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    reader, frames = read(make(tmp_path / "a.mp4"))
    assert (reader.facts.width, reader.facts.height, reader.facts.frames) == (64, 48, 10)
    assert reader.facts.rate == 10 and reader.facts.sound is None
    assert np.allclose([frame.time_s for frame in frames], np.arange(10) / 10)
    for number, frame in enumerate(frames):
        assert frame.rgb.shape == (48, 64, 3)
        assert abs(float(frame.rgb[30:, 30:].mean()) - (8 * number + 20)) < 3
    assert reader.damage.told(reader.path) is None
    assert len(list(reader)) == 10  # once more


@pytest.mark.parametrize(
    ("rotation", "corner"),
    [(90, (slice(-10, None), slice(0, 10))), (180, (slice(-10, None), slice(-10, None))),
     (270, (slice(0, 10), slice(-10, None)))],
)  # fmt: skip
def test_a_turned_telephone_gives_upright_frames(
    tmp_path: Path, rotation: int, corner: tuple[slice, slice]
) -> None:
    """FFmpeg turns by the stored angle counter-clockwise, so the white corner goes there."""
    reader, frames = read(make(tmp_path / "a.mp4", 2, rotation=rotation))
    size = (64, 48) if rotation != 180 else (48, 64)
    assert frames[0].rgb.shape[:2] == size == (reader.facts.height, reader.facts.width)
    assert frames[0].rgb[corner].mean() > 240


@pytest.mark.parametrize("size", [(33, 47), (48, 47), (33, 64)])
def test_odd_sizes_stay(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read(make(tmp_path / "a.mkv", 2, size))[1][0].rgb.shape[:2] == size


def test_a_variable_frame_rate_keeps_its_times_in_the_preview(tmp_path: Path) -> None:
    stamps = [0, 3, 50, 51, 120]
    source = make(tmp_path / "a.mkv", stamps)
    reader, frames = read(source)
    assert np.allclose([frame.time_s for frame in frames], np.array(stamps) / 100, atol=1e-3)
    with PreviewWriter(tmp_path / "p.mp4", (48, 64), reader.facts.rate, source) as writer:
        for frame in frames:
            writer.write(frame.rgb, frame.time_s)
    assert np.allclose(
        [frame.time_s for frame in read(tmp_path / "p.mp4")[1]], np.array(stamps) / 100, atol=1e-3
    )


@pytest.mark.parametrize(("sound", "ending", "kept"), [("aac", "mp4", "aac"), ("pcm_s16le", "mov", "aac")])
def test_sound_is_copied_or_coded_anew(tmp_path: Path, sound: str, ending: str, kept: str) -> None:
    source = make(tmp_path / f"a.{ending}", sound=sound)
    reader, frames = read(source)
    assert reader.facts.sound == sound
    with PreviewWriter(tmp_path / "p.mp4", (49, 65), reader.facts.rate, source) as writer:
        for frame in frames:
            writer.write(np.zeros((49, 65, 3), np.uint8), frame.time_s)
    assert writer.problem is None
    shown = VideoReader(tmp_path / "p.mp4")
    assert shown.facts.sound == kept and shown.facts.rate == 10
    assert shown.facts.height % 2 == shown.facts.width % 2 == 0
    with av.open(str(tmp_path / "p.mp4")) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(samples) - 48000) < 3000 and 0.1 < np.abs(samples[4000:40000]).max() < 0.5
    if sound == "aac":
        packets = [
            [bytes(packet) for packet in av.open(str(path)).demux(audio=0) if packet.size]
            for path in (source, tmp_path / "p.mp4")
        ]
        assert packets[0] == packets[1]


def test_few_frames_are_held_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0
    for frame in VideoReader(make(tmp_path / "a.mp4", 40)):
        alive.append(weakref.ref(frame.rgb))
        del frame
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
    assert len(alive) == 40 and most <= 2


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(VideoError, match=f"{name}: is no video"):
            VideoReader(tmp_path / name)
    with pytest.raises(VideoError, match=r"none.mp4: no such video"):
        VideoReader(tmp_path / "none.mp4")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as out:
        tone = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    with pytest.raises(VideoError, match=r"sound.m4a: has no video in it"):
        VideoReader(tmp_path / "sound.m4a")


def damage(path: Path, frames: range) -> None:
    """Write over the packets of some frames of a video in which each frame stands alone."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for place, size in (packets[number] for number in frames):
        data[place + 8 : place + size - 2] = b"\xff" * (size - 10)
    path.write_bytes(data)


def test_a_video_without_a_frame_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none.mp4: has no video in it"):
        VideoReader(make(tmp_path / "none.mp4", 0))
    with pytest.raises(VideoError, match=r"none.mkv: is no video"):
        VideoReader(make(tmp_path / "none.mkv", 0))
    path = make(tmp_path / "broken.mkv", 5, codec="ffv1", options={"g": "1"})
    damage(path, range(5))
    with pytest.raises(VideoError, match=r"broken.mkv: has no frame that can be decoded"):
        VideoReader(path)


def test_a_damaged_middle_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", codec="ffv1", options={"g": "1"})
    damage(path, range(4, 6))
    reader, frames = read(path)
    assert len(frames) == 8 and np.isclose(frames[4].time_s, 0.6)
    told = reader.damage.told(path)
    assert told is not None and "2 pieces are damaged near 0.40 s" in told and "\n" not in told


def test_a_video_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.ts", 40, options={"g": "5"}).read_bytes()
    (tmp_path / "b.ts").write_bytes(whole[: len(whole) // 2])
    reader, frames = read(tmp_path / "b.ts")
    assert 10 < len(frames) < 35


def test_a_cover_is_no_video() -> None:
    assert video._COVER == int(av.stream.Disposition.attached_pic)


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(SettingError, match=r"pip install 'stablenormal\[video\]'"):
        VideoReader(tmp_path / "a.mp4")
