"""The documentation names files and functions that exist."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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
