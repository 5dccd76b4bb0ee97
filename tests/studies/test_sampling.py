import math

import pytest
import torch
from diffusers import DDIMScheduler, MarigoldNormalsPipeline

from stablenormal.models.architecture import TOY
from stablenormal.pipelines.noise import seeded_noise
from studies.claims.networks import build_concatenating_denoiser
from studies.claims.sampling import DiffusionSampler, closest_to_mean, trailing_ddim


@pytest.mark.parametrize(
    ("predicts", "diffusers_name"), [("epsilon", "epsilon"), ("velocity", "v_prediction")]
)
@torch.no_grad()
def test_draws_what_diffusers_scheduler_draws(generator, predicts, diffusers_name):
    network = build_concatenating_denoiser(TOY, noisy_latent=True, generator=generator)
    image_latent = torch.randn(2, 4, 4, 4, generator=generator)
    sampler = DiffusionSampler(network, image_latent, trailing_ddim(10), predicts)
    found = sampler(seeded_noise(3, image_latent))

    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        prediction_type=diffusers_name,
        clip_sample=False,
        set_alpha_to_one=True,
    )
    scheduler.set_timesteps(10)
    x = seeded_noise(3, image_latent)()
    for timestep in scheduler.timesteps:
        x = scheduler.step(network.predict(x, int(timestep), image_latent), timestep, x).prev_sample
    torch.testing.assert_close(found, x, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_seed_decides_the_draw(generator):
    network = build_concatenating_denoiser(TOY, noisy_latent=True, generator=generator)
    image_latent = torch.randn(1, 4, 4, 4, generator=generator)
    sampler = DiffusionSampler(network, image_latent, trailing_ddim(3), "velocity")
    first, again, other = (sampler(seeded_noise(seed, image_latent)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def at(degrees: float) -> torch.Tensor:
    angle = math.radians(degrees)
    return torch.tensor([math.sin(angle), 0, math.cos(angle)]).view(1, 3, 1, 1)


class TestClosestToMean:
    def test_takes_a_member_where_they_disagree(self):
        members = [at(0), at(10), at(80)]
        torch.testing.assert_close(closest_to_mean(members), at(10))

    def test_equals_diffusers_marigold_ensemble(self, generator):
        members = [torch.randn(1, 3, 6, 5, generator=generator) for _ in range(5)]
        unit = torch.cat([member / member.norm(dim=1, keepdim=True) for member in members])
        expected, _ = MarigoldNormalsPipeline.ensemble_normals(unit, False, "closest")
        torch.testing.assert_close(closest_to_mean(members), expected)
