"""Packaging facts that stand in two places agree."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stablenormal

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RANGES = [Requirement(text) for text in PROJECT["dependencies"]] + [
    Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra
]
PINS = {
    canonicalize_name(pin.name): pin
    for pin in (
        Requirement(line)
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
}


@pytest.mark.parametrize("needed", RANGES, ids=str)
def test_each_dependency_has_a_tested_version_within_its_range(needed: Requirement) -> None:
    pin = PINS[canonicalize_name(needed.name)]
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    assert needed.specifier.contains(specifier.version)


def test_nothing_is_pinned_that_is_not_used() -> None:
    assert set(PINS) == {canonicalize_name(needed.name) for needed in RANGES}


def test_the_version_is_the_same_everywhere() -> None:
    assert version("stablenormal") == stablenormal.__version__
    assert f"\nversion: {stablenormal.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {stablenormal.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
