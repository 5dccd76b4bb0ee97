"""A little bank, one OpenGL context, and handmade models for the tests of this folder."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stablenormal.data.synthetic.assets import AssetBank, load_bank, prepared_bank
from stablenormal.data.synthetic.bank import Bank, build_bank
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.rasteriser import Rasteriser


@pytest.fixture(scope="session")
def bank() -> Bank:
    return build_bank(generator(3), fraction=0.02)


@pytest.fixture(scope="session")
def rasteriser(bank: Bank) -> Iterator[Rasteriser]:
    made = Rasteriser(64)
    made.load_bank(bank)
    yield made
    made.close()


@pytest.fixture(scope="session")
def handmade() -> ModuleType:
    """`handmade_models.py` as a module."""
    path = Path(__file__).parent / "handmade_models.py"
    spec = importlib.util.spec_from_file_location("handmade_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def prepared(handmade: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared file of a handmade catalogue."""
    folder = tmp_path_factory.mktemp("models")
    return prepared_bank([handmade.furnished_catalogue(folder / "test.sh3f")], folder)[0]


@pytest.fixture(scope="session")
def models(prepared: Path) -> AssetBank:
    return load_bank(prepared)


@pytest.fixture(scope="session")
def real_bank(models: AssetBank) -> Bank:
    return build_bank(generator(3), fraction=0.02, assets=models)
