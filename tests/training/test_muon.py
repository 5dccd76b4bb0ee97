"""The orthogonalised optimiser."""

import pytest
import torch
from torch import nn

from stablenormal.training.muon import Muon, orthogonalised, split_parameters


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 72), (2, 40, 5), (1, 1, 9)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_singular_values_become_about_one(shape, scale):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    found = orthogonalised(matrices)
    values = torch.linalg.svdvals(found.float())
    if 16 not in shape:  # square random matrices have singular values near zero, which five rounds only raise
        assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    lengths = found.float().norm(dim=(1, 2)) * values.shape[1] ** 0.5
    assert ((found.float() * (left @ right)).sum((1, 2)) / lengths).min() > 0.9


def test_zero_gradients_move_nothing():
    weight = nn.Parameter(torch.ones(4, 6))
    weight.grad = torch.zeros(4, 6)
    Muon([weight], lr=0.1).step()
    assert torch.equal(weight, torch.ones(4, 6))


def _weights():
    generator = torch.Generator().manual_seed(1)
    shapes = [(8, 8), (8, 8), (8, 8), (4, 2, 3, 3), (12, 4), (12, 4)]
    weights = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)
    return weights


def test_length_of_a_step_does_not_depend_on_the_gradients():
    large, small = _weights(), _weights()
    for weight in large:
        weight.grad *= 1024
    Muon(large, lr=0.02).step()
    Muon(small, lr=0.02).step()
    for one, other, before in zip(large, small, _weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
        assert not torch.equal(one, before)


def test_processes_that_share_the_work_take_the_same_step():
    alone, parts = _weights(), []
    for rank in range(3):
        Muon(_weights(), lr=0.02, rank=rank, count=3, total=lambda flat: parts.append(flat.clone())).step()
    Muon(alone, lr=0.02).step()
    together = _weights()
    Muon(together, lr=0.02, rank=0, count=3, total=lambda flat: flat.copy_(sum(parts))).step()
    assert all((part == 0).any() for part in parts)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_weights_decay():
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.95))


def test_only_hidden_matrices_are_taken():
    module = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(3, 4, 3),
            "hidden": nn.Conv2d(4, 4, 3),
            "norm": nn.GroupNorm(2, 4),
            "linear": nn.Linear(4, 4),
            "frozen": nn.Linear(4, 4).requires_grad_(False),
            "conv_out": nn.Conv2d(4, 3, 3),
        }
    )
    matrices, others = split_parameters(module)
    assert {id(p) for p in matrices} == {id(module["hidden"].weight), id(module["linear"].weight)}
    assert len(others) == 2 + 1 + 2 + 1 + 2


def test_a_closure_gives_the_gradients_and_its_loss():
    by_hand, by_closure = _weights(), _weights()

    def loss(weights):
        value = sum((weight**2).sum() for weight in weights)
        value.backward()
        return value.detach()

    expected = loss(by_hand)
    assert Muon(by_hand, lr=0.1).step() is None
    assert Muon(by_closure, lr=0.1).step(lambda: loss(by_closure)) == expected
    assert all(torch.equal(a, b) for a, b in zip(by_hand, by_closure, strict=True))
    assert not torch.equal(by_hand[0], _weights()[0])
