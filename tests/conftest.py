"""What tests of several rooms share."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model folder with random weights: every real class at toy size."""
    from stablenormal.models.architecture import TOY, TOY_SPEC
    from stablenormal.models.building import build_components
    from stablenormal.models.loading import save_components

    folder = tmp_path_factory.mktemp("models") / "toy"
    components = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(7))
    save_components(components, folder, torch.float32)
    return folder


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """The script that writes tiny training sets, which knows the answers."""
    script = Path(__file__).parent / "data/readers/write_fixtures.py"
    spec = importlib.util.spec_from_file_location("reader_fixtures", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sets(scenes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every training set, by the reader's name; read only."""
    root = tmp_path_factory.mktemp("sets")
    scenes.write_fixtures(root)
    return root
