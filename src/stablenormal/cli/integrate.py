"""`stablenormal integrate`: a normal map to depth and meshes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from stablenormal.cli.choices import INTEGRATION_METHODS, SURFACE_FORMATS, existing, one_of, some_of, split
from stablenormal.cli.image_progress import loading
from stablenormal.cli.options import FilePart, Layer, Output, SaidFrame

if TYPE_CHECKING:
    from stablenormal.applications.normal_integration import Method


def integrate(
    normal_map: Annotated[Path, typer.Argument(help="PNG (8 or 16 bit), EXR or NPY.", callback=existing())],
    output: Output,
    layer: Layer = None,
    part: FilePart = None,
    frame: SaidFrame = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Picture of the same size; dark pixels are left out.", callback=existing()),
    ] = None,
    photo: Annotated[
        Path | None,
        typer.Option(help="The photograph: EXIF, transparency, texture.", callback=existing()),
    ] = None,
    intrinsics: Annotated[
        Path | None,
        typer.Option(help="File with the 3 x 3 camera matrix, text or NPY.", callback=existing()),
    ] = None,
    pixel_centre: Annotated[
        float, typer.Option(help="Where --intrinsics has the first pixel's centre: 0.5, or 0 (OpenCV).")
    ] = 0.5,
    fov: Annotated[float | None, typer.Option(help="Horizontal field of view in degrees.")] = None,
    orthographic: Annotated[bool, typer.Option("--orthographic", help="No perspective.")] = False,
    method: Annotated[
        str,
        typer.Option(
            help="bilateral keeps discontinuities; poisson is fast and smooth.",
            callback=one_of(INTEGRATION_METHODS),
        ),
    ] = "bilateral",
    k: Annotated[float, typer.Option(help="Sharpness of the bilateral weights.")] = 2.0,
    iterations: Annotated[int, typer.Option(help="Reweightings, at most.")] = 100,
    tolerance: Annotated[float, typer.Option(help="Relative change of the energy that ends them.")] = 1e-4,
    prior: Annotated[
        Path | None,
        typer.Option(help="Coarse depth to stay near to: EXR, NPY or PNG.", callback=existing()),
    ] = None,
    prior_scale: Annotated[
        float | None, typer.Option(help="Unit of the prior's values; 0.001 for millimetres in metres.")
    ] = None,
    prior_weight: Annotated[
        float, typer.Option(help="The normals decide on details below 1 / sqrt(this) pixels.")
    ] = 1e-4,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="With commas, of exr, npy, png, ply, obj and glb.",
            callback=some_of(SURFACE_FORMATS),
        ),
    ] = "exr,ply",
) -> None:
    """Turn a normal map into depth, a mesh, a map of its discontinuities, and a picture from three sides."""
    from rich.console import Console

    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.integrate import CameraChoice, bundled_fov_deg, camera_line
        from stablenormal.app.integrate import integrate as run
        from stablenormal.applications.normal_integration import IntegrationSettings
        from stablenormal.io.choice import Choice
    with console.status("Integrating"):
        settings = IntegrationSettings(
            method=cast("Method", method),  # checked there
            k=k,
            iterations=iterations,
            tolerance=tolerance,
            prior_weight=prior_weight,
        )
        report = run(
            normal_map,
            output,
            settings,
            CameraChoice(intrinsics, pixel_centre, fov, orthographic),
            frame=frame,
            mask=mask,
            photo=photo,
            prior=prior,
            prior_scale=prior_scale,
            choice=Choice(layer, part),
            estimate_fov=bundled_fov_deg,
            formats=split(formats),
        )
    result = report.integration
    parts = f"{result.components} part{'s' if result.components > 1 else ''}"
    console.print(f"{parts}, {len(result.energies)} solves", highlight=False)
    console.print(camera_line(report), highlight=False, soft_wrap=True)
    if report.problem is not None:
        console.print(f"note: {report.problem}", markup=False, highlight=False, soft_wrap=True)
    for file in report.files:
        typer.echo(file)
