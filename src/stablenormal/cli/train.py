"""`stablenormal train` and `stablenormal pack`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli.choices import READERS, TRAINED_PARTS, existing, listed, one_of

if TYPE_CHECKING:
    from stablenormal.training.loop import Progress

_SIGNALLED = 128  # a shell's exit code for a process that a signal ended is this plus its number


def train(
    part: Annotated[str, typer.Argument(help=listed(TRAINED_PARTS), callback=one_of(TRAINED_PARTS, "part"))],
    config: Annotated[Path, typer.Argument(help="YAML file, as in configs/", callback=existing())],
    out: Annotated[
        Path, typer.Option("-o", "--output", "--out", help="Folder of the run; the same folder resumes.")
    ],
    stop_after: Annotated[
        int | None, typer.Option(help="stop with a checkpoint after this many steps in all")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE in place of what the file says; repeat it"),
    ] = None,
) -> None:
    """Train one part of a model; stops (Ctrl-C too) and resumes without losing a step."""
    import logging
    import os

    from stablenormal.errors import SettingError
    from stablenormal.training.settings_file import read_settings

    settings = read_settings(config, part, changes or ())
    import torch

    from stablenormal.io.interruption import Interruption

    try:
        from stablenormal.training.run import train as run
    except ModuleNotFoundError as error:
        if error.name != "accelerate":
            raise
        raise SettingError(
            "training needs accelerate; install it: pip install 'stablenormal[train]'"
        ) from error

    speaks = os.environ.get("RANK", "0") == "0"  # torchrun's other processes do as they are told, in silence
    level = logging.INFO if speaks else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if threads:
        torch.set_num_threads(threads)
    with Interruption() as interruption, _progress() if speaks else nullcontext() as watch:
        model = run(settings, out, stop_after, interruption, watch)
    if speaks:
        stopped = f"{out}: stopped with a checkpoint; run again to go on"
        typer.echo(f"{model}: trained" if model is not None else stopped)
    if model is None and interruption.signal is not None:
        raise typer.Exit(_SIGNALLED + interruption.signal)


@contextmanager
def _progress() -> Iterator["Callable[[Progress], None] | None"]:
    """A bar with speed and time left, where there is a terminal; log lines alone where there is none."""
    import logging

    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    shown = "loss {task.fields[loss]:.4f}  {task.fields[speed]:.1f} images/s  {task.fields[left]} left"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(shown))
    with Bar(*columns, TimeElapsedColumn(), console=console) as bar:
        logging.getLogger().handlers = [RichHandler(console=console, show_path=False, show_level=False)]
        task = bar.add_task("Preparing", total=None, loss=float("nan"), speed=0.0, left="-")

        def watch(progress: "Progress") -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.step,
                description=f"{progress.size} px",
                loss=progress.loss,
                speed=progress.images_per_s,
                left=_duration(progress.seconds_left),
            )

        yield watch


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def pack(
    out: Annotated[Path, typer.Option("-o", "--output", "--out", help="Folder of the arrays.")],
    count: Annotated[int, typer.Option(help="how many samples", min=1)],
    roots: Annotated[
        list[Path] | None, typer.Argument(metavar="ROOT...", help="folders of the set, one after another")
    ] = None,
    source: Annotated[
        str,
        typer.Option(help=f"reader of the folders: {listed(READERS)}", callback=one_of(READERS)),
    ] = "shards",
    mixture: Annotated[
        Path | None,
        typer.Option(show_default=False, help="YAML file of weighted sources, in place of folders"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            show_default="the samples' own",
            help="side in pixels: the middle square of each is resized",
            min=16,
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(show_default="all views", help="keep-list of `stablenormal data check`")
    ] = None,
    frame: Annotated[
        str | None, typer.Option(show_default="as declared", help="frame of the set's normals")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the reader, such as fov_deg=120; repeat it")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the order of a mixture", min=0)] = 0,
) -> None:
    """Unpack training sets into arrays that training reads without decoding."""
    import logging
    from collections.abc import Iterator

    from rich.console import Console

    from stablenormal.cli.data import reader_options
    from stablenormal.cli.image_progress import image_progress
    from stablenormal.data.mixture import Damage, Mixture, in_order, read_sources
    from stablenormal.data.packed import pack_corpus
    from stablenormal.data.readers.catalogue import open_source
    from stablenormal.data.sample import Sample
    from stablenormal.data.transforms import square
    from stablenormal.errors import SettingError

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if (mixture is None) == (not roots):
        raise SettingError("give either folders or --mixture, not both and not neither")
    if mixture is not None:
        if keep or frame or option or source != "shards":
            raise SettingError("--source, --keep, --frame and --option stand in the file of --mixture")
        drawn = Mixture.open(read_sources(mixture), batch=1)
        samples: Iterator[Sample] = (drawn.sample(seed, step, 0) for step in range(count))
        damage = drawn.damage
    else:
        options, damage = reader_options(frame, option or []), Damage()
        sources = {f"{source} {root}": open_source(source, root, keep, **options) for root in roots or []}
        samples = in_order(sources, damage)

    with image_progress(Console(stderr=True), "Packing") as (start, advance):
        start(count)

        def prepared() -> Iterator[Sample]:
            for sample in samples:
                yield sample if size is None else square(sample, size)
                advance()

        corpus = pack_corpus(prepared(), out, count)
    skipped = f", {len(damage.reasons)} damaged ones skipped" if damage.reasons else ""
    typer.echo(f"{out}: {len(corpus)} samples of {corpus.size} px{skipped}")
