"""A pipeline of real classes at toy size."""

import pytest
import torch

from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import ModelComponents, build_components
from stablenormal.pipelines import StableNormal


@pytest.fixture
def components() -> ModelComponents:
    made = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(made.refiner.injector.projection.weight, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # vectors of about unit length: normalising tiny ones would amplify rounding
        made.autoencoder.decoder.conv_out.bias += torch.tensor([0.0, 0.0, 1.0])
    return made


@pytest.fixture
def pipeline(components) -> StableNormal:
    return StableNormal(components)


@pytest.fixture
def images() -> list[torch.Tensor]:
    """Of different sizes."""
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(3, *size, generator=generator) for size in ((20, 33), (40, 16), (20, 33))]
