"""`stablenormal compare`: two folders of results on one page."""

from pathlib import Path
from typing import Annotated

import typer

from stablenormal.cli.choices import existing
from stablenormal.cli.image_progress import image_progress, loading
from stablenormal.cli.one_line_errors import EXIT_FAILED
from stablenormal.cli.options import Output, SaidFrame


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of results.", callback=existing("folder"))],
    second: Annotated[
        Path, typer.Argument(help="Another, of the same photographs.", callback=existing("folder"))
    ],
    output: Output,
    frame: SaidFrame = None,
) -> None:
    """Lay two runs over the same photographs side by side, with the angles between them."""
    from rich.console import Console

    from stablenormal.cli.tables import Column, show_table

    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.compare import LIMITS_DEG
        from stablenormal.app.compare import compare as run

    with image_progress(console, "Maps") as (start, advance):
        report = run(first, second, output, frame=frame, on_start=start, on_result=advance)
    for problem in report.problems:
        console.print(f"error: {problem}", markup=False, highlight=False, soft_wrap=True)
    limits = [f"{limit:g}" for limit in LIMITS_DEG]
    columns = [Column("map", name=True), Column("mean", right=True), Column("median", right=True)]
    show_table(
        [*columns, *(Column(f"< {limit}°", right=True) for limit in limits)],
        [
            (
                one.name,
                f"{one.mean_deg:.2f}°",
                f"{one.median_deg:.2f}°",
                *(f"{100 * one.below[limit]:.1f} %" for limit in limits),
            )
            for one in report.differences
        ],
    )
    if report.page_problem is not None:
        console.print(f"note: {report.page_problem}", markup=False, highlight=False, soft_wrap=True)
    typer.echo(f"page:   {report.page}\nrecord: {report.record}")
    if report.problems:
        raise typer.Exit(EXIT_FAILED)
