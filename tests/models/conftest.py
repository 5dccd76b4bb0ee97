"""Real classes at toy size."""

import pytest
import torch

from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import ModelComponents, build_components


@pytest.fixture
def toy() -> ModelComponents:
    return build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(0))
