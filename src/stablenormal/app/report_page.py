"""The page that shows a measurement: numbers in tables, and images with their maps side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from stablenormal.app.gallery import Legend
from stablenormal.app.html_page import data_url, fill_page, link
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
    footer: str,
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
        footer: where the numbers are, as HTML.

    Raises:
        OutputError: if the file cannot be written.
    """
    page = fill_page(
        "report_page.html",
        title=title,
        facts=facts,
        legend=_legend_html(legend, angles, top_deg),
        warnings=_warnings_html(warnings),
        tables="\n".join(_table_html(table) for table in tables if not table.folded),
        groups="\n".join(_group_html(group) for group in groups if group.cards),
        folded="\n".join(_table_html(table) for table in tables if table.folded),
        footer=footer,
    )
    write_bytes(path, page)


def _legend_html(legend: Legend, angles: str, top_deg: float) -> str:
    sphere, bar = data_url(legend.sphere_png), data_url(angle_bar())
    return (
        f'<figure><img src="{sphere}" width="72" height="72" alt="A sphere in the colours of the frame">'
        f"<figcaption>Normals: <b>{escape(legend.frame)}</b> frame, {escape(legend.axes)}</figcaption>"
        f'</figure><figure><span class="bar"><img src="{bar}" width="160" height="12" '
        f'alt="Colours of the angle maps"><span><span>0°</span><span>{top_deg:g}° and more</span></span>'
        f"</span><figcaption>{escape(angles)}; grey: no normal</figcaption></figure>"
    )


def _warnings_html(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings"><h2>Look here first</h2><ul>{lines}</ul></section>'


def _table_html(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    body = "".join(_row_html(table, number) for number in range(len(table.rows)))
    grid = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{grid}</details>"
    return f"<section><h2>{escape(table.title)}</h2>{grid}</section>"


def _row_html(table: Table, number: int) -> str:
    first, *others = table.rows[number]
    name = escape(first)
    if table.links:
        name = f'<a href="{link(table.links[number])}">{name}</a>'
    return (
        f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in others) + "</tr>"
    )


def _group_html(group: Group) -> str:
    cards = "\n".join(_card_html(card) for card in group.cards)
    return f'<section><h2>{escape(group.title)}</h2>\n<ul class="cards">\n{cards}\n</ul></section>'


def _card_html(card: Card) -> str:
    name = escape(card.name)
    pictures = "".join(
        f'<figure><a href="{link(one.path)}"><img src="{link(one.path)}" width="{one.width}" '
        f'height="{one.height}" alt="{escape(one.label)} of {name}" loading="lazy"></a>'
        f"<figcaption>{escape(one.label)}</figcaption></figure>"
        for one in card.pictures
    )
    return f'<li><h3>{name}</h3><p>{escape(card.note)}</p><div class="pictures">{pictures}</div></li>'
