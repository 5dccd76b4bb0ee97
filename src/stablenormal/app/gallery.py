"""The page that shows photographs and their normals under a slider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from stablenormal.app.html_page import data_url, fill_page, link
from stablenormal.io.atomic import write_bytes


@dataclass(frozen=True)
class GalleryItem:
    """One photograph on the page. Paths are relative to the page."""

    name: str
    """What stands under the picture."""
    photo: str
    """Preview of the photograph."""
    normals: str
    """Preview of the normals, in the colours of the frame that the files have."""
    width: int
    """Width of the previews in pixels."""
    height: int
    """Height of the previews in pixels."""
    note: str = ""
    """One line of facts: size, time."""
    uncertainty: str | None = None
    """Preview of the uncertainty, where it was asked for."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Files to open: text of the link to path."""
    full: str | None = None
    """The normals at their own size, where a browser can show that file; the enlarged view takes it."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further pictures for the right of the line: label to preview."""


@dataclass(frozen=True)
class Legend:
    """A sphere in the colours of the run's frame, and the words for them."""

    frame: str
    axes: str
    sphere_png: bytes


def write_gallery(
    path: Path,
    items: Sequence[GalleryItem],
    *,
    title: str,
    facts: Mapping[str, str],
    legend: Legend,
    problems: Sequence[str],
    sides: tuple[str, str] = ("Photograph", "Normals"),
    about: str = 'Settings, versions and times: <a href="run.json">run.json</a>.',
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        items: the photographs, in the order in which they are shown.
        title: heading of the page.
        facts: what the heading says about the run, label to value.
        legend: the sphere that explains the colours.
        problems: one line for each file that has no result.
        sides: what stands left and right of the line.
        about: where more is said, as HTML.

    Raises:
        OutputError: if the file cannot be written.
    """
    page = fill_page(
        "gallery.html",
        title=title,
        facts=facts,
        legend=_legend_html(legend),
        problems=_problems_html(problems),
        body=_gallery_html(items, sides),
        footer=f"Drag over a picture, or focus it and use the arrow keys: {escape(sides[0].lower())} left of "
        f"the line, {escape(sides[1].lower())} right of it. Double-click a picture, or press Enter on it, to "
        f"enlarge it: the wheel, two fingers, + and - zoom, dragging moves. {about}",
    )
    write_bytes(path, page)


def _legend_html(legend: Legend) -> str:
    return (
        f'<img src="{data_url(legend.sphere_png)}" width="84" height="84" '
        'alt="A sphere in the colours of the frame">'
        f"<figcaption><b>{escape(legend.frame)}</b> frame: {escape(legend.axes)}. "
        "A sphere facing you has these colours.</figcaption>"
    )


def _problems_html(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    count = "1 file has" if len(problems) == 1 else f"{len(problems)} files have"
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in problems)
    return f'<section class="problems"><h2>{count} no result</h2><ul>{lines}</ul></section>'


def _gallery_html(items: Sequence[GalleryItem], sides: tuple[str, str]) -> str:
    if not items:
        return '<p class="empty">No photograph has a result in this run.</p>'
    cards = "\n".join(_card_html(item, number, sides) for number, item in enumerate(items, start=1))
    return (
        '<p class="all"><label for="all">Slide all</label>'
        '<input id="all" type="range" min="0" max="100" step="any" value="50"></p>\n'
        f'<ul class="gallery">\n{cards}\n</ul>'
    )


def _card_html(item: GalleryItem, number: int, sides: tuple[str, str]) -> str:
    name, (left, right) = escape(item.name), (escape(side) for side in sides)
    size = f'width="{item.width}" height="{item.height}"'
    layers = [("normals", right, item.normals)]
    if item.uncertainty is not None:
        layers.append(("uncertainty", "Uncertainty", item.uncertainty))
    layers += [(f"more{place}", escape(label), path) for place, (label, path) in enumerate(item.more.items())]
    full = "" if item.full is None else f' data-full="{link(item.full)}"'
    over = "".join(
        f'<img class="over" data-layer="{layer}" src="{link(source)}" {size} '
        f'alt="{label} of {name}" loading="lazy"{full if layer == "normals" else " hidden"}>'
        for layer, label, source in layers
    )
    links = "".join(f'<a href="{link(target)}">{escape(text)}</a>' for text, target in item.links.items())
    return (
        f'<li class="card" style="--ratio: {item.width / item.height:.4f}"><div class="compare">'
        f'<img src="{link(item.photo)}" {size} alt="{left} {name}" loading="lazy">{over}'
        f'<input type="range" min="0" max="100" step="any" value="50" '
        f'aria-label="{name}: {left.lower()} against {right.lower()}">'
        f'<button type="button" class="enlarge" aria-label="Enlarge {name}">&#x2922;</button></div>'
        f'<div class="text"><h2>{name}</h2>'
        + (f"<p>{escape(item.note)}</p>" if item.note else "")
        + (_layer_choice_html(layers, number) if len(layers) > 1 else "")
        + (f'<p class="links">{links}</p>' if links else "")
        + "</div></li>"
    )


def _layer_choice_html(layers: Sequence[tuple[str, str, str]], number: int) -> str:
    buttons = "".join(
        f'<label><input type="radio" name="layer{number}" value="{layer}"'
        f"{' checked' if layer == 'normals' else ''}>{label}</label>"
        for layer, label, _ in layers
    )
    return f'<fieldset class="layers" aria-label="Shown right of the line">{buttons}</fieldset>'
