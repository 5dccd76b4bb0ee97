"""`stablenormal frames`: normal maps in another frame or another kind of file."""

from pathlib import Path
from typing import Annotated

import typer

from stablenormal.cli import choices
from stablenormal.cli.choices import existing, one_of
from stablenormal.cli.image_progress import image_progress, loading
from stablenormal.cli.one_line_errors import EXIT_FAILED
from stablenormal.cli.options import FilePart, Layer, Output
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.image_files import list_images
from stablenormal.io.map_formats import MAP_FORMATS


def frames(
    inputs: Annotated[
        list[str], typer.Argument(help="Normal maps (PNG, EXR, NPY), folders of them, or globs.")
    ],
    output: Output,
    to: Annotated[
        str | None,
        typer.Option(
            show_default="as each map is",
            help=f"Frame to write: {choices.listed(tuple(FRAMES))}.",
            callback=one_of(tuple(FRAMES)),
        ),
    ] = None,
    said: Annotated[
        str | None,
        typer.Option(
            "--from",
            show_default="as the files say",
            help="Frame of maps that do not say theirs.",
            callback=one_of(tuple(FRAMES)),
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            show_default="as each map is",
            help=f"Kind of file: {choices.listed(tuple(MAP_FORMATS))}.",
            callback=one_of(tuple(MAP_FORMATS)),
        ),
    ] = None,
    scene: Annotated[
        Path | None,
        typer.Option(
            help="COLMAP folder or transforms.json with the cameras, for the frame world.",
            callback=existing("scene"),
        ),
    ] = None,
    rotation: Annotated[
        Path | None,
        typer.Option(
            help="File with the camera-to-world rotation, 3 x 3, of all maps, for the frame world.",
            callback=existing(),
        ),
    ] = None,
    layer: Layer = None,
    part: FilePart = None,
) -> None:
    """Convert normal maps between frames (flip green, camera to world) and between kinds of files."""
    from rich.console import Console

    from stablenormal.io.choice import Choice

    list_images(inputs, frozenset(MAP_FORMATS.values()), "normal map")  # refuses what is missing at once
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.frames import FrameSettings, convert_maps

    settings = FrameSettings(
        to=to,
        said=said,
        format=format,
        scene=None if scene is None else str(scene),
        rotation=None if rotation is None else str(rotation),
        choice=Choice(layer, part),
    )
    with image_progress(console, "Maps") as (start, advance):
        report = convert_maps(inputs, output, settings, on_start=start, on_result=advance)
    for problem in report.problems:
        console.print(f"error: {problem}", markup=False, highlight=False, soft_wrap=True)
    for file in report.files:
        typer.echo(file)
    if report.problems:
        raise typer.Exit(EXIT_FAILED)
