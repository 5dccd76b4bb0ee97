"""The job behind `stablenormal variance`: images and seeds in, spread, maps and a page out."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablenormal.app.measurement import REGION_NAMES, made, write_pictures, write_record, write_table
from stablenormal.app.model_settings import ModelSettings, described, load_estimator
from stablenormal.app.previews import (
    UNCERTAINTY_TOP_DEG,
    frame_legend,
    normals_preview,
    photo_preview,
    problem_of,
    uncertainty_preview,
)
from stablenormal.app.report_page import Card, Group, Table, write_report_page
from stablenormal.app.run_record import keep_record
from stablenormal.errors import SettingError
from stablenormal.evaluation.benchmarks import list_benchmark
from stablenormal.evaluation.pairs import Entry
from stablenormal.evaluation.variance import (
    LEAST_SEEDS,
    ImageVariance,
    SeedsCompared,
    Spread,
    VarianceEvaluator,
    VarianceSummary,
)
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import valid_pixels
from stablenormal.io.image import read_image, require_pixels
from stablenormal.io.image_files import list_images
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.uncertainty_map import write_uncertainty_map
from stablenormal.models.spec import Quality


@dataclass(frozen=True)
class VarianceSettings:
    """The options of a run; saved with its numbers.

    Raises:
        SettingError: when made with neither or both of photographs and a set, or too few seeds.
    """

    model: ModelSettings
    """The model and how it is run."""
    inputs: tuple[str, ...] = ()
    """Photographs, folders or globs, without ground truth."""
    benchmark: str | None = None
    """A name in `evaluation.benchmarks.BENCHMARKS`, instead."""
    root: str | None = None
    """Folder of that set."""
    part: str | None = None
    """`indoor` or `outdoor`, of DIODE."""
    truth_frame: str | None = None
    """Frame of the ground truth, of sets that do not fix it."""
    seeds: int = 10
    """How many seeds."""
    first_seed: int = 0
    """The smallest seed; ensembles of different seeds share no member."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if (self.benchmark is None) == (not self.inputs):
            raise SettingError("give either photographs or --benchmark, not both and not neither")
        if (self.benchmark is None) != (self.root is None):
            raise SettingError("--benchmark and --root belong together; give both or neither")
        if self.benchmark is None and (self.part or self.truth_frame):
            raise SettingError(
                "--part and --truth-frame are for --benchmark; leave them out with photographs"
            )
        if self.seeds < LEAST_SEEDS:
            raise SettingError(f"--seeds: {self.seeds} is too small; use {LEAST_SEEDS} or more")
        if self.first_seed < 0:
            raise SettingError(f"--first-seed: {self.first_seed} is too small; use 0 or more")


@dataclass(frozen=True)
class VarianceReport:
    """What a run found, and where it lies."""

    summary: VarianceSummary
    page: Path
    record: Path
    table: Path
    seconds: float
    page_problem: str | None = None
    """Why there is no new page, in one line; the numbers are complete all the same."""
    warnings: tuple[str, ...] = ()
    """What makes the numbers say less than they seem to."""
    earlier: Path | None = None
    """Where the record of the run before lies now, if there was one."""


