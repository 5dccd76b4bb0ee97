import pytest
import torch

from stablenormal.sampling.noise_schedule import NoiseSchedule
from studies.claims.predictions import prediction_target
from studies.claims.training import diffusion_loss


class TestDiffusionLoss:
    @pytest.mark.parametrize("predicts", ["x0", "epsilon", "velocity"])
    def test_is_zero_for_a_network_that_knows_the_noise(self, predicts):
        generator = torch.Generator().manual_seed(0)
        x0, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
        timestep, weight = torch.tensor([0, 400, 999]), torch.ones(3, 1, 8, 8)

        def knowing(x_t, t):
            torch.testing.assert_close(x_t, NoiseSchedule().add_noise(x0, noise, t))
            return prediction_target(predicts, x0, noise, t)

        assert (diffusion_loss(knowing, predicts, x0, weight, noise, timestep) == 0).all()
        assert (diffusion_loss(lambda x_t, t: x_t, predicts, x0, weight, noise, timestep) > 0).all()

    def test_cells_without_normals_do_not_count(self):
        generator = torch.Generator().manual_seed(0)
        x0, noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
        weight = torch.ones(1, 1, 8, 8)
        weight[..., :4] = 0
        wrong_there = noise.clone()
        wrong_there[..., :4] += 100
        timestep = torch.tensor([500])
        assert diffusion_loss(lambda x_t, t: wrong_there, "epsilon", x0, weight, noise, timestep) == 0
