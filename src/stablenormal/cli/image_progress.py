"""A progress bar over images; where the output is no terminal nothing is drawn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def image_progress(
    console: "Console", description: str
) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Show a bar while the block runs.

    Yields:
        A function that is told the number of images, and one to call after each.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Loading", total=None)
        yield (
            lambda total: progress.reset(task, total=total, description=description),
            lambda: progress.update(task, advance=1),
        )


@contextmanager
def loading(console: "Console", description: str = "Loading") -> Iterator[None]:
    """Say that libraries are being imported; meanwhile the garbage collector rests.

    Classes and functions stay: looking at them again and again takes a fifth of the time of the imports.
    """
    import gc

    gc.disable()
    try:
        with console.status(description):
            yield
    finally:
        gc.enable()
