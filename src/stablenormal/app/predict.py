"""The job behind `stablenormal predict`: photographs in, normal maps, a record and a page out."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stablenormal.app.gallery import GalleryItem, write_gallery
from stablenormal.app.model_settings import described
from stablenormal.app.naming import Found, Job, ResultFiles, find_jobs, result_files
from stablenormal.app.predict_settings import AUTO_MASK, PredictSettings, require_masks
from stablenormal.app.previews import (
    frame_legend,
    normals_preview,
    photo_preview,
    problem_of,
    uncertainty_preview,
)
from stablenormal.app.run_record import (
    FileResult,
    RunStatus,
    Status,
    earlier_results,
    keep_record,
    settled,
    write_record,
)
from stablenormal.applications.foreground import foreground
from stablenormal.errors import ImageReadError, OutputError, SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.choice import UNSAID
from stablenormal.io.fingerprint import MadeFrom, made_from
from stablenormal.io.image import Photograph, picture_size, read_image, require_pixels, write_image
from stablenormal.io.mask_files import find_mask
from stablenormal.io.normal_map import write_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.uncertainty_map import write_uncertainty_map
from stablenormal.models.spec import Quality
from stablenormal.pipelines import NormalsOutput, StableNormal


@dataclass(frozen=True)
class PredictReport:
    """What a run did."""

    results: tuple[FileResult, ...]
    interrupted: bool
    """Whether the user stopped it; what is there then is complete files."""
    page: Path
    record: Path
    seconds: float
    device: str
    dtype: str
    page_problem: str | None = None
    """Why there is no new page, in one line; the results are complete all the same."""
    earlier: Path | None = None
    """Where the record of the run before lies now, if there was one."""

    def count(self, status: Status) -> int:
        """Number of photographs that ended this way."""
        return sum(result.status == status for result in self.results)


@dataclass
class _Run:
    """Where a run stands."""

    folder: OutputFolder
    settings: PredictSettings
    pipeline: StableNormal
    started: datetime
    clock: float
    asked: Quality
    """The stages and views of every photograph."""
    computed_with: dict[str, Any]
    earlier: Path | None = None
    """Where the record of the run before lies now."""
    results: list[FileResult] = field(default_factory=list)

    @property
    def output(self) -> Path:
        """The folder of the results."""
        return self.folder.root


@dataclass(frozen=True)
class _Task:
    """A photograph with what makes its result."""

    job: Job
    mask: Path | None
    made_from: MadeFrom
    note: str | None = None
    """What the user should know of it, such as why an earlier result of its name is not kept."""

    @property
    def name(self) -> str:
        """Of its result."""
        return self.job.name

    def noting(self, line: str) -> "_Task":
        """The same with one more line for the user."""
        return replace(self, note=f"{self.note}; {line}" if self.note else line)


def predict(
    inputs: Sequence[str] | Found,
    output: Path,
    settings: PredictSettings,
    *,
    masks: Path | None = None,
    pipeline: StableNormal | None = None,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: Callable[[FileResult], None] = lambda result: None,
) -> PredictReport:
    """Write the normals of photographs, `run.json` and `index.html`.

    A photograph that fails is reported and the rest goes on. A keyboard interrupt ends the run early, with
    complete files and an honest record.

    Args:
        inputs: files, folders and glob patterns, or what `find_jobs` made of them.
        output: folder of the results; made if missing.
        settings: what to compute and write.
        masks: one mask for every photograph, or a folder with one mask of the same name each.
        pipeline: the model, if it is loaded already; None loads the one of the settings.
        on_start: is told the number of photographs.
        on_result: is told about each photograph when it is finished.

    Raises:
        SettingError, FrameError, ModelError, OfflineError, OutputError: if no photograph could work.
        ImageReadError: if there is none; nothing is written then.
    """
    require_masks(masks)
    found = inputs if isinstance(inputs, Found) else find_jobs(inputs, output, masks)
    jobs, problems = found.jobs, found.problems
    if not jobs:
        raise ImageReadError("; ".join(problem.message for problem in problems) or "no photograph was given")
    folder = OutputFolder(output)
    folder.require_writable()
    tasks, without_mask = _tasks(jobs, masks, settings)
    folder.reads([masks, *(job.source for job in jobs), *(task.mask for task in tasks)])
    pipeline = pipeline or settings.load()
    run = _Run(
        folder,
        settings,
        pipeline,
        datetime.now(UTC),
        time.perf_counter(),
        asked := settings.asked(pipeline.spec),
        _computed_with(pipeline, settings, asked),
    )
    with_what = settled(run.computed_with)
    tasks = [replace(task, made_from={**task.made_from, **with_what}) for task in tasks]
    earlier = earlier_results(output / "run.json") if settings.skip_existing else {}
    folder.check([output / "run.json", output / "index.html"])
    run.earlier = keep_record(folder, output / "run.json")
    interrupted = False
    try:
        on_start(len(jobs) + len(problems))
        failed = [FileResult(problem.source, "", "failed", error=problem.message) for problem in problems]
        with closing(_results(run, tasks, [*failed, *without_mask], earlier)) as results:
            for result in results:
                run.results.append(result)
                on_result(result)
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        _write_record(run, "stopped")
        raise
    order = {str(job.source): place for place, job in enumerate(jobs)}
    run.results.sort(key=lambda result: order.get(result.source, -1))
    _write_record(run, "interrupted" if interrupted else "complete")
    return PredictReport(
        results=tuple(run.results),
        interrupted=interrupted,
        page=output / "index.html",
        record=output / "run.json",
        seconds=time.perf_counter() - run.clock,
        device=str(pipeline.device),
        dtype=_dtype_name(pipeline),
        page_problem=problem_of(lambda: _write_page(run), "the page"),
        earlier=run.earlier,
    )


def _tasks(
    jobs: Sequence[Job], masks: Path | None, settings: PredictSettings
) -> tuple[list[_Task], list[FileResult]]:
    """Each photograph with its mask and fingerprint, and the failures of those whose mask is missing."""
    tasks, failed = [], []
    for job in jobs:
        try:
            mask = masks if masks is None or masks.is_file() else find_mask(masks, job.relative, job.source)
        except ImageReadError as error:
            failed.append(_failed(job, error))
            continue
        facts: dict[str, Any] = {}
        if settings.choice != UNSAID:
            facts["choice of layer or part"] = asdict(settings.choice)
        if settings.auto_mask:
            facts["mask"] = AUTO_MASK
        made = made_from({"photograph": job.source, "mask": mask}, facts)
        tasks.append(_Task(job, mask, made))
    return tasks, failed


def _results(
    run: _Run, tasks: Sequence[_Task], failed: Sequence[FileResult], earlier: dict[str, FileResult]
) -> Generator[FileResult]:
    """The result of each photograph, as it becomes known."""
    yield from failed
    due: list[_Task] = []
    for task in tasks:
        files, known = _files(run, task.job), earlier.get(task.name)
        if known is not None and files.are_complete():
            if known.unchanged(task.made_from):
                yield _skipped(run, task, known)
                continue
            task = replace(task, note=known.why_again(task.job.source, task.made_from))
        try:
            run.folder.check(files.every())
            due.append(task)
        except OutputError as error:
            yield _failed(task.job, error)
    _write_record(run, "running")
    with _Hands() as hands:
        try:
            yield from _in_step(run, due, hands)
        finally:
            run.results += hands.give_up()


def _in_step(run: _Run, due: Sequence[_Task], hands: "_Hands") -> Iterator[FileResult]:
    """Read ahead, compute, write behind: a thread each; results come in the order of the photographs."""
    ahead = iter(due)
    reading: deque[tuple[_Task, Future[Photograph]]] = deque()
    waiting: list[tuple[_Task, Photograph]] = []
    for _ in due:
        for task in islice(ahead, run.settings.batch_size + 1 - len(reading)):
            reading.append((task, hands.reader.submit(_read, run, task)))
        task, photograph = reading.popleft()
        try:
            waiting.append((task, photograph.result()))
        except StableNormalError as error:
            hands.written.append(_known(_failed(task.job, error)))
        if len(waiting) == run.settings.batch_size:
            yield from _finish(run, waiting, hands)
            waiting = []
    yield from _finish(run, waiting, hands)
    yield from hands.finished()


class _Hands:
    """The threads beside the one that computes, and what they have written."""

    def __init__(self) -> None:
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self.written: deque[Future[FileResult]] = deque()
        """Results in order, some of them still being written."""

    def __enter__(self) -> "_Hands":
        return self

    def __exit__(self, *unused: object) -> None:
        for hand in (self.reader, self.writer):
            hand.shutdown(wait=True, cancel_futures=True)

    def finished(self) -> Iterator[FileResult]:
        """What was given to be written, in order, each once it is there."""
        while self.written:
            yield self.written.popleft().result()

    def give_up(self) -> list[FileResult]:
        """Let what is being written become complete, drop what is not begun; what nobody was told of yet."""
        self.__exit__()
        ended = [one for one in self.written if not one.cancelled() and one.exception() is None]
        self.written.clear()
        return [one.result() for one in ended]


def _known(result: FileResult) -> "Future[FileResult]":
    """A result that needs no writing."""
    known: Future[FileResult] = Future()
    known.set_result(result)
    return known


def _read(run: _Run, task: _Task) -> Photograph:
    photograph = read_image(task.job.source, task.mask, run.settings.choice)
    if run.settings.auto_mask:
        photograph = _only_foreground(photograph)
    require_pixels(photograph.valid, task.job.source)
    return photograph


def _finish(run: _Run, batch: Sequence[tuple[_Task, Photograph]], hands: _Hands) -> Iterator[FileResult]:
    """Compute a batch and have it written; where it fails as a whole, its photographs are tried one by one.

    What was written meanwhile is told before the writing begins.

    Raises:
        SettingError: if the model refuses an option; no photograph could work then.
    """
    if not batch:
        return
    start = time.perf_counter()
    try:
        output = _compute(run, [photograph for _, photograph in batch])
    except SettingError:
        raise
    except (StableNormalError, torch.OutOfMemoryError, MemoryError) as error:
        if len(batch) > 1:
            for single in batch:
                yield from _finish(run, [single], hands)
        else:
            hands.written.append(_known(_failed(batch[0][0].job, error)))
        return
    share = (time.perf_counter() - start) / len(batch)
    yield from hands.finished()
    spreads: Sequence[Tensor | None] = output.uncertainty_deg or [None] * len(batch)
    tiles = output.tiles or [None] * len(batch)
    for (task, photograph), normals, spread, count in zip(batch, output.normals, spreads, tiles, strict=True):
        if count == 1:
            task = task.noting(f"{task.job.source}: fits into one tile, so it was seen whole")
        hands.written.append(hands.writer.submit(_written, run, task, photograph, normals, spread, share))


def _written(
    run: _Run, task: _Task, photograph: Photograph, normals: Tensor, spread: Tensor | None, seconds: float
) -> FileResult:
    """The result of one photograph, computed in `seconds`, once its files are there."""
    start = time.perf_counter()
    try:
        result = _write(run, task, photograph, normals, spread)
        return replace(result, seconds=seconds + time.perf_counter() - start)
    except OutputError as error:
        return _failed(task.job, error)


def _compute(run: _Run, photographs: Sequence[Photograph]) -> NormalsOutput:
    settings = run.settings
    return run.pipeline(
        [channels_first(photograph.rgb) for photograph in photographs],  # (3, H, W)
        valid=[torch.from_numpy(photograph.valid) for photograph in photographs],  # (H, W)
        seed=settings.seed,
        uncertainty=settings.uncertainty,
        batch_size=settings.batch_size,
        tile=settings.tile,
        tile_size=settings.tile_size,
        tile_overlap=settings.tile_overlap,
        **settings.call,
    )


def _write(
    run: _Run, task: _Task, photograph: Photograph, normal_map: Tensor, spread: Tensor | None
) -> FileResult:
    """Write every file of one photograph; `normal_map` is (3, H, W), `spread` (H, W)."""
    files = _files(run, task.job)
    normals = channels_last(normal_map)  # (H, W, 3)
    uncertainty = None if spread is None else spread.numpy()

    def previews() -> None:
        write_image(files.photo_preview, photo_preview(photograph.rgb))
        write_image(files.normals_preview, normals_preview(normals, run.settings.frame))
        if uncertainty is not None and files.uncertainty_preview is not None:
            write_image(files.uncertainty_preview, uncertainty_preview(uncertainty, photograph.valid))

    with run.folder.writing(files.every()):
        for name, path in files.maps.items():
            write_normal_map(path, normals, frame=run.settings.frame, format=name)
        if uncertainty is not None:
            for path in files.uncertainty:
                write_uncertainty_map(path, uncertainty)
        problem = problem_of(previews, f"{task.job.source}: its preview")
    inside = np.zeros(0) if uncertainty is None else uncertainty[photograph.valid]
    return FileResult(
        source=str(task.job.source),
        name=task.name,
        status="done",
        outputs=_relative(run, files.wanted()),
        width=normals.shape[1],
        height=normals.shape[0],
        uncertainty_deg=float(inside.mean()) if inside.size else None,
        note="; ".join(line for line in (task.note, problem) if line) or None,
        made_from=task.made_from,
    )


def _files(run: _Run, job: Job) -> ResultFiles:
    return result_files(run.output, job.name, run.settings.formats, run.settings.uncertainty)


def _relative(run: _Run, paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(run.output).as_posix() for path in paths)


def _skipped(run: _Run, task: _Task, known: FileResult) -> FileResult:
    """The result of an earlier run, kept."""
    outputs = _relative(run, _files(run, task.job).wanted())
    source = str(task.job.source)
    return replace(known, source=source, status="skipped", outputs=outputs, error=None, note=None)


def _computed_with(pipeline: StableNormal, settings: PredictSettings, asked: Quality) -> dict[str, Any]:
    """What the numbers in the files depend on, besides the photograph."""
    cut = {"tiles": [settings.tile_size, settings.tile_overlap]} if settings.tile else {}
    return {
        **cut,
        "weight_hash": pipeline.weight_hash,
        "mode": asked.mode,
        "frame": settings.frame,
        "seed": settings.seed,
        "resolution": asked.sizes or None,
        "mirrored": asked.mirrored,
        "ensemble": settings.ensemble,
        "steps": settings.steps,
        "t_plus": settings.t_plus,
        "dtype": _dtype_name(pipeline),
    }


def _dtype_name(pipeline: StableNormal) -> str:
    return str(pipeline.dtype).removeprefix("torch.")


def _write_record(run: _Run, status: RunStatus) -> None:
    record = run.output / "run.json"
    with run.folder.writing([record]):
        write_record(
            record,
            status=status,
            started=run.started.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - run.clock,
            computed_with=run.computed_with,
            settings=asdict(run.settings),
            spec=asdict(run.pipeline.spec),
            device=str(run.pipeline.device),
            results=run.results,
        )


def _write_page(run: _Run) -> None:
    settings = run.settings
    shown = [result for result in run.results if result.status != "failed"]
    facts = {
        "Model": settings.model,
        "Mode": described(run.asked),
        "Seed": str(settings.seed),
        "Photographs": str(len(shown)),
        "Weights": str(run.computed_with["weight_hash"])[:12],
        "Made": run.started.strftime("%Y-%m-%d %H:%M UTC"),
    }
    if settings.ensemble > 1:
        facts["Ensemble"] = str(settings.ensemble)
    page = run.output / "index.html"
    items = [item for result in shown if (item := _gallery_item(run, result)) is not None]
    with run.folder.writing([page]):
        write_gallery(
            page,
            items,
            title="Surface normals",
            facts=facts,
            legend=frame_legend(settings.frame),
            problems=[result.error for result in run.results if result.error is not None],
        )


def _gallery_item(run: _Run, result: FileResult) -> GalleryItem | None:
    """What the page shows of a result; nothing if its previews could not be made."""
    files = _files(run, Job(Path(result.source), result.name))
    if not files.are_complete():
        return None
    width, height = picture_size(files.photo_preview)
    notes = [f"{result.width} × {result.height} px"] if result.width else []
    notes += [f"{result.seconds:.1f} s"] if result.seconds else []
    if result.uncertainty_deg is not None:
        notes.append(f"mean uncertainty {result.uncertainty_deg:.1f}°")
    photo, normals = _relative(run, (files.photo_preview, files.normals_preview))
    spread = files.uncertainty_preview
    return GalleryItem(
        name=result.name,
        photo=photo,
        normals=normals,
        uncertainty=None if spread is None else _relative(run, [spread])[0],
        width=width,
        height=height,
        note=" · ".join(notes),
        links={path.removeprefix(f"{result.name}_"): path for path in result.outputs},
        full=next((path for path in result.outputs if path.endswith("_normal.png")), None),
    )


def _only_foreground(photograph: Photograph) -> Photograph:
    try:
        found = foreground(photograph.rgb)
    except SettingError as error:
        raise ImageReadError(f"{photograph.path}: {error}") from error
    return replace(photograph, valid=photograph.valid & found)


def _failed(job: Job, error: Exception) -> FileResult:
    """What went wrong with one photograph, in one line that names it."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        text = "not enough memory; use a smaller --resolution or --batch-size"
    if str(job.source) not in text:
        text = f"{job.source}: {text}"
    return FileResult(str(job.source), job.name, "failed", error=text)
