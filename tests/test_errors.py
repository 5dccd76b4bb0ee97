"""Messages speak to whoever called: of arguments in Python, of options on the command line."""

import ast
import re
from pathlib import Path

import pytest

import stablenormal
from stablenormal.errors import argument, arguments_spelled

PACKAGE = Path(stablenormal.__file__).parent
LIBRARY = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("cli", "app", "__main__.py")
]


def options_in(source: str) -> list[str]:
    """Every literal text, of messages and docstrings alike, that writes an option as a command line does."""
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [text for text in texts if isinstance(text, str) and re.search(r"(?<![\w-])--[a-z]", text)]


def test_options_are_found() -> None:
    source = (
        'def f(part):\n    """As --layer."""\n    raise ValueError(f"{part}: give --part 1" " or -- none")'  # noqa: E501
    )
    assert options_in(source) == ["As --layer.", ": give --part 1 or -- none"]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_library_names_no_option_of_the_command_line(path: Path) -> None:
    assert options_in(path.read_text(encoding="utf-8")) == []


def test_a_program_spells_arguments_its_own_way_for_as_long_as_it_runs() -> None:
    assert argument("t_plus") == "`t_plus`"
    with pytest.raises(KeyError), arguments_spelled(lambda name: f"--{name}"):
        assert argument("part") == "--part"
        with arguments_spelled(str.upper):
            assert argument("part") == "PART"
        assert argument("part") == "--part"
        raise KeyError
    assert argument("part") == "`part`"
