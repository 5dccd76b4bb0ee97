import math

import pytest
import torch

from stablenormal.data.sample import UNLABELLED
from stablenormal.errors import ImageShapeError
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.training.objectives import (
    angular_loss,
    kl_divergence,
    masked_mean_square,
    patch_label_loss,
    pixel_weights,
    reconstruction_loss,
    yoso_loss,
)

ALPHAS = NoiseSchedule().alphas_cumprod.float()


def _latents(seed=0, batch=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, 3, 4, 4, generator=generator)


def test_surfaces_without_a_label_count_for_no_class():
    labels = torch.tensor([[[0, UNLABELLED], [1, UNLABELLED]]])
    logits = torch.zeros(1, 3, 1, 1)
    known = torch.tensor([[[0, 0], [1, 1]]])
    torch.testing.assert_close(2 * patch_label_loss(logits, labels), patch_label_loss(logits, known))


class TestYoso:
    def test_perfect_prediction_of_the_noisy_latent_costs_nothing(self):
        x0, noise = _latents()
        t_plus = torch.tensor([0, 101, 401, 999])
        shrink = torch.tensor([False, True, False, True])
        a = ALPHAS[t_plus][:, None, None, None].clone()
        a[0] = 1

        def oracle(z, t):
            return a.sqrt() * x0 + (1 - a).sqrt() * z

        loss = yoso_loss(oracle, x0, torch.ones(4, 1, 4, 4), ALPHAS, noise, t_plus, shrink)
        assert (loss < 1e-10).all() and loss.shape == (4,)

    def test_shrunk_samples_see_zeros_and_the_others_their_noise(self):
        x0, noise = _latents()
        seen = {}

        def record(z, t):
            seen["z"] = z
            return z

        shrink = torch.tensor([True, False, True, False])
        yoso_loss(record, x0, torch.ones(4, 1, 4, 4), ALPHAS, noise, torch.full((4,), 401), shrink)
        assert (seen["z"][shrink] == 0).all()
        assert torch.equal(seen["z"][~shrink], noise[~shrink])

    def test_t_plus_zero_asks_for_the_clean_latent(self):
        x0, noise = _latents()
        zero = torch.zeros(4, dtype=torch.int64)
        loss = yoso_loss(lambda z, t: x0, x0, torch.ones(4, 1, 4, 4), ALPHAS, noise, zero, zero.bool())
        assert (loss == 0).all()


def test_each_sample_is_noised_to_its_own_level():
    x0, noise = _latents()
    timestep = torch.tensor([1, 101, 401, 900])

    x_t = NoiseSchedule().add_noise(x0, noise, timestep)
    a = ALPHAS[timestep][:, None, None, None]
    torch.testing.assert_close((x_t - (1 - a).sqrt() * noise) / a.sqrt(), x0)
    moved = masked_mean_square(x_t - x0, torch.ones(4, 1, 4, 4))
    assert (moved.diff() > 0).all() and moved[-1] > 1


def test_invalid_latent_cells_do_not_count():
    error = torch.zeros(1, 2, 2, 2)
    error[..., 0] = 100
    weight = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert masked_mean_square(error, weight) == 0
    error[..., 1] = 2
    assert masked_mean_square(error, weight) == 4
    with pytest.raises(ImageShapeError, match="do not fit"):
        masked_mean_square(error, weight[..., :1])


def test_reconstruction_counts_only_valid_pixels_and_punishes_blur():
    target = torch.zeros(1, 3, 8, 8)
    target[..., 4:] = 1
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    assert reconstruction_loss(target, target, valid) == 0
    half = torch.full_like(target, 0.5)  # same mean error as a flipped half, without any edge
    assert reconstruction_loss(half, target, valid) > 0.5
    damaged = target.clone()
    damaged[..., :2] = 9
    assert reconstruction_loss(damaged, target, valid & (torch.arange(8) >= 2)) == 0


def test_angular_loss_is_the_mean_angle_in_radians():
    up = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None].expand(1, 3, 2, 2)
    toward = torch.tensor([0.0, 0.0, 1.0])[None, :, None, None].expand(1, 3, 2, 2)
    valid = torch.tensor([[[True, False], [False, False]]])
    assert angular_loss(up, toward, valid) == pytest.approx(math.pi / 2, abs=1e-5)


def test_pixels_near_an_edge_count_more_and_invalid_ones_nothing():
    normals = torch.zeros(1, 3, 4, 16)
    normals[:, 1, :, :8], normals[:, 2, :, 8:] = 1, 1  # floor and wall meet between columns 7 and 8
    normals[:, :, 0] = 0
    assert torch.equal(pixel_weights(normals, 0.0)[0, 1], torch.ones(16))
    weights = pixel_weights(normals, 2.0)[0]
    assert weights[0].sum() == 0
    assert weights[1].tolist() == [1] * 4 + [3] * 8 + [1] * 4


def test_kl_of_the_prior_is_zero_and_of_others_positive():
    zeros = torch.zeros(2, 3)
    assert (kl_divergence(zeros, zeros) == 0).all()
    assert kl_divergence(zeros + 1, zeros).tolist() == pytest.approx([0.5, 0.5])


def test_patch_labels_reward_the_share_of_each_class():
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[:, :, 2:] = 1
    right = torch.full((1, 3, 2, 2), -9.0)
    right[:, 0, :, 0] = 9
    right[:, 1, :, 1] = 9
    assert patch_label_loss(right, labels) < 1e-3
    assert patch_label_loss(right.flip(-1), labels) > 10


def test_a_batchs_losses_are_those_of_its_samples_alone():
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(2, 4, 3, 8, 8, generator=generator)
    valid = torch.rand(4, 8, 8, generator=generator) < torch.tensor([0.1, 0.5, 0.9, 0.0])[:, None, None]
    labels = torch.randint(0, 3, (4, 8, 8), generator=generator)
    losses = {
        reconstruction_loss: (prediction, target, valid),
        angular_loss: (prediction, target, valid),
        kl_divergence: (prediction, target),
        patch_label_loss: (prediction, labels),
        masked_mean_square: (prediction, valid[:, None].float()),
    }
    for loss, arguments in losses.items():
        together = loss(*arguments)
        alone = torch.cat([loss(*(one[place : place + 1] for one in arguments)) for place in range(4)])
        torch.testing.assert_close(together, alone, msg=loss.__name__)
