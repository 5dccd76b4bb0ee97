"""Sphinx configuration: the pages of this folder, the commands as typer shows them, formulas as MathML."""

import re
from pathlib import Path

import typer
from click import Context
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator
from typer.cli import get_docs_for_click

from stablenormal import __version__
from stablenormal.cli.main import app as commands

project = "stablenormal"
author = "The stablenormal maintainers"
copyright = "the stablenormal maintainers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

smartquotes_action = "qe"  # quotes and ellipses; two dashes begin an option

html_theme = "furo"
html_title = f"stablenormal {__version__}"
html_math_renderer = "mathml"  # browsers draw it themselves: no script, no network

_HERE = Path(__file__).parent


def setup(app: Sphinx) -> None:
    """Sphinx calls this before it reads the pages."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_formula, None))
    _write_command_reference(_HERE / "_generated/cli.md")


def _inline_formula(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _formula(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div style="margin: 1em 0">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _write_command_reference(path: Path) -> None:
    """Every command with its options, from the commands themselves; typer writes it."""
    command = typer.main.get_command(commands)
    text = get_docs_for_click(obj=command, ctx=Context(command), name="stablenormal", title="Commands")
    for group in (command, *command.commands.values()):
        for name, one in getattr(group, "commands", {}).items():  # typer cuts them off after some words
            text = re.sub(rf"^\* `{name}`: .*$", f"* `{name}`: {one.help.splitlines()[0]}", text, flags=re.M)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
