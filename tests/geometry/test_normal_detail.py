"""A prior that leans or bends in the large gives its detail all the same."""

import math

import pytest
import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.geometry.normal_detail import detail_on
from stablenormal.geometry.normals import angular_error_deg, unit_length

SIDE = 48


def rippled(bend: float, ripple: float) -> Tensor:
    """Normals (3, H, W) of a broad bowl under ripples of 4 px."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    waves = ripple * torch.sin(torch.arange(SIDE) * (2 * math.pi / 4)).expand(SIDE, SIDE)
    return unit_length(torch.stack([bend * x + waves, bend * y, torch.ones_like(x)])[None])[0]


def turned(normals: Tensor, degrees: float) -> Tensor:
    """About the x axis."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turn = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return torch.einsum("ij,jhw->ihw", turn, normals)


def error(found: Tensor, truth: Tensor) -> float:
    """Mean angle in degrees."""
    return float(angular_error_deg(found[None], truth[None]).mean())


@pytest.mark.parametrize("degrees", [0.0, 30.0, -50.0])
def test_detail_comes_from_the_prior_and_shape_from_the_surface(degrees: float) -> None:
    truth, surface = rippled(0.5, 0.3), rippled(0.5, 0.0)
    prior = turned(rippled(0.1, 0.3), degrees)  # too flat, and leaning
    found = detail_on(prior, surface, 4.0)
    assert torch.allclose(found.norm(dim=0), torch.ones(SIDE, SIDE), atol=1e-5)
    assert error(found, truth) < 0.25 * error(surface, truth)


def test_what_is_unknown_stays_unknown() -> None:
    prior, surface = rippled(0.2, 0.2), rippled(0.4, 0.0)
    prior[:, :10], surface[:, :, :5] = 0, 0
    prior[:, 30:, 30:] *= -1  # points away from the surface: nothing to learn
    known = (detail_on(prior, surface, 1.0) != 0).any(dim=0)
    assert known[15:25, 10:].all()
    assert not known[:10].any() and not known[:, :5].any() and not known[36:, 36:].any()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ImageShapeError, match="resize first"):
        detail_on(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5), 1.0)
