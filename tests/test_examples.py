"""The examples of the README and the manual run, and their commands have the options that they show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import typer
from PIL import Image

from stablenormal.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
EXAMPLES = ["README.md", "docs/quickstart.md", "docs/python.md"]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`photo.jpg` where the example runs: a small copy of a bundled one."""
    sample = Image.open(ROOT / "src/stablenormal/samples/figurine.jpg")
    sample.resize((64, 64)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("photograph")
@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_in_python_run(page: str) -> None:
    names = {"CHECKOUT": str(ROOT)}
    examples = blocks(page, "python")
    assert examples
    for example in examples:
        exec(compile(example, page, "exec"), names)
    normals = names.get("normals")
    assert normals is None or np.allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    assert list(Path().glob("photo_normal.*"))


def test_the_readme_shows_python_in_five_lines() -> None:
    (example,) = blocks("README.md", "python")
    assert len(example.strip().splitlines()) <= 5


def test_the_readme_lists_exactly_the_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("| command | what it does |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(commands())


def commands() -> dict[str, click.Command]:
    """Every command by name, in the order of `--help`."""
    group = typer.main.get_command(app)
    context = click.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def shown_commands(page: str) -> Iterator[list[str]]:
    """The words of each command line that a page shows, without its prompt and comment."""
    for block in [*blocks(page, "console"), *blocks(page, "bash")]:
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["stablenormal"] and words[1:2] != ["--help"] and words[1:2] != ["COMMAND"]:
                yield words[1:]


def test_shown_commands_are_found() -> None:
    assert sum(len(list(shown_commands(page))) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_the_options_that_a_page_shows(page: str) -> None:
    for name, *words in shown_commands(page):
        command = commands()[name]
        if hasattr(command, "commands"):
            command = command.commands[words[0]]
        known = {spelling for parameter in command.params for spelling in parameter.opts} | {"--help"}
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{page}: {name} has no {given - known}"
