"""`stablenormal train` and `stablenormal pack`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stablenormal.training.loop import Progress

_SIGNALLED = 128  # a shell's exit code for a process that a signal ended is this plus its number


def train(
    part: Annotated[str, typer.Argument(help="autoencoder, semantic, upsampler, yoso, refiner or angular")],
    config: Annotated[Path, typer.Argument(help="YAML file, as in configs/")],
    out: Annotated[Path, typer.Option("-o", "--out", help="run folder; the same folder resumes")],
    stop_after: Annotated[
        int | None, typer.Option(help="stop with a checkpoint after this many steps in all")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all")] = 0,
) -> None:
    """Train one part of a model; stops (Ctrl-C too) and resumes without losing a step."""
    import logging

    from stablenormal.errors import SettingError
    from stablenormal.training.config import read_config

    settings = read_config(config, part)
    import torch

    from stablenormal.training.interruption import Interruption

    try:
        from stablenormal.training.run import train as run
    except ModuleNotFoundError as error:
        if error.name != "accelerate":
            raise
        raise SettingError(
            "training needs accelerate; install it: pip install 'stablenormal[train]'"
        ) from error

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if threads:
        torch.set_num_threads(threads)
    with Interruption() as interruption, _progress() as watch:
        model = run(settings, out, stop_after, interruption, watch)
    if model is not None:
        typer.echo(f"{model}: trained")
        return
    typer.echo(f"{out}: stopped with a checkpoint; run again to go on")
    if interruption.signal is not None:
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
    shards: Annotated[list[Path], typer.Argument(help="folders of shards, from `stablenormal synth`")],
    out: Annotated[Path, typer.Option("-o", "--out", help="target folder")],
    count: Annotated[int, typer.Option(help="how many samples")],
) -> None:
    """Unpack shards into arrays that training reads without decoding."""
    from itertools import chain

    from stablenormal.data.packed import pack_corpus
    from stablenormal.data.shards import iterate_samples

    corpus = pack_corpus(chain.from_iterable(iterate_samples(folder) for folder in shards), out, count)
    typer.echo(f"{out}: {len(corpus)} samples of {corpus.size} px")
