"""`stablenormal priors`: normals of all views of a scene, for multi-view reconstruction."""

from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli.choices import PRIOR_LAYOUTS, SPACES, listed, one_of
from stablenormal.cli.image_progress import image_progress, loading
from stablenormal.cli.one_line_errors import EXIT_FAILED, EXIT_INTERRUPTED
from stablenormal.cli.options import (
    Device,
    Dtype,
    Images,
    Mode,
    Model,
    Offline,
    Output,
    Quality,
    Resolution,
    Scene,
    Seed,
    Steps,
    TPlus,
    TrustRemoteCode,
    model_options,
    model_settings,
)

if TYPE_CHECKING:
    from stablenormal.app.run_record import FileResult


def priors(
    context: typer.Context,
    scene: Scene,
    output: Output,
    layout: Annotated[
        str,
        typer.Option(
            help=f"Whose files: {listed(PRIOR_LAYOUTS)}.",
            callback=one_of(PRIOR_LAYOUTS),
        ),
    ] = "plain",
    space: Annotated[
        str | None,
        typer.Option(show_default="the layout's", help="camera or world.", callback=one_of(SPACES)),
    ] = None,
    mask: Annotated[
        str, typer.Option(help="alpha, none, auto (what stands out), or a folder of masks.")
    ] = "alpha",
    images: Images = None,
    ensemble: Annotated[
        int, typer.Option(help="Seeds per view; their spread gives the confidence. 1: no confidence.")
    ] = 3,
    model: Model = "small",
    quality: Quality = None,
    mode: Mode = None,
    seed: Seed = 0,
    steps: Steps = None,
    t_plus: TPlus = None,
    resolution: Resolution = None,
    device: Device = None,
    dtype: Dtype = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep finished views of an earlier run.")
    ] = False,
    offline: Offline = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write normals, masks, confidence and a consistency score of every view of a scene."""
    from rich.console import Console

    model_settings(context)  # refuses what does not exist before anything is loaded
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.priors import PriorSettings, make_priors
        from stablenormal.app.view_masks import MaskChoice
    with image_progress(console, "Views") as (start, advance):
        settings = PriorSettings(
            layout=layout,
            space=space,
            **model_options(context),
            seed=seed,
            skip_existing=skip_existing,
        )

        def show(result: "FileResult") -> None:
            if result.error is not None:
                console.print(f"error: {result.error}", markup=False, highlight=False, soft_wrap=True)
            if result.note is not None:
                console.print(f"note: {result.note}", markup=False, highlight=False, soft_wrap=True)
            advance()

        report = make_priors(
            scene, output, settings, images=images, masks=MaskChoice(mask), on_start=start, on_result=show
        )
    overall = report.score.overall
    if overall is None:
        console.print(
            "no common points of views are known, so there is no consistency score", highlight=False
        )
    else:
        console.print(
            f"views disagree by {overall.mean_deg:.1f} degrees on average, {100 * overall.close:.0f} % of "
            f"{overall.pairs} pairs by less than 11.25",
            highlight=False,
        )
    typer.echo(report.record)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failed:
        raise typer.Exit(EXIT_FAILED)
