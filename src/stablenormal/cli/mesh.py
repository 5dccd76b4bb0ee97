"""`stablenormal mesh`: a photograph to a textured mesh."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from stablenormal.cli.choices import MESH_FORMATS, existing, listed, one_of
from stablenormal.cli.image_progress import loading
from stablenormal.cli.options import (
    Device,
    FilePart,
    Layer,
    MeshOutput,
    Mode,
    Model,
    Offline,
    Quality,
    Seed,
    mesh_path,
)

if TYPE_CHECKING:
    from stablenormal.models import modes


def mesh(
    photo: Annotated[Path, typer.Argument(help="The photograph.", callback=existing())],
    output: MeshOutput,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            show_default="glb",
            help=f"Kind of mesh: {listed(MESH_FORMATS)}.",
            callback=one_of(MESH_FORMATS),
        ),
    ] = None,
    layer: Layer = None,
    part: FilePart = None,
    mask: Annotated[
        str | None,
        typer.Option(show_default="transparency", help="Picture of the same size, or auto: what stands out."),
    ] = None,
    intrinsics: Annotated[
        Path | None,
        typer.Option(help="File with the 3 x 3 camera matrix, text or NPY.", callback=existing()),
    ] = None,
    fov: Annotated[
        float | None, typer.Option(show_default="EXIF, or 45", help="Horizontal field of view in degrees.")
    ] = None,
    orthographic: Annotated[bool, typer.Option("--orthographic", help="No perspective.")] = False,
    far: Annotated[
        float, typer.Option(help="What is farther than so many times the median depth is left out.")
    ] = 2.5,
    resolution: Annotated[
        int, typer.Option(help="Longer side of the mesh in pixels; the texture keeps the photograph's.")
    ] = 768,
    k: Annotated[float, typer.Option(help="Sharpness of the bilateral weights.")] = 2.0,
    model: Model = "small",
    quality: Quality = None,
    mode: Mode = None,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
) -> None:
    """Turn a photograph into a textured mesh, and a picture of it from seven sides."""
    from rich.console import Console

    target = mesh_path(output, photo.stem, format, "glb")
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.integrate import MESH_ITERATIONS, CameraChoice, camera_line, photograph_to_mesh
        from stablenormal.applications.normal_integration import IntegrationSettings
        from stablenormal.io.choice import Choice
    with console.status("Normals, depth, mesh"):
        report = photograph_to_mesh(
            photo,
            target,
            IntegrationSettings(k=k, iterations=MESH_ITERATIONS),
            CameraChoice(matrix=intrinsics, fov_deg=fov, orthographic=orthographic),
            mask=mask,
            model=model,
            quality=quality,
            mode=cast("modes.Mode | None", mode),  # checked there
            seed=seed,
            device=device,
            offline=offline,
            choice=Choice(layer, part),
            far=far,
            resolution=resolution,
        )
    console.print(camera_line(report), highlight=False, soft_wrap=True)
    if report.problem is not None:
        console.print(f"note: {report.problem}", markup=False, highlight=False, soft_wrap=True)
    for file in report.files:
        typer.echo(file)
