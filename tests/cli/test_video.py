"""`stablenormal video`: what it writes, how it goes on after a kill, and what it says of bad videos."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from stablenormal import StableNormal, read_normal_map  # noqa: E402
from stablenormal.app import video_settings  # noqa: E402
from stablenormal.cli.main import main  # noqa: E402
from stablenormal.geometry.normals import angular_error_deg  # noqa: E402
from stablenormal.io.video import VideoReader  # noqa: E402
from stablenormal.pipelines import video as pipeline_video  # noqa: E402

Command = Callable[..., tuple[int, str, str]]
STAMPS = (0, 10, 20, 45, 50)
"""Hundredths of a second: the frame rate varies."""


def picture(number: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """Soft blotches that move to the left."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (height // 8 + 1, (width + 80) // 8, 3), dtype=np.uint8)
    large = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    return np.ascontiguousarray(large[:height, 2 * number : 2 * number + width])


def make(
    path: Path, stamps: tuple[int, ...] = STAMPS, size: tuple[int, int] = (48, 64), *,
    sound: bool = False, codec: str = "libx264", rotation: int = 0,
) -> Path:  # fmt: skip
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options={"g": "1", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = out.add_stream("aac", rate=48000) if sound else None
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.start_encoding()
        out.mux(stream.encode(None))
        if tone is not None:
            wave = np.full((1, 24000), 0.1, np.float32)
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], toy_model: Path) -> Command:
    """Runs `stablenormal video` with the toy model; exit code, stdout, stderr."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["video", *(str(word) for word in words), "--model", str(toy_model), "--device", "cpu"])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def frames(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "normals").iterdir())}


def test_a_telephones_video_gives_maps_times_a_preview_with_sound_and_a_record(
    command: Command, tmp_path: Path, toy_model: Path
) -> None:
    source, out = make(tmp_path / "walk.mov", sound=True, rotation=90), tmp_path / "out"
    code, told, problems = command(source, "-o", out, "--mode", "turbo", "--frame", "directx")
    assert (code, problems) == (0, "")
    assert "5 frames computed, 0 kept" in told and str(out / "preview.mp4") in told
    assert list(frames(out)) == [f"{number:06d}_normal.png" for number in range(5)]
    rows = list(csv.DictReader((out / "frames.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [f"normals/{name}" for name in frames(out)]
    assert np.allclose([float(row["time_s"]) for row in rows], np.array(STAMPS) / 100, atol=1e-3)
    first = read_normal_map(out / "normals/000000_normal.png")
    assert first.stored_frame == "directx" and first.valid.shape == (64, 48)
    upright = next(iter(VideoReader(source))).rgb
    expected = StableNormal.from_pretrained(toy_model, device="cpu")(upright, mode="turbo").numpy()
    assert angular_error_deg(first.normals, expected).max() < 0.01
    shown = VideoReader(out / "preview.mp4")
    assert (shown.facts.width, shown.facts.height, shown.facts.sound) == (96, 64, "aac")
    assert np.allclose([frame.time_s for frame in shown], np.array(STAMPS) / 100, atol=1e-3)
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "complete" and record["frames"] == 5 and record["settings"]["carry"] == 0.85
    assert record["video"]["width"] == 48 and not record["problems"]


def test_other_files_and_previews(command: Command, tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", STAMPS[:2])
    assert (
        command(source, "-o", tmp_path / "e", "--mode", "turbo", "--format", "exr", "--preview", "normals")[0]
        == 0
    )
    assert list(frames(tmp_path / "e")) == ["000000_normal.exr", "000001_normal.exr"]
    assert VideoReader(tmp_path / "e/preview.mp4").facts.width == 64
    assert (
        command(source, "-o", tmp_path / "n", "--mode", "turbo", "--preview", "none", "--carry", "0")[0] == 0
    )
    assert not (tmp_path / "n/preview.mp4").exists()


def test_a_killed_run_goes_on_and_writes_the_same_bytes(
    command: Command, tmp_path: Path, toy_model: Path
) -> None:
    source = make(tmp_path / "a.mp4", tuple(range(0, 80, 10)))
    words = [str(source), "--mode", "full", "--steps", "2", "--dtype", "float32"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    line = [sys.executable, "-m", "stablenormal", "video", *words, "-o", str(killed)]
    line += ["--model", str(toy_model), "--device", "cpu"]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    third = killed / "normals/000002_normal.png"
    while not third.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    made = {path.name for path in (killed / "normals").glob("[0-9]*")}
    assert 3 <= len(made) < 8 and not (killed / "preview.mp4").exists()
    assert json.loads((killed / "run.json").read_text())["status"] == "running"
    before = {name: (killed / "normals" / name).stat().st_mtime_ns for name in made}
    code, told, problems = command(*words, "-o", killed, "--skip-existing")
    assert (code, problems) == (0, "")
    assert f"{8 - len(made)} frames computed, {len(made)} kept" in told
    assert {name: (killed / "normals" / name).stat().st_mtime_ns for name in made} == before
    assert command(*words, "-o", whole)[0] == 0
    assert frames(killed) == frames(whole)
    assert (killed / "frames.csv").read_bytes() == (whole / "frames.csv").read_bytes()


def test_frames_of_other_settings_or_another_video_are_computed_again(
    command: Command, tmp_path: Path
) -> None:
    source, out = make(tmp_path / "a.mp4", STAMPS[:3]), tmp_path / "out"
    words = ["-o", out, "--mode", "turbo", "--preview", "none", "--skip-existing"]
    assert "3 frames computed, 0 kept" in command(source, *words)[1]
    assert "0 frames computed, 3 kept" in command(source, *words)[1]
    first = frames(out)
    code, told, notes = command(source, *words, "--carry", "0.5")
    assert code == 0 and "3 frames computed, 0 kept" in told
    assert notes.startswith(f"note: {source}: computed again") and "carry" in notes and notes.count("\n") == 1
    assert frames(out) != first
    (out / "normals/000001_normal.png").write_bytes(b"")
    code, _, problems = command(source, *words, "--carry", "0.5")
    assert code == 1 and "000001_normal.png: was not made by this program, or was changed" in problems


def test_ctrl_c_leaves_complete_files(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make(tmp_path / "a.mp4"), tmp_path / "out"
    whole, calls = pipeline_video.VideoNormals.__call__, []

    def stopping(self: pipeline_video.VideoNormals, image: Any) -> Any:
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, image)

    monkeypatch.setattr(pipeline_video.VideoNormals, "__call__", stopping)
    code, told, problems = command(source, "-o", out, "--mode", "turbo")
    assert code == 130 and "2 frames computed" in told and "preview" not in told
    assert problems.startswith("interrupted: every file written so far is complete")
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert sorted(path.name for path in out.iterdir()) == [".stablenormal.jsonl", "normals", "run.json"]
    assert all(read_normal_map(path).valid.all() for path in (out / "normals").iterdir())
    monkeypatch.undo()
    assert "3 frames computed, 2 kept" in command(source, "-o", out, "--mode", "turbo", "--skip-existing")[1]


def test_a_damaged_middle_is_one_line_and_the_rest_is_done(command: Command, tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", codec="ffv1")
    with av.open(str(source)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    place, size = packets[2]
    data[place + 8 : place + size - 2] = b"\xff" * (size - 10)
    source.write_bytes(data)
    code, told, problems = command(source, "-o", tmp_path / "out", "--mode", "turbo")
    assert code == 1 and "4 frames computed" in told and len(frames(tmp_path / "out")) == 4
    assert (
        problems.startswith(f"error: {source}: a piece is damaged near 0.20 s") and problems.count("\n") == 1
    )
    assert VideoReader(tmp_path / "out/preview.mp4").facts.frames == 4


def test_a_size_that_changes_is_one_line_and_goes_on(command: Command, tmp_path: Path) -> None:
    parts = [
        make(tmp_path / f"{name}.h264", STAMPS[:2], size) for name, size in (("a", (48, 64)), ("b", (64, 96)))
    ]
    source = tmp_path / "both.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    code, _, notes = command(source, "-o", tmp_path / "out", "--mode", "turbo")
    assert code == 0 and notes.count("\n") == 1
    assert "from frame 2 on the picture is 96 x 64 pixels instead of 64 x 48" in notes
    maps = sorted((tmp_path / "out/normals").iterdir())
    assert [read_normal_map(path).valid.shape for path in maps] == [(48, 64)] * 2 + [(64, 96)] * 2
    assert len(list(VideoReader(tmp_path / "out/preview.mp4"))) == 4


def test_what_is_no_video_writes_nothing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    make(tmp_path / "none.mp4", ())
    for name, line in (("text.mp4", "is no video"), ("none.mp4", "has no video in it")):
        code, _, problems = command(tmp_path / name, "-o", tmp_path / "out")
        assert code == 1 and line in problems and problems.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_the_extra_one_line_says_what_to_install(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "a.mp4", STAMPS[:1])
    monkeypatch.setitem(sys.modules, "av", None)
    code, _, problems = command(source, "-o", tmp_path / "out")
    assert code == 1 and "pip install 'stablenormal[video]'" in problems and problems.count("\n") == 1


def test_the_command_and_the_library_carry_the_same_share() -> None:
    assert video_settings.CARRY == pipeline_video.CARRY
