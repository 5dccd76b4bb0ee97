"""`stablenormal evaluate`: normal maps against measured ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from stablenormal.app.evaluate import EvaluateReport
    from stablenormal.pipelines.stable_normal import Mode


def evaluate(
    benchmark: Annotated[
        str, typer.Option(help="nyuv2, scannet, ibims, sintel, vkitti, oasis, diode or folder.")
    ],
    root: Annotated[Path, typer.Option(help="Folder of the set.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")],
    model: Annotated[
        str | None, typer.Option(show_default=False, help="'small', a model folder, or a hub id.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(show_default=False, help="Folder of normal maps of any estimator, instead.")
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(show_default="as the files say", help="Their frame: opengl, opencv, directx or dsine."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format", show_default="any, all the same", help="Their kind: png8, png16, exr or npy."
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(help="dsine, marigold or stablenormal.")] = "dsine",
    part: Annotated[
        str | None, typer.Option(show_default="both", help="indoor or outdoor, of diode.")
    ] = None,
    truth_frame: Annotated[
        str | None,
        typer.Option(
            "--truth-frame", show_default="opengl", help="Frame of the ground truth, of diode and folder."
        ),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(show_default="full", help="Model: full, or turbo in one step.")
    ] = None,
    seed: Annotated[int | None, typer.Option(show_default="0", help="Model: seed of every image.")] = None,
    ensemble: Annotated[
        int | None, typer.Option(show_default="1", help="Model: predictions to average.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(show_default="the model's", help="Model: refinement steps.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(show_default="the model's", help="Model: longer side in pixels for the network."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(show_default="the best there is", help="Model: cpu, cuda or mps.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(show_default="by device", help="Model: float32, bfloat16 or float16.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Model: never use the network.")] = False,
    shown: Annotated[int, typer.Option(help="How many worst and best images the page shows.")] = 6,
) -> None:
    """Score a model, or normal maps of any estimator, on a set with measured normals."""
    from rich.console import Console

    from stablenormal.errors import SettingError

    console = Console(stderr=True)
    with console.status("Loading"):
        from stablenormal.app.evaluate import EvaluateSettings
        from stablenormal.evaluation.estimators import ModelSettings

    options = {
        "mode": mode,
        "ensemble": ensemble,
        "steps": steps,
        "resolution": resolution,
        "device": device,
        "dtype": dtype,
        "offline": offline or None,
    }
    given = [name for name, value in options.items() if value is not None]
    if model is None and given:
        raise SettingError(f"--{given[0]} is for --model; leave it out with --predictions")
    chosen = None
    if model is not None:
        chosen = ModelSettings(
            model=model,
            mode=cast("Mode", mode or "full"),  # checked there
            ensemble=1 if ensemble is None else ensemble,
            steps=steps,
            resolution=resolution,
            device=device,
            dtype=dtype,
            offline=offline,
        )
    settings = EvaluateSettings(
        benchmark=benchmark,
        root=str(root),
        protocol=protocol,
        part=part,
        truth_frame=truth_frame,
        predictions=None if predictions is None else str(predictions),
        frame=frame,
        format=kind,
        model=chosen,
        seed=seed,
        shown=shown,
    )
    from stablenormal.app.evaluate import evaluate as run
    from stablenormal.cli.image_progress import image_progress

    with image_progress(console, "Scoring") as (start, advance):
        report = run(output, settings, on_start=start, on_image=lambda score: advance())
    _show(console, report)


def _show(console: "Console", report: "EvaluateReport") -> None:
    """The summary table, warnings, and where everything is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from stablenormal.app.evaluate import METRIC_NAMES, summary_rows

    screen = Console(soft_wrap=False)
    summary = report.summary
    rows = summary_rows(summary)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for row in rows:
        table.add_column(row[0], justify="right")
    for place, name in enumerate(("pixels", *METRIC_NAMES), start=1):
        table.add_row(name, *(row[place] for row in rows))
    screen.print(table)
    screen.print(
        f"protocol {summary.protocol}, {summary.images} images in {report.seconds:.1f} s; degrees, and "
        "shares in %",
        highlight=False,
        soft_wrap=True,
    )
    if len(summary.per_source) > 1:
        screen.print(
            f"mean over {len(summary.per_source)} sources: {summary.mean_over_sources:.3f}", highlight=False
        )
    for label, path in (("page:  ", report.page), ("record:", report.record), ("images:", report.table)):
        screen.print(f"{label} {path}", markup=False, highlight=False, soft_wrap=True)
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
