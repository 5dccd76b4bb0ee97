import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """The script that writes the sets, which knows the answers."""
    spec = importlib.util.spec_from_file_location(
        "reader_fixtures", Path(__file__).parent / "write_fixtures.py"
    )
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sets(scenes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every set, by the reader's name; read only."""
    root = tmp_path_factory.mktemp("sets")
    scenes.write_fixtures(root)
    return root


@pytest.fixture
def copy_of(sets: Path, tmp_path: Path):
    """A copy of one set that a test may break."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(sets / name, tmp_path / name))

    return copy
