"""What the pages share: their head, the facts under the heading, pictures inside the file.

A page opens from disk: one HTML file with its style inside, and pictures beside it by relative path.
"""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template


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
    return page.encode("utf-8")


def data_url(png: bytes) -> str:
    """A PNG file as an address that needs no file."""
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def _read(name: str) -> Template:
    return Template(files("stablenormal.app").joinpath(name).read_text(encoding="utf-8"))
