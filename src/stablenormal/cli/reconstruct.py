"""`stablenormal reconstruct`: a scene of posed photographs to a mesh."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli.choices import MESH_FORMATS, listed, one_of
from stablenormal.cli.one_line_errors import EXIT_FAILED, EXIT_INTERRUPTED
from stablenormal.cli.options import Images, MeshOutput, Scene, mesh_path

if TYPE_CHECKING:
    from stablenormal.applications.mesh_reconstruction.fitting import Progress as FitProgress


def reconstruct(
    scene: Scene,
    output: MeshOutput,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            show_default="ply",
            help=f"Kind of mesh: {listed(MESH_FORMATS)}.",
            callback=one_of(MESH_FORMATS),
        ),
    ] = None,
    priors: Annotated[
        Path | None, typer.Option(help="Folder of normals, as `stablenormal priors` writes it.")
    ] = None,
    mask: Annotated[
        str, typer.Option(help="alpha: transparency; auto: what stands out; or a folder of masks.")
    ] = "alpha",
    images: Images = None,
    resolutions: Annotated[
        str | None, typer.Option(show_default="32,64,128", help="Nodes along each side, coarse to fine.")
    ] = None,
    iterations: Annotated[
        str | None, typer.Option(show_default="balanced", help="Steps at each of them, with commas.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(show_default="128", help="Longer side at which photographs are used.")
    ] = None,
    normal_weight: Annotated[
        float | None, typer.Option(show_default="0.05", help="Of the prior against colour and mask.")
    ] = None,
    prior_detail: Annotated[
        float | None,
        typer.Option(
            show_default="0.0125",
            help="Share of the picture below which the prior is trusted; 0: whole, as measured normals are.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of rays.")] = 0,
    device: Annotated[str | None, typer.Option(show_default="the best there is", help="cpu or cuda.")] = None,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints and preview pictures.")] = 200,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint beside the mesh.")
    ] = False,
) -> None:
    """Reconstruct the surface of an object from posed photographs with masks, and normals if given."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    target = mesh_path(output, "mesh", format, "ply")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        task = bar.add_task("Reading the scene", total=None)
        from stablenormal.app.reconstruct import reconstruct as run
        from stablenormal.app.view_masks import MaskChoice
        from stablenormal.applications.mesh_reconstruction.settings import chosen_settings
        from stablenormal.io.interruption import Interruption

        settings = chosen_settings(
            resolutions=resolutions,
            iterations=iterations,
            image_size=image_size,
            normal_weight=normal_weight,
            prior_detail=prior_detail,
            seed=seed,
        )

        def advance(progress: "FitProgress") -> None:
            shown = f"{progress.resolution}^3, colour {progress.losses['colour']:.4f}"
            bar.update(task, total=progress.total, completed=progress.done, description=shown)

        interruption = stack.enter_context(Interruption())
        report = run(
            scene,
            target,
            settings,
            priors=priors,
            images=images,
            masks=MaskChoice(mask),
            device=device,
            resume=resume,
            save_every=save_every,
            interruption=interruption,
            on_problem=lambda line: console.print(
                f"error: {line}", markup=False, highlight=False, soft_wrap=True
            ),
            on_step=advance,
        )
    console.print(f"{report.views} views, {report.views_with_prior} with normals", highlight=False)
    if report.interrupted:
        console.print("interrupted; to go on, run the same command with --resume", highlight=False)
        raise typer.Exit(EXIT_INTERRUPTED)
    for file in report.files:
        typer.echo(file)
    if report.problems:
        raise typer.Exit(EXIT_FAILED)
