"""`stablenormal variance`: how far the results of different seeds lie apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli import choices, options
from stablenormal.cli.choices import at_least, existing, one_of
from stablenormal.cli.image_progress import image_progress, loading
from stablenormal.io.image_files import list_images

if TYPE_CHECKING:
    from rich.console import Console

    from stablenormal.app.variance import VarianceReport


def variance(
    context: typer.Context,
    output: options.Output,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(show_default=False, help="Photographs, folders or globs; no ground truth needed."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            help="A set with ground truth, as of `evaluate`, instead.",
            callback=one_of(choices.BENCHMARKS),
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Folder of the set.", callback=existing("folder")),
    ] = None,
    part: options.Part = None,
    truth_frame: options.TruthFrame = None,
    seeds: Annotated[int, typer.Option(help="How many seeds.", callback=at_least(2))] = 10,
    first_seed: Annotated[int, typer.Option("--first-seed", help="The smallest seed.")] = 0,
    model: options.Model = "small",
    quality: options.Quality = None,
    mode: options.Mode = None,
    ensemble: options.Ensemble = 1,
    steps: options.Steps = None,
    t_plus: options.TPlus = None,
    resolution: options.Resolution = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Run a model with several seeds and measure the spread of its normals."""
    from rich.console import Console

    estimator = options.model_settings(context)
    if inputs and benchmark is None:
        list_images(inputs)
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.variance import VarianceSettings
        from stablenormal.app.variance import variance as run

    settings = VarianceSettings(
        model=estimator,
        inputs=tuple(inputs or ()),
        benchmark=benchmark,
        root=None if root is None else str(root),
        part=part,
        truth_frame=truth_frame,
        seeds=seeds,
        first_seed=first_seed,
    )
    with image_progress(console, "Seeds") as (start, advance):
        report = run(output, settings, on_start=start, on_image=lambda result: advance())
    _show(console, report, seeds)


def _show(console: "Console", report: "VarianceReport", seeds: int) -> None:
    """The summary table, the paper's number, and where everything is."""
    from rich.console import Console

    from stablenormal.app.variance import summary_rows
    from stablenormal.cli.tables import Column, show_table

    screen = Console()
    numbers = (Column(name, right=True) for name in ("pixels", "mean", "95th percentile"))
    show_table([Column("spread in degrees"), *numbers], summary_rows(report.summary))
    screen.print(f"{seeds} seeds, {report.summary.images} images in {report.seconds:.1f} s", highlight=False)
    if report.summary.error_variance is not None:
        screen.print(
            f"variance of the image-mean error: {report.summary.error_variance:.4f} degrees squared",
            highlight=False,
        )
    if report.page_problem is not None:
        screen.print(f"note: {report.page_problem}", markup=False, highlight=False, soft_wrap=True)
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    for label, path in (("page:  ", report.page), ("record:", report.record), ("images:", report.table)):
        screen.print(f"{label} {path}", markup=False, highlight=False, soft_wrap=True)
