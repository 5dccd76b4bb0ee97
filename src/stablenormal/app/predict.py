"""The job behind `stablenormal predict`: photographs in, normal maps, a record and a page out."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablenormal.app.gallery import GalleryItem, write_gallery
from stablenormal.app.naming import Job, Problem, ResultFiles, find_jobs, result_files
from stablenormal.app.predict_settings import PredictSettings
from stablenormal.app.previews import frame_legend, normals_preview, photo_preview, uncertainty_preview
from stablenormal.app.run_record import FileResult, RunStatus, Status, earlier_results, write_record
from stablenormal.errors import ImageReadError, OutputError, SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.atomic import atomic_path
from stablenormal.io.image import SUFFIXES, Photograph, read_image, write_image
from stablenormal.io.normal_map import write_normal_map
from stablenormal.io.uncertainty_map import write_uncertainty_map
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

    def count(self, status: Status) -> int:
        """Number of photographs that ended this way."""
        return sum(result.status == status for result in self.results)


@dataclass
class _Run:
    """Where a run stands."""

    output: Path
    settings: PredictSettings
    pipeline: StableNormal
    started: datetime
    clock: float
    computed_with: dict[str, Any]
    results: list[FileResult] = field(default_factory=list)


def predict(
    inputs: Sequence[str],
    output: Path,
    settings: PredictSettings,
    *,
    masks: Path | None = None,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: Callable[[FileResult], None] = lambda result: None,
) -> PredictReport:
    """Write the normals of photographs, `run.json` and `index.html`.

    A photograph that fails is reported and the rest goes on. A keyboard interrupt ends the run early, with
    complete files and an honest record.

    Args:
        inputs: files, folders and glob patterns.
        output: folder of the results; made if missing.
        settings: what to compute and write.
        masks: one mask for every photograph, or a folder with one mask of the same name each.
        on_start: is told the number of photographs.
        on_result: is told about each photograph when it is finished.

    Raises:
        SettingError, FrameError, ModelError, OfflineError, OutputError: if no photograph could work.
    """
    _require_masks(masks)
    _require_writable(output)
    jobs, problems = find_jobs(inputs, output)
    pipeline = StableNormal.from_pretrained(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        offline=settings.offline,
        trust_remote_code=settings.trust_remote_code,
    )
    run = _Run(
        output,
        settings,
        pipeline,
        datetime.now(UTC),
        time.perf_counter(),
        _computed_with(pipeline, settings),
    )
    earlier = earlier_results(output / "run.json", run.computed_with) if settings.skip_existing else {}
    interrupted = False
    try:
        on_start(len(jobs) + len(problems))
        for result in _results(run, jobs, problems, masks, earlier):
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
    _write_page(run)
    return PredictReport(
        results=tuple(run.results),
        interrupted=interrupted,
        page=output / "index.html",
        record=output / "run.json",
        seconds=time.perf_counter() - run.clock,
        device=str(pipeline.device),
        dtype=_dtype_name(pipeline),
    )


def _results(
    run: _Run,
    jobs: Sequence[Job],
    problems: Sequence[Problem],
    masks: Path | None,
    earlier: dict[str, FileResult],
) -> Iterator[FileResult]:
    """The result of each photograph, as it becomes known."""
    for problem in problems:
        yield FileResult(problem.source, "", "failed", error=problem.message)
    kept = {job for job in jobs if run.settings.skip_existing and _files(run, job).are_complete()}
    for job in (job for job in jobs if job in kept):
        yield _skipped(run, job, earlier)
    _write_record(run, "running")
    waiting: list[tuple[Job, Photograph]] = []
    for job in jobs:
        if job in kept:
            continue
        try:
            photograph = read_image(job.source, mask=_mask_of(job, masks))
        except StableNormalError as error:
            yield _failed(job, error)
            continue
        waiting.append((job, photograph))
        if len(waiting) == run.settings.batch_size:
            yield from _finish(run, waiting)
            waiting = []
    yield from _finish(run, waiting)


def _finish(run: _Run, batch: Sequence[tuple[Job, Photograph]]) -> Iterator[FileResult]:
    """Compute and write a batch; where it fails as a whole, its photographs are tried one by one.

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
                yield from _finish(run, [single])
        else:
            yield _failed(batch[0][0], error)
        return
    share = (time.perf_counter() - start) / len(batch)
    spreads: Sequence[Tensor | None] = output.uncertainty_deg or [None] * len(batch)
    for (job, photograph), normals, spread in zip(batch, output.normals, spreads, strict=True):
        start = time.perf_counter()
        try:
            result = _write(run, job, photograph, normals, spread)
            yield replace(result, seconds=share + time.perf_counter() - start)
        except OutputError as error:
            yield _failed(job, error)


