"""The page that shows a measurement: numbers in tables, and images with their maps side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stablenormal.app.gallery import Legend
from stablenormal.app.html_page import fill_page
from stablenormal.app.previews import angle_bar
from stablenormal.io.atomic import write_bytes


@dataclass(frozen=True)
class Table:
    """Numbers under a heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Sequence[str] = ()
    """For each row what its first cell opens, relative to the page; empty for no links."""
    folded: bool = False
    """Whether only the title shows at first."""


@dataclass(frozen=True)
class Picture:
    """One picture of a card."""

    label: str
    path: str
    """Relative to the page."""
    width: int
    height: int


@dataclass(frozen=True)
class Card:
    """One image of the set with its maps."""

    name: str
    note: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Group:
    """Cards under a heading."""

    title: str
    cards: Sequence[Card]


def write_report_page(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    warnings: Sequence[str],
    tables: Sequence[Table],
    groups: Sequence[Group],
    legend: Legend,
    angles: str,
    top_deg: float,
    files: Mapping[str, str],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        title: heading of the page.
        facts: what the heading says about the run, label to value.
        warnings: one line each, shown before the numbers.
        tables: the numbers; folded ones come after the pictures.
        groups: the pictures.
        legend: the sphere that explains the colours of normals.
        angles: what the colours of angle maps mean.
        top_deg: the angle of the brightest colour.
        files: where the numbers are, label to path relative to the page.

    Raises:
        OutputError: if the file cannot be written.
    """
    page = fill_page(
        "report.html",
        title=title,
        facts=facts,
        files=files,
        legend=legend,
        angle_bar=angle_bar(),
        angles=angles,
        top_deg=f"{top_deg:g}",
        warnings=warnings,
        tables=tables,
        groups=groups,
    )
    write_bytes(path, page)
