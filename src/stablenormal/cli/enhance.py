"""`stablenormal enhance`: coarse or generated normal maps, refined with their photographs."""

from pathlib import Path
from typing import Annotated

import typer

from stablenormal.cli.choices import WONDER3D_SYSTEMS, existing, one_of
from stablenormal.cli.image_progress import image_progress, loading
from stablenormal.cli.options import (
    Device,
    Dtype,
    FilePart,
    Layer,
    MapKind,
    Model,
    Offline,
    Output,
    Resolution,
    SaidFrame,
    Steps,
    TPlus,
    TrustRemoteCode,
    load_options,
)
from stablenormal.io.map_formats import MAP_FORMATS


def enhance(
    context: typer.Context,
    coarse: Annotated[
        Path,
        typer.Argument(
            help="Normal map, folder of them, or a folder of Wonder3D.", callback=existing("file or folder")
        ),
    ],
    output: Output,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            help="The photograph, or a folder of them with the same names.",
            callback=existing("file or folder"),
        ),
    ] = None,
    wonder3d: Annotated[
        str | None,
        typer.Option(
            help="Six views as Wonder3D writes them; normals in the frame of: front, or self.",
            callback=one_of(WONDER3D_SYSTEMS),
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(show_default="the model's t+", help="0 stays near the coarse map, 1 forgets it."),
    ] = None,
    t_plus: TPlus = None,
    steps: Steps = None,
    layer: Layer = None,
    part: FilePart = None,
    kind: MapKind = None,
    frame: SaidFrame = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Picture of the size of a single map; dark pixels are left out.", callback=existing()
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", help="png16, png8, exr or npy.", callback=one_of(tuple(MAP_FORMATS))),
    ] = "png16",
    seed: Annotated[int, typer.Option(help="Seed of the noise, shared by the views.")] = 0,
    resolution: Resolution = None,
    model: Model = "small",
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Give coarse or generated normal maps the detail of their photographs; frames, masks and sizes stay."""
    from rich.console import Console

    from stablenormal.app.model_settings import LoadSettings
    from stablenormal.errors import SettingError
    from stablenormal.io.choice import Choice

    LoadSettings(**load_options(context))  # refuses what does not exist before anything is loaded
    if wonder3d is not None and (image is not None or mask is not None):
        raise SettingError("--wonder3d: the folder has its own images and masks; leave out --image, --mask")
    if wonder3d is None and image is None:
        raise SettingError("--image: give the photograph of the map, or use --wonder3d")
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.enhance import EnhanceSettings, enhance_files, enhance_wonder3d

    settings = EnhanceSettings(
        strength=strength,
        t_plus=t_plus,
        steps=steps,
        seed=seed,
        resolution=resolution,
        format=format,
        **load_options(context),
        kind=kind,
        choice=Choice(layer, part),
    )
    if wonder3d is not None:
        with console.status("Enhancing"):
            report = enhance_wonder3d(coarse, output, settings, system=wonder3d, frame=frame)
    else:
        assert image is not None
        with image_progress(console, "Enhancing") as (on_start, on_result):
            report = enhance_files(
                coarse,
                image,
                output,
                settings,
                frame=frame,
                mask=mask,
                on_start=on_start,
                on_result=on_result,
            )
    for file in report.files:
        typer.echo(file)
    for problem in report.problems:
        typer.echo(f"error: {problem}", err=True)
    if report.problems:
        raise typer.Exit(1)
