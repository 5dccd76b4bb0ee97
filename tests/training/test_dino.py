import math

import pytest
import torch

from stablenormal.training.dino import (
    DinoHead,
    choose_masked,
    distillation_loss,
    koleo_loss,
    sinkhorn,
    teacher_momentum,
)


def test_sinkhorn_uses_every_prototype_alike_and_sums_to_one_a_row(generator):
    likeness = torch.randn(64, 8, generator=generator) * 0.1
    likeness[:, 0] += 0.3  # without centring, everything would fall to the first prototype
    assert (likeness / 0.07).softmax(-1).sum(0)[0] > 20
    assigned = sinkhorn(likeness)
    torch.testing.assert_close(assigned.sum(1), torch.ones(64))
    assert (assigned.sum(0) - 8).abs().max() < 1
    assert torch.equal(sinkhorn(likeness[:0]), likeness[:0])


def test_agreement_costs_less_than_disagreement():
    teacher = torch.eye(4)
    assert (distillation_loss(torch.eye(4), teacher) < distillation_loss(torch.eye(4).flip(0), teacher)).all()


def test_koleo_pushes_neighbours_apart():
    angles = torch.tensor([0.0, 0.1, 2.0], requires_grad=True)
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    losses = koleo_loss(features)
    assert losses[0] > losses[2] and losses[0].item() == pytest.approx(
        -math.log(2 * math.sin(0.05)), abs=1e-4
    )
    losses.sum().backward()
    assert angles.grad[0] > 0 > angles.grad[1]  # descending moves the first back and the second on
    assert koleo_loss(torch.randn(1, 3)).tolist() == [0.0]


def test_masks_hide_a_share_of_the_patches_of_the_chosen_images(generator):
    mask = choose_masked(torch.randn(3, 20, generator=generator), 0.3, torch.tensor([True, False, True]))
    assert mask.sum(1).tolist() == [6, 0, 6]


def test_momentum_rises_to_one():
    values = [teacher_momentum(0.9, step, 10) for step in range(11)]
    assert values[0] == pytest.approx(0.9) and values[-1] == pytest.approx(1) and values == sorted(values)


def test_head_gives_cosines(generator):
    head = DinoHead(6, 5)
    likeness = head(torch.randn(7, 6, generator=generator))
    assert likeness.shape == (7, 5) and likeness.abs().max() <= 1 + 1e-5


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
