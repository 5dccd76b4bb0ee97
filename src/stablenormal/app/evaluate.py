"""The job behind `stablenormal evaluate`: a set and predictions in, numbers, error maps and a page out."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.app.measurement import (
    REGION_NAMES,
    made,
    picture_at,
    write_pictures,
    write_record,
    write_table,
)
from stablenormal.app.model_settings import ModelSettings, described, load_estimator
from stablenormal.app.previews import (
    angle_preview,
    frame_legend,
    normals_preview,
    photo_preview,
    problem_of,
)
from stablenormal.app.report_page import Card, Group, Table, write_report_page
from stablenormal.app.run_record import keep_record
from stablenormal.errors import SettingError
from stablenormal.evaluation.benchmarks import list_benchmark
from stablenormal.evaluation.metrics import THRESHOLDS_DEG, AngularMetrics
from stablenormal.evaluation.pairs import Entry, Pair
from stablenormal.evaluation.pooling import QUANTILE_ERROR_DEG
from stablenormal.evaluation.predictions import find_predictions, read_prediction
from stablenormal.evaluation.protocols import choose_protocol
from stablenormal.evaluation.run import REGIONS, Compared, Evaluator, ImageScore, Summary
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.output_folder import OutputFolder

ERROR_TOP_DEG = 60.0
"""Angle that gets the brightest colour of an error map."""

METRIC_NAMES = ("mean", "median", "RMSE", *(f"< {limit:g}°" for limit in THRESHOLDS_DEG))

_MOST_SOURCES = 60


@dataclass(frozen=True)
class EvaluateSettings:
    """The options of a run; saved with its numbers.

    Raises:
        SettingError: when made with neither or both of a model and predictions, or an option of the other.
    """

    benchmark: str
    """A name in `evaluation.benchmarks.BENCHMARKS`."""
    root: str
    """Folder of the set."""
    protocol: str = "dsine"
    """A name in `evaluation.protocols.PROTOCOLS`."""
    part: str | None = None
    """`indoor` or `outdoor`, of DIODE."""
    truth_frame: str | None = None
    """Frame of the ground truth, of sets that do not fix it."""
    predictions: str | None = None
    """Folder of normal maps to score."""
    frame: str | None = None
    """Their frame; None if the files say it themselves."""
    format: str | None = None
    """Their kind, a name in `evaluation.predictions.KINDS`; None: any, the same for all."""
    model: ModelSettings | None = None
    """The model to run and score."""
    seed: int | None = None
    """Of every image; the model's only."""
    shown: int = 6
    """How many of the worst and of the best images the page shows."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        choose_protocol(self.protocol)
        if (self.model is None) == (self.predictions is None):
            raise SettingError("give either --model or --predictions, not both and not neither")
        if self.model is not None and (self.frame is not None or self.format is not None):
            raise SettingError("--frame and --format say what --predictions are; leave them out with --model")
        if self.predictions is not None and self.seed is not None:
            raise SettingError("--seed is for --model; leave it out with --predictions")
        if self.seed is not None and self.seed < 0:
            raise SettingError(f"--seed: {self.seed} is too small; use 0 or more")
        if self.shown < 0:
            raise SettingError(f"--shown: {self.shown} is too small; use 0 or more")


@dataclass(frozen=True)
class EvaluateReport:
    """What a run found, and where it lies."""

    summary: Summary
    warnings: tuple[str, ...]
    page: Path
    record: Path
    table: Path
    seconds: float
    page_problem: str | None = None
    """Why there is no new page, in one line; the numbers are complete all the same."""
    earlier: Path | None = None
    """Where the record of the run before lies now, if there was one."""


@dataclass(frozen=True, eq=False)
class _Exhibit:
    """Pictures of one image, ready for the page."""

    score: ImageScore
    pictures: dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class _Source:
    """Where the scored normals come from."""

    predict: Callable[[Pair], Tensor]
    frame: str
    """The frame that they were declared in."""
    facts: dict[str, str]
    """What the record and the page say about it."""
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    """What is read of them."""


def evaluate(
    output: Path,
    settings: EvaluateSettings,
    *,
    on_start: Callable[[int], None] = lambda total: None,
    on_image: Callable[[ImageScore], None] = lambda score: None,
) -> EvaluateReport:
    """Score a model or predictions on a set.

    Args:
        output: folder of the results: `index.html`, `evaluation.json`, `images.csv`, `error-maps/`, `shown/`.
        settings: everything else.
        on_start: called once with the number of images.
        on_image: called after each image.

    Raises:
        SettingError, DataError, NormalMapError, FrameError, ImageReadError, ModelError: on the first thing
            that is wrong; nothing is resized or left out.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    entries = list_benchmark(
        settings.benchmark, Path(settings.root), part=settings.part, truth_frame=settings.truth_frame
    )
    source = _model_source(settings) if settings.model else _files_source(settings, entries)
    folder = OutputFolder(output, [*_read_files(entries), *source.files])
    page, record, table = (output / name for name in ("index.html", "evaluation.json", "images.csv"))
    maps = {entry.name: folder.path(_error_map(entry.name)) for entry in entries}
    folder.check([page, record, table, *maps.values()])
    earlier = keep_record(folder, record)
    on_start(len(entries))
    evaluator = Evaluator(choose_protocol(settings.protocol), source.frame)
    extremes = _Extremes(settings.shown)
    for entry in entries:
        pair = entry.load()
        prediction = source.predict(pair)
        compared = evaluator.add(pair, prediction)
        error_map = angle_preview(compared.angles_deg.numpy(), compared.valid.numpy(), ERROR_TOP_DEG)
        with folder.writing([maps[pair.name]]):
            write_image(maps[pair.name], error_map)
        extremes.offer(compared.score, partial(_exhibit, compared, pair, prediction, error_map))
        on_image(compared.score)
    summary = evaluator.summary()
    report = EvaluateReport(
        summary=summary,
        warnings=(*source.warnings, *_warnings(summary)),
        page=page,
        record=record,
        table=table,
        seconds=time.monotonic() - clock,
        earlier=earlier,
    )
    with folder.writing([record, table]):
        write_record(
            record,
            started=started,
            seconds=report.seconds,
            settings=settings,
            facts={
                "source": source.facts,
                "pooled_median_error_deg": QUANTILE_ERROR_DEG,
                "warnings": report.warnings,
            },
            edges={"of": "ground truth"},
            summary=summary,
            images=evaluator.scores,
        )
        write_table(table, _columns(), map(_row, evaluator.scores))

    def show() -> None:
        _write_page(folder, report, settings, source.facts, evaluator.scores, extremes, started)

    return replace(report, page_problem=problem_of(show, "the page"))


