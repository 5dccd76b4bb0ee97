"""The `stablenormal` command: what sub-commands there are."""

from typing import Annotated

import typer

from stablenormal import __version__
from stablenormal.cli.predict import predict

app = typer.Typer(
    name="stablenormal",
    help="Surface normals from photographs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("predict")(predict)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stablenormal {__version__}")
        raise typer.Exit


@app.callback()
def stablenormal(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Surface normals from photographs."""


def main() -> None:
    """Entry point of the installed command."""
    app()
