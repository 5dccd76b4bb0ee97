"""`stablenormal video`: a video to normals of every frame, without flicker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.app.video_settings import CARRY, PREVIEWS
from stablenormal.cli import options
from stablenormal.cli.choices import CAMERA_FRAMES, existing, listed, one_of
from stablenormal.cli.image_progress import loading
from stablenormal.cli.one_line_errors import EXIT_FAILED, EXIT_INTERRUPTED
from stablenormal.cli.options import Seed
from stablenormal.io.map_formats import MAP_FORMATS

if TYPE_CHECKING:
    from rich.console import Console

    from stablenormal.app.video import VideoReport
    from stablenormal.app.video_settings import VideoSettings


def video(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video.", callback=existing("video"))],
    output: options.Output,
    model: options.Model = "small",
    quality: options.Quality = None,
    mode: options.Mode = None,
    frame: Annotated[
        str, typer.Option(help=f"{listed(CAMERA_FRAMES)}.", callback=one_of(CAMERA_FRAMES))
    ] = "opengl",
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"Kind of file of each frame: {listed(tuple(MAP_FORMATS))}.",
            callback=one_of(tuple(MAP_FORMATS)),
        ),
    ] = "png16",
    carry: Annotated[
        float,
        typer.Option(help="Share of the frame before in each frame, below 1; 0: each frame alone."),
    ] = CARRY,
    preview: Annotated[
        str,
        typer.Option(
            help="Of the preview video: side-by-side (photograph and normals), normals or none.",
            callback=one_of(PREVIEWS),
        ),
    ] = "side-by-side",
    seed: Seed = 0,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = 1,
    steps: options.Steps = None,
    t_plus: options.TPlus = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Go on with the frames of an earlier run.")
    ] = False,
    offline: options.Offline = False,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Write the normals of a video, steady from frame to frame, and a preview with its sound."""
    from rich.console import Console

    from stablenormal.app.video_settings import VideoSettings

    settings = VideoSettings(
        **options.model_options(context),
        frame=frame,
        format=format,
        seed=seed,
        carry=carry,
        preview=preview,
        skip_existing=skip_existing,
    )
    console = Console(stderr=True)
    report = _run_with_progress(console, source, output, settings)
    _show(console, report)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.problems:
        raise typer.Exit(EXIT_FAILED)


def _run_with_progress(
    console: "Console", source: Path, output: Path, settings: "VideoSettings"
) -> "VideoReport":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with loading(console):
        from stablenormal.app.video import video_normals

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("Loading the model", total=None)
        return video_normals(
            source,
            output,
            settings,
            on_start=lambda stage, total: bar.reset(task, description=stage, total=total),
            on_frame=lambda: bar.advance(task),
        )


def _show(console: "Console", report: "VideoReport") -> None:
    """What is wrong, what to know, what there is now, and how to go on."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    for line in report.problems:
        say(f"error: {line}")
    for line in report.notes:
        say(f"note: {line}")
    computed = report.frames - report.kept
    rate = f", {computed / report.seconds:.2f} frames/s" if computed else ""
    typer.echo(
        f"{computed} frames computed, {report.kept} kept in {report.seconds:.1f} s on {report.device}{rate}"
    )
    typer.echo(f"normals: {report.folder}")
    if report.preview is not None:
        typer.echo(f"preview: {report.preview}")
    typer.echo(f"record:  {report.record}")
    if report.interrupted:
        say(
            "interrupted: every file written so far is complete; "
            "to resume, run the same command with --skip-existing"
        )
