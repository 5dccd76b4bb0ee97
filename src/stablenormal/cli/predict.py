"""`stablenormal predict`: photographs to normal maps."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli import options
from stablenormal.cli.choices import CAMERA_FRAMES, listed, split
from stablenormal.cli.image_progress import loading
from stablenormal.cli.one_line_errors import EXIT_FAILED, EXIT_INTERRUPTED
from stablenormal.cli.options import Seed

if TYPE_CHECKING:
    from rich.console import Console

    from stablenormal.app.naming import Found
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
    quality: options.Quality = None,
    mode: options.Mode = None,
    frame: Annotated[str, typer.Option(help=f"{listed(CAMERA_FRAMES)}.")] = "opengl",
    formats: Annotated[
        str, typer.Option("--format", help="Files to write, with commas: png16, exr, npy, png8.")
    ] = "png16",
    mask: Annotated[
        str | None,
        typer.Option(
            show_default="transparency",
            help="One mask, a folder of masks named as the photographs, or auto: what stands out.",
        ),
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
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the networks: minutes once for a size of photograph, then faster."
        ),
    ] = False,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", help="Photographs of one size at a time; more than 1 may change the last bits."
        ),
    ] = 1,
    tile: Annotated[
        bool,
        typer.Option("--tile", help="See large photographs in tiles too: finer detail, more time."),
    ] = False,
    tile_size: Annotated[
        int | None,
        typer.Option(
            "--tile-size",
            show_default="a quarter of the longer side",
            help="Pixels of the photograph along the side of a tile.",
        ),
    ] = None,
    tile_overlap: Annotated[
        float | None,
        typer.Option(
            "--tile-overlap", show_default="0.25", help="Share of a tile's side that it has in common."
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep complete results of an earlier run.")
    ] = False,
    offline: options.Offline = False,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Write the surface normals of photographs, a page to look at them, and a record of the run."""
    from rich.console import Console

    from stablenormal.app.naming import find_jobs
    from stablenormal.app.predict_settings import AUTO_MASK, PredictSettings, require_masks
    from stablenormal.io.choice import Choice

    console = Console(stderr=True)
    settings = PredictSettings(
        **options.model_options(context),
        compile=compile,
        frame=frame,
        formats=split(formats),
        seed=seed,
        uncertainty=uncertainty,
        batch_size=batch_size,
        skip_existing=skip_existing,
        tile=tile,
        tile_size=tile_size,
        tile_overlap=tile_overlap,
        choice=Choice(layer, part),
        auto_mask=mask == AUTO_MASK,
    )
    masks = None if mask is None or settings.auto_mask else Path(mask)
    require_masks(masks)
    found = find_jobs(inputs, output, masks)
    if not found.jobs:  # nothing to compute: no model is loaded, and no page or record is written
        for problem in found.problems:
            _say(console, f"error: {problem.message}")
        raise typer.Exit(EXIT_FAILED)
    report = _run_with_progress(console, found, output, settings, masks)
    _show(console, report)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.count("failed"):
        raise typer.Exit(EXIT_FAILED)


def _run_with_progress(
    console: "Console", found: "Found", output: Path, settings: "PredictSettings", masks: Path | None
) -> "PredictReport":
    """Run the job behind a progress bar; each failure becomes a line above it at once."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with loading(console):
        from stablenormal.app.predict import predict
        from stablenormal.app.run_record import FileResult

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = progress.add_task("Loading the model", total=None, rate="")

    done = 0

    def start(total: int) -> None:
        progress.reset(task, total=total, description="Normals", rate="")

    def advance(result: FileResult) -> None:
        if result.error is not None:
            _say(console, f"error: {result.error}")
        if result.note is not None:
            _say(console, f"note: {result.note}")
        nonlocal done
        done += result.status == "done"
        elapsed = progress.tasks[task].elapsed or 0.0
        rate = f"{done / elapsed:.2f} images/s" if done and elapsed else ""
        progress.update(task, advance=1, rate=rate)

    with progress:
        return predict(found, output, settings, masks=masks, on_start=start, on_result=advance)


def _show(console: "Console", report: "PredictReport") -> None:
    """The summary: a table, counts, where the results are, and how to resume."""
    from rich.console import Console

    from stablenormal.cli.tables import Column, show_table

    screen = Console()
    columns = (
        Column("photograph", name=True),
        Column("pixels", right=True),
        Column("seconds", right=True),
        Column("result", name=True),
    )
    if report.results:
        show_table(columns, [_row(result) for result in report.results[:ROWS_SHOWN]])
    if len(report.results) > ROWS_SHOWN:
        _say(screen, f"... and {len(report.results) - ROWS_SHOWN} more, all in {report.record}")
    counts = ", ".join(f"{report.count(status)} {status}" for status in ("done", "skipped", "failed"))
    rate = f", {report.count('done') / report.seconds:.2f} images/s" if report.count("done") else ""
    _say(screen, f"{counts} in {report.seconds:.1f} s on {report.device} {report.dtype}{rate}")
    if report.page_problem is None:
        _say(screen, f"page:   {report.page}")
    else:
        _say(console, f"note: {report.page_problem}")
    _say(screen, f"record: {report.record}")
    if report.earlier is not None:
        _say(screen, f"record of the run before: {report.earlier}")
    if report.interrupted:
        _say(
            console,
            "interrupted: every file written so far is complete; "
            "to resume, run the same command with --skip-existing",
        )


def _say(console: "Console", line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _row(result: "FileResult") -> tuple[str, str, str, str]:
    size = f"{result.width} x {result.height}" if result.width else ""
    seconds = f"{result.seconds:.2f}" if result.status == "done" else ""
    written: str = result.status
    if result.status == "done":  # the first in full, of the others what differs
        written = ", ".join([result.outputs[0], *(o.removeprefix(result.name) for o in result.outputs[1:])])
    return result.source, size, seconds, written
