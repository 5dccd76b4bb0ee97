"""`stablenormal evaluate`: normal maps against measured ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli import choices, options
from stablenormal.cli.choices import existing, one_of
from stablenormal.cli.image_progress import image_progress, loading
from stablenormal.io.map_formats import MAP_FORMATS

DEFAULT_MODEL = "small"
"""What is scored where neither a model nor predictions are given, as in `variance`."""

if TYPE_CHECKING:
    from rich.console import Console

    from stablenormal.app.evaluate import EvaluateReport


def evaluate(
    context: typer.Context,
    benchmark: Annotated[
        str,
        typer.Option(help=f"{choices.listed(choices.BENCHMARKS)}.", callback=one_of(choices.BENCHMARKS)),
    ],
    root: Annotated[Path, typer.Option(help="Folder of the set.", callback=existing("folder"))],
    output: options.Output,
    model: Annotated[
        str | None,
        typer.Option(show_default="small, without --predictions", help=options.MODEL_HELP),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="Folder of normal maps of any estimator, instead.",
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            show_default="as the files say",
            help="Their frame: opengl, opencv, directx or dsine.",
            callback=one_of(choices.CAMERA_FRAMES),
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            show_default="any, all the same",
            help="Their kind: png8, png16, exr or npy.",
            callback=one_of(tuple(MAP_FORMATS)),
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help=f"{choices.listed(choices.PROTOCOLS)}.", callback=one_of(choices.PROTOCOLS))
    ] = "dsine",
    part: options.Part = None,
    truth_frame: options.TruthFrame = None,
    quality: options.Quality = None,
    mode: options.Mode = None,
    seed: Annotated[
        int | None, typer.Option(show_default="0", help="Seed of every image, of a model.")
    ] = None,
    ensemble: options.Ensemble = 1,
    steps: options.Steps = None,
    t_plus: options.TPlus = None,
    resolution: options.Resolution = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    trust_remote_code: options.TrustRemoteCode = False,
    shown: Annotated[int, typer.Option(help="How many worst and best images the page shows.")] = 6,
) -> None:
    """Score a model, or normal maps of any estimator, on a set with measured normals."""
    from rich.console import Console

    from stablenormal.errors import DataError, SettingError

    if model is None and predictions is None:
        model = DEFAULT_MODEL
    if model is None and (unused := options.given(context, *options.MODEL_OPTIONS)):
        raise SettingError(f"--{unused[0].replace('_', '-')} is for --model; leave it out with --predictions")
    if predictions is not None and not predictions.is_dir():
        raise DataError(f"--predictions: {predictions}: no such folder; check the path")
    estimator = None if model is None else options.model_settings(context, model)
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.evaluate import EvaluateSettings
        from stablenormal.app.evaluate import evaluate as run

    settings = EvaluateSettings(
        benchmark=benchmark,
        root=str(root),
        protocol=protocol,
        part=part,
        truth_frame=truth_frame,
        predictions=None if predictions is None else str(predictions),
        frame=frame,
        format=kind,
        model=estimator,
        seed=seed,
        shown=shown,
    )
    with image_progress(console, "Scoring") as (start, advance):
        report = run(output, settings, on_start=start, on_image=lambda score: advance())
    _show(console, report)


def _show(console: "Console", report: "EvaluateReport") -> None:
    """The summary table, warnings, and where everything is."""
    from rich.console import Console

    from stablenormal.app.evaluate import METRIC_NAMES, summary_rows
    from stablenormal.cli.tables import Column, show_table

    screen = Console()
    summary = report.summary
    rows = summary_rows(summary)
    show_table(
        [Column(""), *(Column(row[0], right=True) for row in rows)],
        [
            (name, *(row[place] for row in rows))
            for place, name in enumerate(("pixels", *METRIC_NAMES), start=1)
        ],
    )
    screen.print(
        f"protocol {summary.protocol}, {summary.images} images in {report.seconds:.1f} s; degrees, and "
        "shares in %",
        highlight=False,
        soft_wrap=True,
    )
    if len(summary.per_source) > 1:
        screen.print(
            f"mean over {len(summary.per_source)} sources: {summary.mean_over_sources:.3f}", highlight=False
        )
    if report.page_problem is not None:
        screen.print(f"note: {report.page_problem}", markup=False, highlight=False, soft_wrap=True)
    for label, path in (("page:  ", report.page), ("record:", report.record), ("images:", report.table)):
        screen.print(f"{label} {path}", markup=False, highlight=False, soft_wrap=True)
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