def _read_files(entries: Sequence[Entry]) -> list[Path]:
    return [file for entry in entries for file in (entry.photograph, entry.truth)]


class _Extremes:
    """The images with the largest and the smallest mean error so far, with their pictures."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.worst: list[_Exhibit] = []
        self.best: list[_Exhibit] = []

    def offer(self, score: ImageScore, make: Callable[[], _Exhibit]) -> None:
        """Keep an image if it belongs here; its pictures are only made then."""
        mean = score.everywhere.mean
        among_worst = len(self.worst) < self._count or (
            self._count > 0 and mean > self.worst[-1].score.everywhere.mean
        )
        among_best = len(self.best) < self._count or (
            self._count > 0 and mean < self.best[-1].score.everywhere.mean
        )
        if not (among_worst or among_best):
            return
        exhibit = make()
        if among_worst:
            self.worst = _sorted([*self.worst, exhibit])[::-1][: self._count]
        if among_best:
            self.best = _sorted([*self.best, exhibit])[: self._count]

    def groups(self) -> list[tuple[str, list[_Exhibit]]]:
        """Heading and images; of a small set no image stands in both."""
        worst = {one.score.name for one in self.worst}
        best = [one for one in self.best if one.score.name not in worst]
        return [("Worst images", self.worst), ("Best images", best)]


def _sorted(exhibits: Sequence[_Exhibit]) -> list[_Exhibit]:
    return sorted(exhibits, key=lambda one: one.score.everywhere.mean)


def _model_source(settings: EvaluateSettings) -> _Source:
    assert settings.model is not None, "the caller looked"
    estimate, weight_hash, asked, _ = load_estimator(settings.model)
    seed = settings.seed or 0
    return _Source(
        predict=lambda pair: estimate(channels_first(pair.image), seed),
        frame="opengl",
        facts={
            "Model": settings.model.model,
            "Mode": described(asked),
            **_told(settings.model),
            "Seed": str(seed),
            "Weights": weight_hash,
        },
    )


def _told(model: ModelSettings) -> dict[str, str]:
    """Options of a model that were given, for its page."""
    options = {
        "Ensemble": None if model.ensemble == 1 else model.ensemble,
        "Steps": model.steps,
        "t+": model.t_plus,
        "Number format": model.dtype,
    }
    return {label: str(value) for label, value in options.items() if value is not None}


def _set_facts(settings: EvaluateSettings) -> dict[str, str]:
    """Which set was measured on, for its page."""
    part = {} if settings.part is None else {"Part": settings.part}
    frame = {} if settings.truth_frame is None else {"Frame of the ground truth": settings.truth_frame}
    return {"Set": f"{settings.benchmark} in {os.path.normpath(settings.root)}", **part, **frame}


def _files_source(settings: EvaluateSettings, entries: Sequence[Entry]) -> _Source:
    predictions = find_predictions(Path(settings.predictions or ""), entries, settings.format)
    if choose_protocol(settings.protocol).eight_bit and predictions.kind != "png8":
        raise SettingError(
            f"{predictions.folder}: holds {predictions.kind}; protocol {settings.protocol} reads 8-bit PNGs "
            "only"
        )
    frame = settings.frame or read_normal_map(predictions.paths[entries[0].name]).stored_frame or "opengl"

    def predict(pair: Pair) -> Tensor:
        return read_prediction(predictions.paths[pair.name], settings.frame, pair.normals.shape[:2])

    facts = {"Predictions": str(predictions.folder), "Frame": frame, "Format": predictions.kind}
    warnings: tuple[str, ...] = ()
    if predictions.unused:
        warnings = (
            f"{predictions.folder}: {predictions.unused} normal maps there belong to no image of the set",
        )
    return _Source(predict, frame, facts, warnings, tuple(predictions.paths.values()))


def _warnings(summary: Summary) -> list[str]:
    warnings = [] if summary.frame_warning is None else [summary.frame_warning]
    if summary.missing:
        share = 100 * summary.missing / summary.everywhere.count
        warnings.append(
            f"{summary.missing} pixels ({share:.2g} %) have no prediction; each counts as an error of 90 "
            "degrees"
        )
    return warnings


def _exhibit(compared: Compared, pair: Pair, prediction: Tensor, error_map: NDArray[np.uint8]) -> _Exhibit:
    return _Exhibit(
        compared.score,
        {
            "photograph": photo_preview(pair.image),
            "prediction": normals_preview(channels_last(prediction), "opengl"),
            "ground truth": normals_preview(pair.normals, "opengl"),
            "error": error_map,
        },
    )


def _error_map(name: str) -> str:
    return f"error-maps/{name}.png"


def _columns() -> list[str]:
    metrics = ["pixels", "mean", "median", "rmse", *(f"below_{limit:g}" for limit in THRESHOLDS_DEG)]
    return ["name", "source", "missing", *(f"{region}_{column}" for region in REGIONS for column in metrics)]


def _row(score: ImageScore) -> list[object]:
    row: list[object] = [score.name, score.source, score.missing]
    for region in REGIONS:
        metrics: AngularMetrics | None = getattr(score, region)
        row += [""] * (len(METRIC_NAMES) + 1) if metrics is None else [metrics.count, *_values(metrics)]
    return row


def _values(metrics: AngularMetrics) -> list[float]:
    return [metrics.mean, metrics.median, metrics.rmse, *metrics.below.values()]


def summary_rows(summary: Summary) -> list[list[str]]:
    """The summary as a table: region, pixels, and the columns of `METRIC_NAMES`."""
    rows = []
    for region, name in REGION_NAMES.items():
        metrics: AngularMetrics | None = getattr(summary, region)
        if metrics is not None:
            rows.append([name, f"{metrics.count:,}", *metric_cells(metrics)])
    return rows


def metric_cells(metrics: AngularMetrics) -> list[str]:
    """Degrees with three decimals, percentages with two."""
    degrees = [f"{value:.3f}" for value in (metrics.mean, metrics.median, metrics.rmse)]
    return degrees + [f"{value:.2f}" for value in metrics.below.values()]


def _write_page(
    folder: OutputFolder,
    report: EvaluateReport,
    settings: EvaluateSettings,
    facts: dict[str, str],
    scores: Sequence[ImageScore],
    extremes: _Extremes,
    started: datetime,
) -> None:
    summary = report.summary
    scored = settings.model.model if settings.model else Path(settings.predictions or "").name
    tables = [Table("Errors in degrees, shares in %", ["", "pixels", *METRIC_NAMES], summary_rows(summary))]
    if 1 < len(summary.per_source) <= _MOST_SOURCES:
        rows = [[name, f"{mean:.3f}"] for name, mean in summary.per_source.items()]
        rows.append(["Mean over sources", f"{summary.mean_over_sources:.3f}"])
        tables.append(Table("Mean error by source, degrees", ["", "mean"], rows, folded=True))
    ordered = sorted(scores, key=lambda one: one.everywhere.mean, reverse=True)
    tables.append(
        Table(
            f"All {len(ordered)} images, worst first",
            ["", "pixels", *METRIC_NAMES],
            [[one.name, f"{one.everywhere.count:,}", *metric_cells(one.everywhere)] for one in ordered],
            links=[_error_map(one.name) for one in ordered],
            folded=True,
        )
    )
    groups = [
        Group(title, [_card(folder, exhibit) for exhibit in exhibits])
        for title, exhibits in extremes.groups()
    ]
    with folder.writing([report.page]):
        write_report_page(
            report.page,
            title=f"{scored} on {settings.benchmark}",
            facts={
                **_set_facts(settings),
                "Protocol": summary.protocol,
                "Images": str(summary.images),
                **{label: value[:12] if label == "Weights" else value for label, value in facts.items()},
                "Made": made(started),
            },
            warnings=report.warnings,
            tables=tables,
            groups=groups,
            legend=frame_legend("opengl"),
            angles="Angular error",
            top_deg=ERROR_TOP_DEG,
            files={"All numbers": "evaluation.json", "per image": "images.csv"},
        )


def _card(folder: OutputFolder, exhibit: _Exhibit) -> Card:
    metrics, name = exhibit.score.everywhere, exhibit.score.name
    previews = {label: picture for label, picture in exhibit.pictures.items() if label != "error"}
    pictures = write_pictures(folder, name, previews)
    pictures.append(picture_at(_error_map(name), "error", exhibit.pictures["error"]))  # lies there
    note = (
        f"mean {metrics.mean:.2f}°, median {metrics.median:.2f}°, {metrics.below[11.25]:.1f} % under 11.25°"
    )
    return Card(name, note, pictures)
