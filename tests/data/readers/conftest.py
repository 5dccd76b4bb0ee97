import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def copy_of(sets: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one set that a test may break."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(sets / name, tmp_path / name))

    return copy
