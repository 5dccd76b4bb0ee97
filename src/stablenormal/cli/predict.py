"""`stablenormal predict`: photographs to normal maps."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli import options
from stablenormal.cli.one_line_errors import EXIT_FAILED, EXIT_INTERRUPTED
from stablenormal.cli.options import Seed

if TYPE_CHECKING:
    from rich.console import Console

    from stablenormal.app.predict import PredictReport
    from stablenormal.app.predict_settings import PredictSettings
    from stablenormal.app.run_record import FileResult

ROWS_SHOWN = 40
"""Longest table on the screen; the record has every file."""


def predict(
    context: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Photographs, folders (searched recursively) or globs.")
    ],
    output: options.Output,
    model: options.Model = "small",
    mode: options.Mode = "full",
    frame: Annotated[str, typer.Option(help="opengl, opencv, directx or dsine.")] = "opengl",
    formats: Annotated[
        str, typer.Option("--format", help="Files to write, with commas: png16, exr, npy, png8.")
    ] = "png16",
    mask: Annotated[
        Path | None, typer.Option(help="One mask, or a folder of masks named as the photographs.")
    ] = None,
    layer: options.Layer = None,
    part: options.FilePart = None,
    seed: Seed = 0,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = 1,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write the spread of the ensemble, in degrees.")
    ] = False,
    steps: options.Steps = None,
    t_plus: options.TPlus = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", help="Photographs of one size at a time; more than 1 may change the last bits."
        ),
    ] = 1,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep complete results of an earlier run.")
    ] = False,
    offline: options.Offline = False,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Write the surface normals of photographs, a page to look at them, and a record of the run."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Loading"):
        from stablenormal.app.predict_settings import PredictSettings
        from stablenormal.io.choice import Choice

    settings = PredictSettings(
        **options.model_options(context),
        frame=frame,
        formats=tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip())),
        seed=seed,
        uncertainty=uncertainty,
        batch_size=batch_size,
        skip_existing=skip_existing,
        choice=Choice(layer, part),
    )
    report = _run_with_progress(console, inputs, output, settings, mask)
    _show(console, report)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.count("failed"):
        raise typer.Exit(EXIT_FAILED)


def _run_with_progress(
    console: "Console", inputs: list[str], output: Path, settings: "PredictSettings", masks: Path | None
) -> "PredictReport":
    """Run the job behind a progress bar; each failure becomes a line above it at once."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stablenormal.app.predict import predict
    from stablenormal.app.run_record import FileResult

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )
    task = progress.add_task("Loading the model", total=None, rate="")

    done = 0

    def start(total: int) -> None:
        progress.reset(task, total=total, description="Normals", rate="")

    def advance(result: FileResult) -> None:
        if result.error is not None:
            console.print(f"error: {result.error}", markup=False, highlight=False, soft_wrap=True)
        if result.note is not None:
            console.print(f"note: {result.note}", markup=False, highlight=False, soft_wrap=True)
        nonlocal done
        done += result.status == "done"
        elapsed = progress.tasks[task].elapsed or 0.0
        rate = f"{done / elapsed:.2f} images/s" if done and elapsed else ""
        progress.update(task, advance=1, rate=rate)

    with progress:
        return predict(inputs, output, settings, masks=masks, on_start=start, on_result=advance)


def _show(console: "Console", report: "PredictReport") -> None:
    """The summary: a table, counts, where the results are, and how to resume."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    screen = Console(soft_wrap=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("photograph", overflow="fold")
    table.add_column("pixels", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("result", overflow="fold")
    for result in report.results[:ROWS_SHOWN]:
        table.add_row(*_row(result))
    if report.results:
        screen.print(table)
    if len(report.results) > ROWS_SHOWN:
        screen.print(
            f"... and {len(report.results) - ROWS_SHOWN} more, all in {report.record}", highlight=False
        )
    counts = ", ".join(f"{report.count(status)} {status}" for status in ("done", "skipped", "failed"))
    rate = f", {report.count('done') / report.seconds:.2f} images/s" if report.count("done") else ""
    device = f"{report.device} {report.dtype}"
    screen.print(f"{counts} in {report.seconds:.1f} s on {device}{rate}", highlight=False, soft_wrap=True)
    if report.page_problem is None:
        screen.print(f"page:   {report.page}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"note: {report.page_problem}", markup=False, highlight=False, soft_wrap=True)
    screen.print(f"record: {report.record}", markup=False, highlight=False, soft_wrap=True)
    if report.interrupted:
        console.print(
            "interrupted: every file written so far is complete; "
            "to resume, run the same command with --skip-existing",
            highlight=False,
            soft_wrap=True,
        )


def _row(result: "FileResult") -> tuple[str, str, str, str]:
    from rich.markup import escape

    size = f"{result.width} x {result.height}" if result.width else ""
    seconds = f"{result.seconds:.2f}" if result.status == "done" else ""
    written: str = result.status
    if result.status == "done":  # the first in full, of the others what differs
        written = ", ".join([result.outputs[0], *(o.removeprefix(result.name) for o in result.outputs[1:])])
    return escape(result.source), size, seconds, escape(written)
