"""The job behind `stablenormal video`: a video in, normals of every frame and a preview out.

What a frame's file holds is what the next frame is begun from, so that a run that was killed and goes on
writes the same bytes as one that was not.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stablenormal.app.naming import MAP_ENDINGS
from stablenormal.app.previews import normals_preview, photo_preview
from stablenormal.app.run_record import RunStatus, keep_record, settled, versions
from stablenormal.app.video_settings import VideoSettings
from stablenormal.errors import NormalMapError, SettingError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.atomic import atomic_path, write_bytes
from stablenormal.io.fingerprint import MadeFrom, changed, made_from
from stablenormal.io.map_formats import normal_map_files
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.video import PreviewWriter, VideoFrame, VideoReader
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.pipelines.video import VideoNormals

FRAMES_FOLDER = "normals"
RECORD, TIMES, PREVIEW = "run.json", "frames.csv", "preview.mp4"
REFRESH_S = 60.0
"""Seconds between two records of a running job."""


@dataclass(frozen=True)
class VideoReport:
    """What a run did."""

    frames: int
    """Whose normals are there."""
    kept: int
    """Of these from an earlier run."""
    seconds: float
    device: str
    interrupted: bool
    """Whether the user stopped it; what is there then is complete files."""
    folder: Path
    """Of the frames' normals."""
    preview: Path | None
    """None if none was asked for, or it was not reached."""
    record: Path
    problems: tuple[str, ...] = ()
    """One line for each thing that is wrong with the video."""
    notes: tuple[str, ...] = ()
    """One line for each thing to know of."""


@dataclass
class _Run:
    """Where a run stands."""

    folder: OutputFolder
    settings: VideoSettings
    pipeline: StableNormal
    reader: VideoReader
    made_from: MadeFrom
    computed_with: dict[str, Any]
    started: datetime
    clock: float
    times: list[float] = field(default_factory=list)
    kept: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def file(self, number: int) -> Path:
        """The normals of a frame."""
        name = f"{number:06d}{MAP_ENDINGS[self.settings.format]}"
        return self.folder.root / FRAMES_FOLDER / name


def video_normals(
    source: Path,
    output: Path,
    settings: VideoSettings,
    *,
    on_start: Callable[[str, int | None], None] = lambda stage, total: None,
    on_frame: Callable[[], None] = lambda: None,
) -> VideoReport:
    """Write the normals of a video's frames, their times, a preview and a record.

    Args:
        source: the video.
        output: folder of the results; made if missing.
        settings: what to compute and write.
        on_start: is told the name of a stage, and how many frames it will have, if that is known.
        on_frame: is called after each.

    Raises:
        VideoError: if the video cannot be read; nothing is written then.
        SettingError, ModelError, OfflineError, OutputError: if no frame could work.
    """
    reader = VideoReader(source)
    folder = OutputFolder(output, [source])
    folder.require_writable()
    folder.check([output / name for name in (RECORD, TIMES, PREVIEW)])
    pipeline = settings.load()
    computed_with = _computed_with(pipeline, settings)
    made = {**made_from({"video": source}), **settled(computed_with)}
    run = _Run(
        folder, settings, pipeline, reader, made, computed_with, datetime.now(UTC), time.perf_counter()
    )
    earlier = _frames_of_earlier_run(run) if settings.skip_existing else 0
    keep_record(folder, output / RECORD)
    preview, interrupted = None, False
    try:
        _write_record(run, "running")
        on_start("Normals", reader.facts.frames)
        _write_frames(run, earlier, on_frame)
        _write_times(run)
        if settings.preview != "none":
            on_start("Preview", len(run.times))
            preview = _write_preview(run, on_frame)
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        _write_record(run, "stopped")
        raise
    _write_record(run, "interrupted" if interrupted else "complete")
    return VideoReport(
        frames=len(run.times),
        kept=run.kept,
        seconds=time.perf_counter() - run.clock,
        device=str(pipeline.device),
        interrupted=interrupted,
        folder=output / FRAMES_FOLDER,
        preview=preview,
        record=output / RECORD,
        problems=tuple(run.problems),
        notes=tuple(run.notes),
    )


def _write_frames(run: _Run, earlier: int, on_frame: Callable[[], None]) -> None:
    """The normals of every frame from the first that is not there."""
    settings = run.settings
    video = VideoNormals(run.pipeline, carry=settings.carry, seed=settings.seed, **settings.call)
    size, recorded = None, time.perf_counter()
    for number, frame in enumerate(run.reader):
        if size is not None and frame.rgb.shape != size:
            run.notes.append(_of_another_size(run, number, frame))
        size = frame.rgb.shape
        image = torch.from_numpy(frame.rgb).permute(2, 0, 1).float() / 255  # (3, H, W)
        file = run.file(number)
        if number < earlier:
            run.kept += 1
        else:
            _write_normals(run, file, channels_last(_normals(video, image, run, number)))
        if number >= earlier - 1:
            video.keep(image, channels_first(read_normal_map(file).normals))
        run.times.append(frame.time_s)
        on_frame()
        if time.perf_counter() - recorded > REFRESH_S:
            _write_record(run, "running")
            recorded = time.perf_counter()
    told = run.reader.damage.told(run.reader.path)
    if told is not None:
        run.problems.append(told)


