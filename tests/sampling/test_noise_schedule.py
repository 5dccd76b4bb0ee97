import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.sampling.noise_schedule import NoiseSchedule


@pytest.mark.parametrize(
    ("timestep", "expected"),
    [(401, 0.4229), (501, 0.2750), (301, 0.5888), (201, 0.7521), (101, 0.8930), (1, 0.9983)],
)
def test_published_values(timestep, expected):
    assert NoiseSchedule().alpha(timestep) == pytest.approx(expected, abs=5e-5)


def test_equals_diffusers_scheduler():
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    torch.testing.assert_close(NoiseSchedule().alphas_cumprod, theirs.alphas_cumprod)


def test_fields_do_something():
    assert len(NoiseSchedule(timesteps=10).alphas_cumprod) == 10
    assert NoiseSchedule(beta_start=0.001).alpha(0) == pytest.approx(0.999)
    assert NoiseSchedule(beta_end=0.02).alpha(999) < NoiseSchedule().alpha(999)


@pytest.mark.parametrize("fields", [{"timesteps": 1}, {"beta_start": 0.0}, {"beta_end": 1.0}])
def test_refuses_impossible_schedules(fields):
    with pytest.raises(SettingError, match="noise schedule"):
        NoiseSchedule(**fields)


@pytest.mark.parametrize("timestep", [-1, 1000])
def test_refuses_timesteps_outside(timestep):
    with pytest.raises(SettingError, match="0 to 999"):
        NoiseSchedule().alpha(timestep)


class TestAddNoise:
    def test_one_level(self):
        x0, noise = torch.full((2, 1, 1, 1), 2.0), torch.ones(2, 1, 1, 1)
        expected = 2 * 0.6503 + 0.7597
        assert NoiseSchedule().add_noise(x0, noise, 401).flatten().tolist() == pytest.approx(
            [expected] * 2, abs=2e-4
        )

    def test_a_level_for_each_sample(self):
        schedule = NoiseSchedule()
        x0, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        both = schedule.add_noise(x0, noise, torch.tensor([1, 801]))
        for index, timestep in enumerate((1, 801)):
            one = schedule.add_noise(x0[index : index + 1], noise[index : index + 1], timestep)
            torch.testing.assert_close(both[index : index + 1], one)

    def test_keeps_variance_and_dtype(self):
        generator = torch.Generator().manual_seed(0)
        x0, noise = torch.randn(2, 1, 4, 100, 100, generator=generator)
        assert NoiseSchedule().add_noise(x0, noise, 500).var().item() == pytest.approx(1, abs=0.03)

    def test_bfloat16_keeps_the_little_noise_of_early_timesteps(self):
        """1 - a_1 = 0.0017 is no difference of bfloat16 numbers."""
        ones = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16)
        noise = NoiseSchedule().add_noise(ones * 0, ones, 1)
        assert noise.dtype == torch.bfloat16
        assert noise.item() == pytest.approx((1 - 0.9983) ** 0.5, rel=0.02)
