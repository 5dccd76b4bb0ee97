"""The recordings of the released code, reproduced: latents to 1e-4, normals to 5e-4."""

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.models.autoencoder import encode
from stablenormal.models.building import ModelComponents
from stablenormal.models.condition_encoder import ConditionEncoder
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.loading import fill, load_diffusers
from stablenormal.models.released import released_spec
from stablenormal.models.semantic_injector import StageInjector
from stablenormal.models.text import text_constant
from stablenormal.models.unet_stages import stage_channels
from stablenormal.pipelines import StableNormal
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.pipelines.two_stage import RefinementPlan, TwoStageSampler, plan_refinement
from stablenormal.sampling.one_step import one_step

LATENT_TOLERANCE, NORMAL_TOLERANCE = 1e-4, 5e-4


class PriorStandin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Conv2d(3, 48, 14, stride=14)

    def forward(self, image: Tensor) -> Tensor:
        size = (112, 112)
        return self.p(functional.interpolate(image, size, mode="bicubic", antialias=True, align_corners=True))


@pytest.fixture
def pipeline(recording):
    """The recording's weights in this project's own classes, without any remote code."""
    folder = recording.folder

    def pair(name: str, text: Tensor, injector: nn.Module | None = None) -> GuidedDenoiser:
        unet = load_diffusers(folder / name / "unet", UNet2DConditionModel)
        f = ConditionEncoder(load_diffusers(folder / name / "controlnet", ControlNetModel), False)
        return GuidedDenoiser(unet, f, text, injector)

    stages = stage_channels(load_diffusers(folder / "refine" / "unet", UNet2DConditionModel))
    injector = StageInjector(48, (32, 32, 32), stages, zero_projections=False)
    fill(injector, folder / "injector_standin.safetensors")
    prior = PriorStandin()
    fill(prior, folder / "prior_standin.safetensors")
    yoso_text = text_constant("zeros", 0, 1024) if recording.late else recording.prompts["prompt_embeds_yoso"]
    return StableNormal(
        ModelComponents(
            spec=released_spec(recording.rule, "v1.5" if recording.late else "before-v1.5", 64),
            autoencoder=load_diffusers(folder / "vae", AutoencoderKL),
            yoso=pair("yoso", yoso_text),
            refiner=pair("refine", recording.prompts["prompt_embeds"], injector),
            semantic_encoder=prior,
        )
    )


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@torch.no_grad()
def test_latents(recording, pipeline):
    components, spec = pipeline.components, pipeline.spec
    image = recording.image[None] * 2 - 1
    latent = encode(components.autoencoder, image)
    plan = RefinementPlan(spec.refinement, spec.steps, spec.t_plus, spec.tau)
    encoded = EncodedImage(latent, latent)
    sampler = TwoStageSampler(components, encoded, components.semantic_encoder(image), plan)
    initial = seeded_noise(recording.seed, latent)()
    t_start = spec.turbo_t if recording.late else spec.t_plus
    start = one_step(sampler.yoso, latent, initial, spec.start, t_start)
    assert difference(start, recording.yoso_latent) < LATENT_TOLERANCE
    refined = sampler(seeded_noise(recording.seed, latent))
    assert difference(refined, recording.refined_latent) < LATENT_TOLERANCE


def test_normals(recording, pipeline):
    full = pipeline(recording.image, seed=recording.seed).normals[0]
    assert difference(full, recording.refined) < NORMAL_TOLERANCE
    if recording.late:  # the recording's YOSO map is of t = 0 there, which is turbo
        turbo = pipeline(recording.image, mode="turbo", seed=recording.seed).normals[0]
        assert difference(turbo, recording.yoso) < NORMAL_TOLERANCE


@pytest.mark.parametrize("recording", ["released_rule"], indirect=True)
@pytest.mark.parametrize("steps", [1, 2, 3, 6, 7, 10, 25, 50])
@torch.no_grad()
def test_any_number_of_steps(recording, pipeline, steps):
    """The released loop on diffusers' own scheduler: YOSO at 401, and the hold where `steps` puts it."""
    components, schedule = pipeline.components, released_scheduler(steps)
    image = recording.image[None] * 2 - 1
    latent = encode(components.autoencoder, image)
    plan = plan_refinement(pipeline.spec, steps=steps)
    encoded = EncodedImage(latent, latent)
    sampler = TwoStageSampler(components, encoded, components.semantic_encoder(image), plan)
    noise, held = seeded_noise(recording.seed, latent), steps // 2
    timesteps = schedule.timesteps.clone()
    timesteps[:held] = timesteps[held].clone()
    x = sampler.yoso(noise(), 401)
    for index, timestep in enumerate(timesteps):
        x0 = sampler.refiner(x, int(timestep))
        if index + 1 < held:
            x = schedule.add_noise(x0, noise(), timestep[None])
        else:  # DDIM's step goes from t to t - 1000 // steps; the hold's last one is taken from above
            x = schedule.step(x0, timestep + (1000 // steps if index + 1 == held else 0), x).prev_sample
    assert difference(sampler(seeded_noise(recording.seed, latent)), x0) < LATENT_TOLERANCE
    if steps == 10:
        assert difference(x0, recording.refined_latent) < LATENT_TOLERANCE


def released_scheduler(steps: int) -> DDIMScheduler:
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="leading",
        steps_offset=1,
    )
    scheduler.set_timesteps(steps)
    return scheduler


def test_another_seed_differs(recording, pipeline):
    other = pipeline(recording.image, seed=recording.seed + 1).normals[0]
    assert difference(other, recording.refined) > 100 * NORMAL_TOLERANCE