def _compute(run: _Run, photographs: Sequence[Photograph]) -> NormalsOutput:
    settings = run.settings
    return run.pipeline(
        [channels_first(photograph.rgb) for photograph in photographs],  # (3, H, W)
        valid=[torch.from_numpy(photograph.valid) for photograph in photographs],  # (H, W)
        mode=settings.mode,
        seed=settings.seed,
        steps=settings.steps,
        t_plus=settings.t_plus,
        ensemble=settings.ensemble,
        uncertainty=settings.uncertainty,
        processing_resolution=settings.resolution,
        batch_size=settings.batch_size,
    )


def _write(
    run: _Run, job: Job, photograph: Photograph, normal_map: Tensor, spread: Tensor | None
) -> FileResult:
    """Write every file of one photograph; `normal_map` is (3, H, W), `spread` (H, W)."""
    files = _files(run, job)
    normals = channels_last(normal_map)  # (H, W, 3)
    for name, path in files.maps.items():
        write_normal_map(path, normals, frame=run.settings.frame, format=name)
    write_image(files.photo_preview, photo_preview(photograph.rgb))
    write_image(files.normals_preview, normals_preview(normals, run.settings.frame))
    result = FileResult(
        source=str(job.source),
        name=job.name,
        status="done",
        outputs=_relative(run, files.wanted()),
        width=normals.shape[1],
        height=normals.shape[0],
    )
    if spread is None or files.uncertainty_preview is None:
        return result
    uncertainty = spread.numpy()
    for path in files.uncertainty:
        write_uncertainty_map(path, uncertainty)
    write_image(files.uncertainty_preview, uncertainty_preview(uncertainty, photograph.valid))
    inside = uncertainty[photograph.valid]
    return replace(result, uncertainty_deg=float(inside.mean()) if inside.size else None)


def _files(run: _Run, job: Job) -> ResultFiles:
    return result_files(run.output, job.name, run.settings.formats, run.settings.uncertainty)


def _relative(run: _Run, paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(run.output).as_posix() for path in paths)


def _skipped(run: _Run, job: Job, earlier: dict[str, FileResult]) -> FileResult:
    """The result of an earlier run, kept."""
    known = earlier.get(job.name, FileResult(str(job.source), job.name, "skipped"))
    outputs = _relative(run, _files(run, job).wanted())
    return replace(known, source=str(job.source), status="skipped", outputs=outputs, error=None)


def _computed_with(pipeline: StableNormal, settings: PredictSettings) -> dict[str, Any]:
    """What the numbers in the files depend on, besides the photograph."""
    return {
        "weight_hash": pipeline.weight_hash,
        "mode": settings.mode,
        "frame": settings.frame,
        "seed": settings.seed,
        "resolution": settings.resolution,
        "ensemble": settings.ensemble,
        "steps": settings.steps,
        "t_plus": settings.t_plus,
        "dtype": _dtype_name(pipeline),
    }


def _dtype_name(pipeline: StableNormal) -> str:
    return str(pipeline.dtype).removeprefix("torch.")


def _write_record(run: _Run, status: RunStatus) -> None:
    write_record(
        run.output / "run.json",
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
        "Mode": settings.mode,
        "Seed": str(settings.seed),
        "Photographs": str(len(shown)),
        "Weights": str(run.computed_with["weight_hash"])[:12],
        "Made": run.started.strftime("%Y-%m-%d %H:%M UTC"),
    }
    if settings.ensemble > 1:
        facts["Ensemble"] = str(settings.ensemble)
    write_gallery(
        run.output / "index.html",
        [_gallery_item(run, result) for result in shown],
        title="Surface normals",
        facts=facts,
        legend=frame_legend(settings.frame),
        problems=[result.error for result in run.results if result.error is not None],
    )


def _gallery_item(run: _Run, result: FileResult) -> GalleryItem:
    files = _files(run, Job(Path(result.source), result.name))
    height, width = read_image(files.photo_preview).valid.shape
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
    )


def _require_masks(masks: Path | None) -> None:
    if masks is not None and not masks.exists():
        raise ImageReadError(f"--mask: {masks} does not exist; name a picture or a folder of pictures")


def _mask_of(job: Job, masks: Path | None) -> Path | None:
    """The mask of one photograph: the one given, or the one of its name in the folder given."""
    if masks is None or masks.is_file():
        return masks
    stem = job.source.stem
    for folder in dict.fromkeys((masks / Path(job.name).parent, masks)):
        for path in sorted(folder.glob(f"{escape(stem)}.*")):
            if path.suffix.lower() in SUFFIXES and path.stem == stem:
                return path
    raise ImageReadError(f"{job.source}: no mask named {stem} in {masks}; add one or leave out --mask")


def _require_writable(output: Path) -> None:
    """Find out before the work whether results can be written."""
    probe = output / "write_probe"
    with atomic_path(probe):
        pass
    probe.unlink()


def _failed(job: Job, error: Exception) -> FileResult:
    """What went wrong with one photograph, in one line that names it."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        text = "not enough memory; use a smaller --resolution or --batch-size"
    if str(job.source) not in text:
        text = f"{job.source}: {text}"
    return FileResult(str(job.source), job.name, "failed", error=text)
