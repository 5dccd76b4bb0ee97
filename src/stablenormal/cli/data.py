"""`stablenormal data`: checks a training set, and computes a transformer's tokens for training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablenormal.cli.choices import CAMERA_FRAMES, READERS, existing, listed, one_of

if TYPE_CHECKING:
    from stablenormal.app.check_data import CheckReport

data = typer.Typer(help="Look after training sets.", no_args_is_help=True)

_SHOWN = 20


@data.callback()
def sets() -> None:
    """Look after training sets."""


@data.command()
def check(
    source: Annotated[
        str,
        typer.Argument(help=listed(READERS), callback=one_of(READERS, "reader")),
    ],
    root: Annotated[Path, typer.Argument(help="Folder of the set.", callback=existing("folder"))],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            show_default="only the table",
            help="Folder for check.json, views.csv and keep.txt; the same folder resumes.",
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            show_default="as declared",
            help="Frame of the normals: opengl, opencv, directx, dsine.",
            callback=one_of(CAMERA_FRAMES),
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the reader, such as fov_deg=120; repeat it.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(show_default="all views", help="Keep-list: check only its views.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="A problem that does not count, such as tilt-shift; repeat it.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(show_default="all views", help="Check only so many, evenly spread.")
    ] = None,
    smallest_side: Annotated[
        int, typer.Option(help="Shorter side in pixels below which a picture is tiny.")
    ] = 64,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Find flipped, shifted, damaged and useless views of a set, and write the list of those to keep.

    Ends with exit code 1 if something was found.
    """
    from rich.console import Console

    from stablenormal.app.check_data import CheckSettings, check_data
    from stablenormal.cli.image_progress import image_progress
    from stablenormal.data.checking import Limits

    settings = CheckSettings(
        reader=source,
        root=str(root),
        keep=None if keep is None else str(keep),
        options=reader_options(frame, option or []),
        limit=limit,
        ignored=tuple(ignore or ()),
        limits=Limits(smallest_side=smallest_side),
    )
    with image_progress(Console(stderr=True), "Checking") as (start, advance):
        report = check_data(settings, output, workers=workers, on_start=start, on_view=advance)
    _show(report, output)
    if report.bad:
        raise typer.Exit(1)


@data.command()
def tokens(
    shards: Annotated[
        Path,
        typer.Argument(
            help="Folder of shards, such as `stablenormal synth` writes.", callback=existing("folder")
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the tokens.")],
    model: Annotated[
        str, typer.Option(help="Model folder, or dinov2:FOLDER_OR_ID: whose transformer runs.")
    ] = "small",
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a multiple of 56.")] = 392,
    smallest_crop: Annotated[
        float, typer.Option(help="Crops show between this share and all of an image's side.")
    ] = 0.6,
    roll_deg: Annotated[float, typer.Option(help="Standard deviation of a roll of the image.")] = 0.0,
    blur_px: Annotated[float, typer.Option(help="Largest blur, which one image in five gets.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the augmentation.")] = 0,
    offline: Annotated[bool, typer.Option("--offline", help="Never open a socket.")] = False,
) -> None:
    """Run a frozen transformer over training images once, so that training need not.

    Each image is cropped and mirrored once, at random. Run it again as more shards come: what is done stays.
    """
    from rich.console import Console

    from stablenormal.cli.image_progress import image_progress
    from stablenormal.data.shards import list_shards
    from stablenormal.training.base import load_base
    from stablenormal.training.token_cache import write_tokens

    console = Console(stderr=True)
    components = load_base(model, seed=seed, offline=offline)
    with image_progress(console, "Encoding") as (start, advance):
        start(len(list_shards(shards)))
        count = write_tokens(
            shards,
            output,
            components,
            size=size,
            smallest_crop=smallest_crop,
            roll_deg=roll_deg,
            blur_px=blur_px,
            seed=seed,
            progress=advance,
        )
    console.print(f"{output}: {count} images with tokens", soft_wrap=True)


def reader_options(frame: str | None, given: list[str]) -> dict[str, Any]:
    """Options of a reader from the command line.

    Raises:
        SettingError: if one is not NAME=VALUE.
    """
    from stablenormal.errors import SettingError

    options: dict[str, Any] = {} if frame is None else {"frame": frame}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise SettingError(f"--option {text}: expected NAME=VALUE, such as fov_deg=120")
        options[name] = value
    return options


def _show(report: "CheckReport", output: Path | None) -> None:
    """The summary, the first bad views, and what to do."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from stablenormal.data.checking import PROBLEMS

    screen, total = Console(soft_wrap=False), len(report.views)
    if report.counts:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("problem", "views", "share", "what"):
            table.add_column(name, justify="right" if name in ("views", "share") else "left")
        for problem, times in report.counts.items():
            what = PROBLEMS[problem] + (" (ignored)" if problem in report.ignored else "")
            table.add_row(problem, str(times), f"{100 * times / total:.1f} %", what)
        screen.print(table)
    lines = [
        f"{view.key}: {finding.problem}: {finding.detail}"
        for view in report.bad
        for finding in view.findings
        if finding.problem not in report.ignored
    ]
    if len(lines) > _SHOWN:
        where = f"in {output / 'views.csv'}" if output else "with -o"
        lines = [*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more, {where}"]
    lines += [f"note: {line}" for line in report.advice]
    lines.append(
        f"{total} views checked in {report.seconds:.0f} s, {total - len(report.bad)} without a problem"
    )
    if report.keep_list:
        lines.append(f"keep-list: {report.keep_list}")
    elif output and not report.kept:
        lines.append("nothing is left to keep, so no keep-list was written")
    for line in lines:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
