"""HTML pages from the templates in `pages/`: one file with its style inside, and pictures beside it.

A page opens from disk. Everything that fills a template is plain text, which jinja2 escapes.
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined


def fill_page(
    template: str, *, title: str, facts: Mapping[str, str], files: Mapping[str, str], **values: Any
) -> bytes:
    """Fill a page's template.

    Args:
        template: file in `pages/`.
        title: of the page.
        facts: what the heading says about the run, label to value.
        files: where more is said, at the foot of the page: label to path relative to the page.
        values: everything else that the template names.
    """
    page = fill_part(template, title=title, facts=facts, files=files, **values)
    return page.encode("utf-8", errors="replace")  # names need not be UTF-8


def fill_part(template: str, **values: Any) -> str:
    """Fill the template of a part of a page.

    Args:
        template: file in `pages/`.
        values: everything that it names.
    """
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("stablenormal.app", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(address=_address, embedded=_embedded)
    return templates


def _address(path: str) -> str:
    """A relative path as an address; the bytes of names that are not UTF-8 stay as they are."""
    return quote(os.fsencode(path))


def _embedded(picture: bytes) -> str:
    """A PNG or JPEG file as an address that needs no file."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64," + b64encode(picture).decode("ascii")
