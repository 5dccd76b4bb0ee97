"""Tables on the screen: no name is broken, whatever the width."""

from collections.abc import Sequence
from dataclasses import dataclass

PIPED_WIDTH = 10_000
"""Columns of a terminal that is none: a file or another program gets every line whole."""


@dataclass(frozen=True)
class Column:
    """A column, by its heading."""

    heading: str
    right: bool = False
    """Numbers stand on the right."""
    name: bool = False
    """Holds paths or sentences; where the screen is too narrow their beginning makes way for a `…`."""


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output, each row on one line.

    Args:
        columns: what stands where.
        rows: plain text, a cell for each column.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    screen = Console()
    room = screen.width if screen.is_terminal else PIPED_WIDTH
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.right else "left", no_wrap=True)
    for row in fitting(columns, rows, room):
        table.add_row(*(Text(cell) for cell in row))
    natural = screen.measure(table, options=screen.options.update(width=PIPED_WIDTH)).maximum
    Console(width=natural).print(table, crop=False, overflow="ignore")


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[list[str]]:
    """The rows with names cut at their beginning until a row has at most `room` columns of the screen."""
    from rich.cells import cell_len

    widths = [
        max([cell_len(column.heading), *(cell_len(row[place]) for row in rows)])
        for place, column in enumerate(columns)
    ]
    over = sum(widths) + 2 * (len(columns) - 1) - room  # two blanks between columns
    while over > 0:
        names = [place for place, column in enumerate(columns) if column.name]
        if not names:
            break
        widest = max(names, key=lambda place: widths[place])
        least = max(cell_len(columns[widest].heading), SHORTEST_NAME)
        if widths[widest] <= least:
            break
        widths[widest] -= 1
        over -= 1
    return [
        [shortened(cell, widths[place]) if columns[place].name else cell for place, cell in enumerate(row)]
        for row in rows
    ]


SHORTEST_NAME = 12
"""To fewer columns of the screen no name is cut."""


def shortened(name: str, room: int) -> str:
    """A name that fits, by its end, which tells more of a path than its beginning."""
    from rich.cells import cell_len

    if cell_len(name) <= room:
        return name
    while cell_len(name) > room - 1:
        name = name[1:]
    return "…" + name
