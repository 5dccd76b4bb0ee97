"""The page that shows photographs and their normals under a slider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from stablenormal.app.html_page import fill_page
from stablenormal.io.atomic import write_bytes


class Layer(NamedTuple):
    """A picture for the right of the line."""

    key: str
    """Names it in the page."""
    label: str
    path: str
    full: str | None = None
    """What the enlarged view takes in its place."""


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

    def layers(self, label: str) -> list[Layer]:
        """What can stand right of the line, the normals first.

        Args:
            label: of the normals.
        """
        layers = [Layer("normals", label, self.normals, self.full)]
        if self.uncertainty is not None:
            layers.append(Layer("uncertainty", "Uncertainty", self.uncertainty))
        more = enumerate(self.more.items())
        return layers + [Layer(f"more{place}", name, path) for place, (name, path) in more]


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
    files: Mapping[str, str] = MappingProxyType({"Settings, versions and times": "run.json"}),
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
        files: where more is said, label to path relative to the page.

    Raises:
        OutputError: if the file cannot be written.
    """
    left, right = sides
    page = fill_page(
        "gallery.html",
        title=title,
        facts=facts,
        files=files,
        legend=legend,
        problems=problems,
        items=items,
        left=left,
        right=right,
    )
    write_bytes(path, page)
