"""Videos: frames one after the other, and previews with the sound and the times of the video they show.

Neither holds more than a few frames at a time. Reading and writing are PyAV's, of the extra `video`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.errors import OutputError, SettingError, VideoError

Picture = npt.NDArray[np.uint8]

USUAL_RATE = Fraction(25)
"""Frames a second where a video does not say."""
COPIED_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""What an MP4 file holds as it is; other sound becomes AAC."""
LARGEST_PREVIEW = 1920
"""Pixels of a preview's longer side."""
_MOST_DAMAGED = 1000
"""Packets in a row that cannot be decoded, after which a video counts as broken off."""


class VideoFrame(NamedTuple):
    """A frame as it is to be seen."""

    rgb: Picture
    """(H, W, 3), turned upright, with square pixels."""
    time_s: float
    """Since the start of the video's clock."""


@dataclass
class Damage:
    """What could not be read of a video."""

    packets: int = 0
    """Packets left out."""
    first_s: float | None = None
    """Where the first of them was, if it is known."""
    breaks_off: bool = False
    """Whether the rest could not be read at all."""

    def told(self, path: Path) -> str | None:
        """One line for the user; None if all was read."""
        if not self.packets and not self.breaks_off:
            return None
        place = "" if self.first_s is None else f" near {self.first_s:.2f} s"
        if self.breaks_off:
            return f"{path}: breaks off{place}; what comes before is done; copy the video again"
        many = "a piece is" if self.packets == 1 else f"{self.packets} pieces are"
        return f"{path}: {many} damaged{place}; their frames are left out or as the decoder mends them"


@dataclass(frozen=True)
class VideoFacts:
    """What a video says of itself."""

    width: int
    """Of its upright frames; odd ones stay odd."""
    height: int
    frames: int | None
    """How many it says that it has."""
    rate: Fraction
    """Frames a second, on average."""
    sound: str | None
    """Codec of its sound; None if there is none."""


def load_av() -> Any:
    """PyAV.

    Raises:
        SettingError: if it is not installed.
    """
    try:
        import av
    except ImportError:
        raise SettingError("videos need PyAV; install it: pip install 'stablenormal[video]'") from None
    av.logging.set_level(None)  # what FFmpeg says of damage goes to the user in one line of our own
    return av


class VideoReader:
    """Iterates over a video's frames from its start; made anew for each pass.

    Args:
        path: of any container and codec that FFmpeg decodes.

    Raises:
        SettingError: if PyAV is not installed.
        VideoError: if it is missing, no video, or has no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        self._av = load_av()
        if not path.is_file():
            raise VideoError(f"{path}: no such video; check the path")
        with self._opened() as container:
            self._stream(container)
            first = next(self._frames(container, Damage()), None)
            if first is None:
                raise VideoError(f"{path}: has no frame that can be decoded; export the video again")
            self.facts = self._facts(container, first)

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames; `damage` says afterwards what was left out."""
        self.damage = Damage()
        with self._opened() as container:
            for number, frame in enumerate(self._frames(container, self.damage)):
                yield VideoFrame(_upright(frame, self._ratio), self._time(frame, number))

    def _opened(self) -> Any:
        try:
            return self._av.open(str(self.path), metadata_errors="ignore")
        except (OSError, ValueError, EOFError) as error:
            raise VideoError(
                f"{self.path}: is no video, or one of a kind that FFmpeg does not know ({_cause(error)})"
            ) from error

    def _stream(self, container: Any) -> Any:
        streams = [one for one in container.streams.video if not one.disposition & _COVER]
        if not streams:
            raise VideoError(f"{self.path}: has no video in it, sound alone or a cover; name another file")
        return streams[0]

    def _frames(self, container: Any, damage: Damage) -> Iterator[Any]:
        """Decoded frames in the order in which they are shown; damaged packets are counted."""
        stream = self._stream(container)
        stream.thread_type = "SLICE"  # with whole frames in threads an error also loses a frame beside it
        packets, in_a_row = container.demux(stream), 0
        while True:
            try:
                packet = next(packets, None)
            except self._av.error.FFmpegError:
                damage.breaks_off = True
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except self._av.error.EOFError:
                return
            except (self._av.error.FFmpegError, MemoryError):
                damage.packets += 1
                in_a_row += 1
                if damage.first_s is None and packet.pts is not None:
                    damage.first_s = float(packet.pts * packet.time_base)
                if in_a_row == _MOST_DAMAGED:
                    damage.breaks_off = True
                    return
                continue
            for frame in frames:
                in_a_row = 0
                if frame.is_corrupt:
                    damage.packets += 1
                    if damage.first_s is None and frame.pts is not None:
                        damage.first_s = float(frame.pts * frame.time_base)
                yield frame

    def _facts(self, container: Any, first: Any) -> VideoFacts:
        stream = self._stream(container)
        rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
        frames = stream.frames
        if not frames and container.duration:
            frames = round(container.duration / self._av.time_base * rate)
        sound = container.streams.audio[0].codec_context.name if container.streams.audio else None
        self._rate = Fraction(rate)
        self._ratio = Fraction(stream.sample_aspect_ratio or 1)
        height, width = _upright(first, self._ratio).shape[:2]
        return VideoFacts(width, height, frames or None, self._rate, sound)

    def _time(self, frame: Any, number: int) -> float:
        if frame.pts is None:
            return float(number / self._rate)
        return float(frame.pts * frame.time_base)


