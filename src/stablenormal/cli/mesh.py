"""`stablenormal mesh`: a photograph to a textured mesh."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from stablenormal.pipelines.stable_normal import Mode


def mesh(
    photo: Annotated[Path, typer.Argument(help="The photograph.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The mesh: .glb, .obj or .ply.")],
    mask: Annotated[
        str | None,
        typer.Option(show_default="transparency", help="Picture of the same size, or auto: what stands out."),
    ] = None,
    intrinsics: Annotated[
        Path | None, typer.Option(help="File with the 3 x 3 camera matrix, text or NPY.")
    ] = None,
    fov: Annotated[
        float | None, typer.Option(show_default="EXIF, or 45", help="Horizontal field of view in degrees.")
    ] = None,
    orthographic: Annotated[bool, typer.Option("--orthographic", help="No perspective.")] = False,
    k: Annotated[float, typer.Option(help="Sharpness of the bilateral weights.")] = 2.0,
    model: Annotated[str, typer.Option(help="'small', a model folder, or a hub id.")] = "small",
    mode: Annotated[str, typer.Option(help="full: start and refinement; turbo: one step.")] = "full",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    device: Annotated[
        str | None, typer.Option(show_default="the best there is", help="cpu, cuda or mps.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Turn a photograph into a textured mesh, and a picture of it from seven sides."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Normals, depth, mesh"):
        from stablenormal.app.integrate import CameraChoice, photograph_to_mesh
        from stablenormal.applications.normal_integration import IntegrationSettings

        report = photograph_to_mesh(
            photo,
            output,
            IntegrationSettings(k=k),
            CameraChoice(matrix=intrinsics, fov_deg=fov, orthographic=orthographic),
            mask=mask,
            model=model,
            mode=cast("Mode", mode),  # checked there
            seed=seed,
            device=device,
            offline=offline,
        )
    if report.assumed_fov_deg is not None:
        console.print(
            f"the photograph does not say its field of view; {report.assumed_fov_deg:.0f} degrees assumed, "
            "--fov sets it",
            highlight=False,
            soft_wrap=True,
        )
    for file in report.files:
        typer.echo(file)