def _normals(video: VideoNormals, image: torch.Tensor, run: _Run, number: int) -> torch.Tensor:
    try:
        return video(image)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise SettingError(
            f"{run.reader.path}: no memory for frame {number} of {image.shape[2]} x {image.shape[1]} pixels; "
            "give a smaller --resolution"
        ) from error


def _write_normals(run: _Run, file: Path, normals: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    with run.folder.writing(normal_map_files(file, run.settings.format)):
        write_normal_map(file, normals, frame=run.settings.frame, format=run.settings.format)


def _write_preview(run: _Run, on_frame: Callable[[], None]) -> Path:
    """The video and its normals, or these alone, with its times and its sound."""
    path, rate = run.folder.root / PREVIEW, run.reader.facts.rate
    with run.folder.writing([path]), atomic_path(path) as temporary:
        pictures = _pictures(run)
        first, time_s = next(pictures)
        with PreviewWriter(temporary, (first.shape[0], first.shape[1]), rate, run.reader.path) as writer:
            writer.write(first, time_s)
            on_frame()
            for picture, time_s in pictures:
                writer.write(picture, time_s)
                on_frame()
        if writer.problem is not None:
            run.problems.append(f"{run.reader.path}: {writer.problem}")
    return path


def _pictures(run: _Run) -> Iterator[tuple[np.ndarray[Any, np.dtype[np.uint8]], float]]:
    for number, frame in enumerate(run.reader):
        shown = normals_preview(read_normal_map(run.file(number)).normals, run.settings.frame)
        if run.settings.preview == "side-by-side":
            photograph = photo_preview(np.divide(frame.rgb, 255, dtype=np.float32))
            shown = np.hstack([photograph, shown])
        yield shown, frame.time_s


def _write_times(run: _Run) -> None:
    """Number, file and time of each frame: how to play the sequence where the frame rate varies."""
    path = run.folder.root / TIMES
    lines = [
        f"{number},{FRAMES_FOLDER}/{run.file(number).name},{time_s:.6f}"
        for number, time_s in enumerate(run.times)
    ]
    with run.folder.writing([path]):
        write_bytes(path, "\n".join(["frame,file,time_s", *lines, ""]).encode("ascii"))


def _frames_of_earlier_run(run: _Run) -> int:
    """How many frames, from the first on, an earlier run made that this one would make again."""
    record = run.folder.root / RECORD
    before: Mapping[str, str] | None = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        before = dict(json.loads(record.read_text(encoding="utf-8"))["made_from"])
    if before is None or not run.folder.made(record):
        return 0
    different = changed(before, run.made_from)
    if different:
        run.notes.append(
            f"{run.reader.path}: computed again, as the earlier frames are of another {', '.join(different)}"
        )
        return 0
    count = 0
    while all(run.folder.made(file) for file in normal_map_files(run.file(count), run.settings.format)):
        try:
            read_normal_map(run.file(count))
        except NormalMapError:
            break
        count += 1
    return count


def _of_another_size(run: _Run, number: int, frame: VideoFrame) -> str:
    height, width = frame.rgb.shape[:2]
    facts = run.reader.facts
    return (
        f"{run.reader.path}: from frame {number} on the picture is {width} x {height} pixels instead of "
        f"{facts.width} x {facts.height}; its normals are too, and the preview is stretched"
    )


def _computed_with(pipeline: StableNormal, settings: VideoSettings) -> dict[str, Any]:
    """What the numbers in the files depend on, besides the video."""
    names = ("frame", "format", "seed", "carry", "resolution", "ensemble", "steps", "t_plus")
    return {
        "weight_hash": pipeline.weight_hash,
        "mode": asdict(settings.asked(pipeline.spec)),
        **{name: getattr(settings, name) for name in names},
        "dtype": str(pipeline.dtype).removeprefix("torch."),
    }


def _write_record(run: _Run, status: RunStatus) -> None:
    facts, seconds = run.reader.facts, time.perf_counter() - run.clock
    computed = len(run.times) - run.kept
    content = {
        "status": status,
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "video": {
            "source": str(run.reader.path),
            "width": facts.width,
            "height": facts.height,
            "frames": facts.frames,
            "frames_per_second": float(facts.rate),
            "sound": facts.sound,
        },
        "frames": len(run.times),
        "frames_kept": run.kept,
        "computed_per_second": round(computed / seconds, 4) if computed else None,
        "problems": run.problems,
        "notes": run.notes,
        "made_from": run.made_from,
        "computed_with": run.computed_with,
        "settings": asdict(run.settings),
        "spec": asdict(run.pipeline.spec),
        "device": str(run.pipeline.device),
        "versions": versions(),
    }
    record = run.folder.root / RECORD
    with run.folder.writing([record]):
        write_bytes(record, (json.dumps(content, indent=1) + "\n").encode("utf-8"))