@dataclass(frozen=True, eq=False)
class _Input:
    """One image to run, read when it is needed."""

    name: str
    load: Callable[[], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
    """Image (H, W, 3) and ground truth (H, W, 3), if there is one."""
    files: tuple[Path, ...]
    """What is read."""


def variance(
    output: Path,
    settings: VarianceSettings,
    *,
    on_start: Callable[[int], None] = lambda total: None,
    on_image: Callable[[ImageVariance], None] = lambda result: None,
) -> VarianceReport:
    """Run a model with several seeds and measure how far its results lie apart.

    Args:
        output: folder of the results: `index.html`, `variance.json`, `images.csv`, `spread/` (16-bit PNG in
        hundredths
            of a degree), `shown/` (previews).
        settings: everything else.
        on_start: called once with the number of images.
        on_image: called after each image.

    Raises:
        SettingError, DataError, ImageReadError, NormalMapError, ModelError: on the first thing that is wrong.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    inputs = _inputs(settings)
    folder = OutputFolder(output, (file for one in inputs for file in one.files))
    page, record, table = (output / name for name in ("index.html", "variance.json", "images.csv"))
    folder.check([page, record, table, *(folder.path(_spread(one.name)) for one in inputs)])
    estimate, weight_hash, asked, same_for_every_seed = load_estimator(settings.model)
    earlier = keep_record(folder, record)
    on_start(len(inputs))
    step = settings.model.ensemble
    seeds = [settings.first_seed + k * step for k in range(settings.seeds)]
    evaluator = VarianceEvaluator(estimate, seeds)
    cards = []
    for one in inputs:
        image, truth = one.load()
        compared = evaluator.add(
            one.name, channels_first(image), None if truth is None else channels_first(truth)
        )
        cards.append(_write_maps(folder, one.name, image, compared))
        on_image(compared.result)
    report = VarianceReport(
        summary=evaluator.summary(),
        page=page,
        record=record,
        table=table,
        seconds=time.monotonic() - clock,
        warnings=() if same_for_every_seed is None else (same_for_every_seed,),
        earlier=earlier,
    )
    with folder.writing([record, table]):
        write_record(
            record,
            started=started,
            seconds=report.seconds,
            settings=settings,
            facts={"seeds": seeds, "weight_hash": weight_hash, "warnings": report.warnings},
            edges={"of": "mean prediction" if settings.benchmark is None else "ground truth"},
            summary=report.summary,
            images=evaluator.results,
        )
        write_table(table, _columns(), map(_row, evaluator.results))
    order = sorted(range(len(cards)), key=lambda k: evaluator.results[k].everywhere.mean, reverse=True)

    def show() -> None:
        with folder.writing([page]):
            _write_page(report, settings, asked, weight_hash, [cards[k] for k in order], started)

    return replace(report, page_problem=problem_of(show, "the page"))


def summary_rows(summary: VarianceSummary) -> list[list[str]]:
    """The summary as a table: region, pixels, mean and 95th percentile of the spread."""
    rows = []
    for region, name in REGION_NAMES.items():
        spread: Spread | None = getattr(summary, region)
        if spread is not None:
            rows.append([name, f"{spread.count:,}", f"{spread.mean:.3f}", f"{spread.p95:.3f}"])
    return rows


def _shown_inputs(settings: VarianceSettings) -> str:
    """Where the images came from, for the page."""
    if settings.benchmark is not None:
        return f"{settings.benchmark} in {os.path.normpath(settings.root or '')}"
    return ", ".join(settings.inputs[:3]) + (" and more" if len(settings.inputs) > 3 else "")


def _inputs(settings: VarianceSettings) -> list[_Input]:
    if settings.benchmark is None:
        return [
            _Input(found.relative.as_posix(), partial(_photograph, found.path), (found.path,))
            for found in list_images(settings.inputs)
        ]
    root = Path(settings.root or "")
    entries = list_benchmark(settings.benchmark, root, part=settings.part, truth_frame=settings.truth_frame)
    return [_Input(entry.name, partial(_pair, entry), (entry.photograph, entry.truth)) for entry in entries]


def _photograph(path: Path) -> tuple[NDArray[np.float32], None]:
    photograph = read_image(path)
    require_pixels(photograph.valid, path)
    return photograph.rgb, None


def _spread(name: str) -> str:
    return f"spread/{name}.png"


def _pair(entry: Entry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pair = entry.load()
    return pair.image, pair.normals


def _write_maps(folder: OutputFolder, name: str, image: NDArray[np.float32], compared: SeedsCompared) -> Card:
    """The spread as numbers and as a picture, and what to see beside it."""
    normals = channels_last(compared.mean_normals)
    spread = compared.spread_deg.numpy()
    file = folder.path(_spread(name))
    with folder.writing([file]):
        write_uncertainty_map(file, spread)
    previews = {
        "photograph": photo_preview(image),
        "mean normals": normals_preview(normals, "opengl"),
        "spread": uncertainty_preview(spread, valid_pixels(normals)),
    }
    pictures = write_pictures(folder, name, previews)
    everywhere = compared.result.everywhere
    note = f"spread: mean {everywhere.mean:.2f}°, 95th percentile {everywhere.p95:.2f}°"
    if compared.result.error_variance is not None:
        note += f"; variance of the mean error {compared.result.error_variance:.4f} degrees²"
    return Card(name, note, pictures)


def _columns() -> list[str]:
    spreads = [f"{region}_{column}" for region in REGION_NAMES for column in ("pixels", "mean", "p95")]
    return ["name", "error_variance", *spreads]


def _row(result: ImageVariance) -> list[object]:
    row: list[object] = [result.name, "" if result.error_variance is None else result.error_variance]
    for region in REGION_NAMES:
        spread: Spread | None = getattr(result, region)
        row += ["", "", ""] if spread is None else [spread.count, spread.mean, spread.p95]
    return row


def _write_page(
    report: VarianceReport,
    settings: VarianceSettings,
    asked: Quality,
    weight_hash: str,
    cards: Sequence[Card],
    started: datetime,
) -> None:
    summary = report.summary
    facts = {
        "On": _shown_inputs(settings),
        "Seeds": str(settings.seeds),
        "Images": str(summary.images),
        "Mode": described(asked),
        "Weights": weight_hash[:12],
        "Made": made(started),
    }
    if summary.error_variance is not None:
        facts["Variance of the image-mean error"] = f"{summary.error_variance:.4f} degrees²"
    header = ["", "pixels", "mean", "95th percentile"]
    write_report_page(
        report.page,
        title=f"Spread of {settings.model.model} over {settings.seeds} seeds",
        facts=facts,
        warnings=report.warnings,
        tables=[
            Table("Angle between the seeds' normals and their mean, degrees", header, summary_rows(summary))
        ],
        groups=[Group("Images, largest spread first", cards)],
        legend=frame_legend("opengl"),
        angles="Spread over the seeds",
        top_deg=UNCERTAINTY_TOP_DEG,
        files={
            "All numbers": "variance.json",
            "per image": "images.csv",
            "maps in hundredths of a degree": "spread/",
        },
    )