class PreviewWriter:
    """Writes an MP4 file of H.264, with the sound of another video, frame by frame at that video's times.

    Args:
        path: the file; the caller sees to it that it is complete or absent.
        size: height and width of the pictures that come.
        rate: frames a second, on average.
        sound_of: the video whose sound is taken; None is silent.

    Raises:
        SettingError: if PyAV is not installed.
        OutputError: if it cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, sound_of: Path | None) -> None:
        self._av = load_av()
        self.path = path
        self.problem: str | None = None
        """Why there is no sound, in one line."""
        scale = min(1.0, LARGEST_PREVIEW / max(size))
        height, width = (max(2, round(side * scale / 2) * 2) for side in size)  # H.264 halves its colours
        self._size = (width, height)
        self._stack = ExitStack()
        self._last = -1
        self._sound: Iterator[tuple[float, Callable[[], None]]] = iter(())
        self._waiting: tuple[float, Callable[[], None]] | None = None
        try:
            self._out = self._stack.enter_context(
                self._av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
            )
            self._stream = self._out.add_stream(
                "libx264", rate=rate, options={"crf": "18", "preset": "medium", "rc-lookahead": "10"}
            )
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = _CLOCK
            if sound_of is not None:
                self._sound = self._sounding(sound_of)
                self._waiting = next(self._sound, None)
        except (OSError, ValueError) as error:
            self._stack.close()
            raise OutputError(f"cannot write {path}: {_cause(error)}; choose another place") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._mux(self._stream.encode(None))
                self._sound_until(None)

    def write(self, rgb: Picture, time_s: float) -> None:
        """Add a picture (H, W, 3) that is shown from a time on; times rise.

        Raises:
            OutputError: if it cannot be written.
        """
        if (rgb.shape[1], rgb.shape[0]) != self._size:
            rgb = np.asarray(cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        self._last = max(self._last + 1, round(time_s / _CLOCK))
        frame.pts, frame.time_base = self._last, _CLOCK
        try:
            self._mux(self._stream.encode(frame))
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {_cause(error)}; choose another place") from error
        self._sound_until(time_s)

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._out.mux(packet)

    def _sound_until(self, time_s: float | None) -> None:
        """Write the sound up to a time, so that neither picture nor sound waits for the other in memory."""
        while self._waiting is not None and (time_s is None or self._waiting[0] <= time_s):
            self._waiting[1]()
            self._waiting = next(self._sound, None)

    def _sounding(self, source: Path) -> Iterator[tuple[float, Callable[[], None]]]:
        """The sound's packets: when each begins, and what writes it."""
        container = self._stack.enter_context(self._av.open(str(source), metadata_errors="ignore"))
        if not container.streams.audio:
            return iter(())
        given = container.streams.audio[0]
        if given.codec_context.name in COPIED_SOUND:
            copied = self._out.add_stream_from_template(given)
            return self._copied(container, given, copied)
        made = self._out.add_stream("aac", rate=given.codec_context.sample_rate or 48000)
        return self._coded_anew(container, given, made)

    def _copied(self, container: Any, given: Any, copied: Any) -> Iterator[tuple[float, Callable[[], None]]]:
        for packet in self._until_damage(container.demux(given)):
            if packet.dts is None or not packet.size:
                continue
            begins = float(packet.dts * packet.time_base)
            packet.stream = copied
            yield begins, partial(self._out.mux, packet)

    def _coded_anew(
        self, container: Any, given: Any, made: Any
    ) -> Iterator[tuple[float, Callable[[], None]]]:
        for frame in self._until_damage(container.decode(given)):
            begins = float(frame.pts * frame.time_base) if frame.pts is not None else 0.0
            yield begins, partial(self._code_and_mux, made, frame)
        yield float("inf"), partial(self._code_and_mux, made, None)

    def _code_and_mux(self, made: Any, frame: Any) -> None:
        self._mux(made.encode(frame))

    def _until_damage(self, parts: Iterator[Any]) -> Iterator[Any]:
        while True:
            try:
                part = next(parts, None)
            except self._av.error.FFmpegError as error:
                self.problem = f"the sound breaks off ({_cause(error)}); the preview is silent from there"
                return
            if part is None:
                return
            yield part


_CLOCK = Fraction(1, 90000)
"""Unit of a preview's times, that of most cameras: exact to a hundredth of a millisecond."""
_COVER = 0x400
"""FFmpeg's flag of a picture that comes with music."""


def _upright(frame: Any, ratio: Fraction) -> Picture:
    """A decoded frame's colours (H, W, 3), turned as the camera was held.

    Args:
        frame: of PyAV.
        ratio: width of its pixels by their height; the result's are square.
    """
    width = max(1, round(frame.width * ratio))
    pixels: Picture = frame.reformat(width=width, height=frame.height, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _cause(error: Exception) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
