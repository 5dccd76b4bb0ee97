"""The `stablenormal` command: what sub-commands there are, and how one ends that fails."""

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from stablenormal import __version__
from stablenormal.cli.app import app as page
from stablenormal.cli.compare import compare
from stablenormal.cli.convert import convert
from stablenormal.cli.data import data
from stablenormal.cli.enhance import enhance
from stablenormal.cli.evaluate import evaluate
from stablenormal.cli.frames import frames
from stablenormal.cli.integrate import integrate
from stablenormal.cli.mesh import mesh
from stablenormal.cli.one_line_errors import as_option, one_line_errors
from stablenormal.cli.predict import predict
from stablenormal.cli.priors import priors
from stablenormal.cli.reconstruct import reconstruct
from stablenormal.cli.serve import serve
from stablenormal.cli.synth import synth
from stablenormal.cli.train import pack, train
from stablenormal.cli.variance import variance
from stablenormal.cli.video import video
from stablenormal.errors import arguments_spelled

SLEEPING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP's threads spin while they wait for each other, and torch's meet some thousand times a photograph.
Where another program has the core of one of them, the others burn theirs; `benchmarks/busy.py` measures it.
Set before torch is loaded; what the user has set stays."""

DEBUG_NOTE = "--debug, anywhere, shows the traceback of an error."

app = typer.Typer(
    name="stablenormal",
    help="Surface normals from photographs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

COMMANDS: dict[str, dict[Callable[..., None], str]] = {
    "Photographs to normals": {
        predict: "stablenormal predict photos/ -o normals",
        video: "stablenormal video walk.mp4 -o walk",
        page: "stablenormal app -o normals",
        serve: "stablenormal serve -o log --port 8000",
        frames: "stablenormal frames normals/ -o unreal --to directx",
        compare: "stablenormal compare normals/ other/ -o page",
        enhance: "stablenormal enhance coarse.png --image photo.jpg -o fine --frame opengl",
    },
    "Normals to surfaces": {
        mesh: "stablenormal mesh photo.jpg -o meshes",
        integrate: "stablenormal integrate photo_normal.png -o surface --fov 50",
        priors: "stablenormal priors colmap/ -o priors --layout 2dgs",
        reconstruct: "stablenormal reconstruct colmap/ -o surface --priors priors",
    },
    "Measuring": {
        evaluate: "stablenormal evaluate --benchmark nyuv2 --root sets/ -o scores",
        variance: "stablenormal variance photos/ -o spread --seeds 10",
    },
    "Training": {
        synth: "stablenormal synth -o shards --count 1024 --contact-sheet",
        pack: "stablenormal pack shards/ -o packed --count 1024",
        train: "stablenormal train yoso configs/yoso.yaml -o runs/yoso",
        convert: "stablenormal convert --yoso folder1 --refiner folder2 -o model",
    },
}
"""Every command, in the groups of the help, with an example."""

for _group, _commands in COMMANDS.items():
    for _command, _example in _commands.items():
        app.command(rich_help_panel=_group, epilog=f"Example: {_example}\n\n{DEBUG_NOTE}")(_command)
app.add_typer(data, name="data", rich_help_panel="Training", epilog=DEBUG_NOTE)

DATA_EXAMPLE = "stablenormal data check folder set/ -o checked"
EXAMPLES = [example for commands in COMMANDS.values() for example in commands.values()]
_LINES_STAY = "\b\n"
app.info.epilog = _LINES_STAY + "\n".join(["Examples:", *EXAMPLES, DATA_EXAMPLE]) + f"\n\n{DEBUG_NOTE}"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stablenormal {__version__}")
        raise typer.Exit


@app.callback()
def stablenormal(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Surface normals from photographs."""
    context.with_resource(arguments_spelled(as_option))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: what stands after the program's name; None takes it from the command line.

    Raises:
        SystemExit: always, with the exit code: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C.
    """
    for name, value in SLEEPING_THREADS.items():
        os.environ.setdefault(name, value)
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):  # file names need not be UTF-8, nor is every terminal
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with one_line_errors(debug="--debug" in words):
        app([word for word in words if word != "--debug"], prog_name="stablenormal")
