"""The committed fixtures and what is known of them."""

import importlib.util
import json
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Read only; see `write_fixtures.py`."""
    return FIXTURES


@pytest.fixture(scope="session")
def known_answers() -> dict:
    """Metrics of the predictions, by protocol."""
    return json.loads((FIXTURES / "known-answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def writer():
    """The script that wrote the fixtures, as a module."""
    spec = importlib.util.spec_from_file_location(
        "write_fixtures", Path(__file__).parent / "write_fixtures.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
