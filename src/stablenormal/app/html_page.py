"""Parts of every HTML page: its head, the facts under the heading, pictures embedded in the file.

A page opens from disk: one HTML file with its style inside, and pictures beside it by relative path.
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote


def fill_page(template: str, *, title: str, facts: Mapping[str, str], **parts: str) -> bytes:
    """Fill a page's template.

    Args:
        template: file in this package; it begins with `$head`.
        title: of the page, plain text.
        facts: what the heading says about the run, label to value, plain text.
        parts: everything else that the template names, as HTML.
    """
    head = _read("page_head.html").substitute(title=escape(title))
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    page = _read(template).substitute(head=head, title=escape(title), facts=listed, **parts)
    return page.encode("utf-8", errors="replace")  # names need not be UTF-8


def link(path: str) -> str:
    """A relative path as an address; the bytes of names that are not UTF-8 stay as they are."""
    return quote(os.fsencode(path))


def data_url(png: bytes) -> str:
    """A PNG file as an address that needs no file."""
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def image_url(path: Path) -> str:
    """A JPEG, PNG or WebP file as an address that needs no file."""
    kind = {".jpg": "jpeg", ".png": "png", ".webp": "webp"}[path.suffix]
    return f"data:image/{kind};base64," + b64encode(path.read_bytes()).decode("ascii")


def _read(name: str) -> Template:
    return Template(files("stablenormal.app").joinpath(name).read_text(encoding="utf-8"))
