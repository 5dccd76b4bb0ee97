"""The documentation names files and functions that exist, and its lines are short enough to read."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    ROOT / "src/stablenormal/weights/small/README.md",
]
METHOD = (ROOT / "docs/method.md").read_text(encoding="utf-8")
POINTERS = re.findall(r"`([a-z_0-9/]+)\.py`: ((?:`[\w.]+`(?:, )?)+)", METHOD)
NAMES = [
    (path.replace("/", "."), name) for path, names in POINTERS for name in re.findall(r"`([\w.]+)`", names)
]


def test_the_method_page_points_somewhere() -> None:
    assert len(NAMES) > 30


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module}.{name}" for module, name in NAMES])
def test_what_the_method_page_names_exists(module: str, name: str) -> None:
    home = importlib.import_module(f"stablenormal.{module}")
    assert reduce(getattr, name.split("."), home) is not None


def test_the_readme_names_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in target]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def prose_lines(page: str) -> list[str]:
    """Lines of a Markdown page outside code blocks and tables that hold no link."""
    without_fences = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return [
        line
        for line in without_fences.splitlines()
        if not line.startswith(("|", "    ")) and "](" not in line and "://" not in line
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_prose_are_at_most_110_characters(page: Path) -> None:
    prose = prose_lines(page.read_text(encoding="utf-8"))
    assert prose
    assert [line for line in prose if len(line) > 110] == []


def test_prose_is_told_from_code_tables_and_links() -> None:
    page = "# Title\n\nprose\n\n```python\ncode\n```\n\n| cell |\n|---|\n\n[a](b)\n\n    code\n\nafter"
    assert [line for line in prose_lines(page) if line] == ["# Title", "prose", "after"]
