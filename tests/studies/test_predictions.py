import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.refine import hold_then_descend, plain_ddim, run_steps
from studies.claims.predictions import denoise_from, prediction_target, x0_from
from studies.claims.sampling import trailing_ddim

KINDS = ("x0", "epsilon", "velocity")
SCHEDULE = NoiseSchedule()


@pytest.fixture
def pair(generator):
    return torch.randn(3, 2, 4, 4, generator=generator), torch.randn(3, 2, 4, 4, generator=generator)


class TestTargetsAndBack:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("timestep", [0, 401, 999, torch.tensor([1, 500, 901])])
    def test_the_target_gives_x0_back(self, pair, kind, timestep):
        x0, noise = pair
        x_t = SCHEDULE.add_noise(x0, noise, timestep)
        target = prediction_target(kind, x0, noise, timestep)
        torch.testing.assert_close(x0_from(kind, target, x_t, timestep), x0, rtol=0, atol=2e-4)

    def test_velocity_is_the_derivative_of_x_t_along_its_angle(self, pair):
        """With sqrt(a) = cos(p), sqrt(1 - a) = sin(p), dx/dp is the velocity (arXiv 2202.00512)."""
        x0, noise = (one.double() for one in pair)
        angle = SCHEDULE.alphas_cumprod[300].double().sqrt().acos()
        step = 1e-6
        ahead, behind = (torch.cos(p) * x0 + torch.sin(p) * noise for p in (angle + step, angle - step))
        target = prediction_target("velocity", x0, noise, 300)
        torch.testing.assert_close((ahead - behind) / (2 * step), target, rtol=0, atol=1e-6)

    def test_an_unknown_kind_is_refused(self, pair):
        with pytest.raises(SettingError, match="choose x0, epsilon, velocity"):
            prediction_target("score", *pair, 1)
        with pytest.raises(SettingError, match="choose x0, epsilon, velocity"):
            x0_from("score", *pair, 1)


class TestSamplingWithAnOracle:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        "table", [plain_ddim(10), trailing_ddim(10), trailing_ddim(50), hold_then_descend(10)]
    )
    def test_a_network_that_knows_the_answer_is_followed_exactly(self, pair, kind, table):
        x0, noise = pair

        def network(x_t, timestep):
            signal = SCHEDULE.alpha(timestep) ** 0.5
            epsilon = (x_t - signal * x0) / (1 - signal**2) ** 0.5
            return prediction_target(kind, x0, epsilon, timestep)

        found = run_steps(denoise_from(kind, network), noise, table, lambda: torch.randn_like(noise))
        torch.testing.assert_close(found, x0, rtol=0, atol=1e-3)

    def test_kinds_of_one_imperfect_network_agree(self, pair):
        """What a network says does not depend on the form in which it says it."""
        x0, noise = pair

        def x0_network(x_t, timestep):
            return 0.7 * x0 + 0.1 * x_t

        def in_form(kind):
            def network(x_t, timestep):
                clean = x0_network(x_t, timestep)
                signal = SCHEDULE.alpha(timestep) ** 0.5
                epsilon = (x_t - signal * clean) / (1 - signal**2) ** 0.5
                return prediction_target(kind, clean, epsilon, timestep)

            return network

        found = [
            run_steps(denoise_from(kind, in_form(kind)), noise, trailing_ddim(7), lambda: noise)
            for kind in KINDS
        ]
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-3)
        torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-3)
        assert (found[0] - x0).abs().max() > 0.1


class TestTrailing:
    @pytest.mark.parametrize("steps", [1, 4, 10, 50])
    def test_timesteps_are_diffusers_own(self, steps):
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing")
        scheduler.set_timesteps(steps)
        assert [step.t_network for step in trailing_ddim(steps)] == scheduler.timesteps.tolist()

    @pytest.mark.parametrize("steps", [4, 10, 50])
    def test_the_default_of_plain_ddim_is_diffusers_leading_spacing(self, steps):
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="leading", steps_offset=1)
        scheduler.set_timesteps(steps)
        assert [step.t_network for step in plain_ddim(steps)] == scheduler.timesteps.tolist()

    def test_steps_out_of_range_are_refused(self):
        with pytest.raises(SettingError, match="1 to 1000"):
            trailing_ddim(0)
