"""What tests of several rooms share."""

from pathlib import Path

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


@pytest.fixture
def generator() -> torch.Generator:
    """Random numbers of a test: the same in every run."""
    return torch.Generator().manual_seed(1)
