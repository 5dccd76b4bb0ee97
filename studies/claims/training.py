"""The rivals' trainings: ours with other settings, and regression of noise or velocity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.geometry.normals import unit_length
from stablenormal.models.autoencoder import decode
from stablenormal.models.building import ModelComponents
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.training.latent_cache import LatentCache
from stablenormal.training.objectives import masked_mean_square
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.parts.angular import AngularSettings, AngularTraining
from stablenormal.training.parts.denoiser import DenoiserSettings, DenoiserTraining
from stablenormal.training.parts.yoso import YosoSettings, YosoTraining
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage
from stablenormal.training.validation import (
    figures_of,
    heldout_batches,
    image_metrics,
    normal_rows,
    picture_of,
)
from studies.claims.predictions import Prediction, prediction_target
from studies.claims.rivals import Rival
from studies.claims.sampling import DiffusionSampler


def rival_training(
    rival: Rival,
    components: ModelComponents,
    corpus: PackedCorpus,
    heldout: PackedCorpus,
    settings: DenoiserSettings,
    caches: Path | LatentCache,
) -> PartTraining:
    """The training of a copy of a rival's network, which stands in YOSO's place in `components`."""
    ready = settings.prepare(components)
    if rival.predicts is not None:
        return DiffusionTraining(rival, settings, ready, ready.yoso, corpus, heldout, caches)
    if isinstance(settings, AngularSettings):
        return AngularTraining(settings, ready, corpus, heldout, caches)
    assert isinstance(settings, YosoSettings), "rivals take the settings of these two"
    return YosoTraining(settings, ready, ready.yoso, corpus, heldout, caches)


class DiffusionTraining(DenoiserTraining[DenoiserSettings]):
    """A network that predicts noise or velocity at every level; arguments as `DenoiserTraining`'s."""

    def __init__(self, rival: Rival, *arguments: Any) -> None:
        super().__init__(*arguments)
        assert rival.predicts is not None, "one-step networks are trained by other classes"
        self._rival, self._predicts = rival, rival.predicts

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Noise or velocity regression, t uniform over all levels."""
        batch = self.read(stage, samples)
        timestep = samples.integers(0, 1000)
        z = samples.normal(*batch.x0.shape[1:])
        network = self.components.yoso

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return network.predict(x, t, batch.encoded.latent)

        return diffusion_loss(predict, self._predicts, batch.x0, batch.weight, z, timestep).mean(), {}

    def validate(self) -> Validation:
        """Errors of ten steps on held-out images."""
        metrics, rows = [], []
        device = self.components.autoencoder.device
        for batch in heldout_batches(self._heldout, self.settings.validation_images, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.bf16):
                image_latent = self.components.encode_image(batch.image).latent
                table = self._rival.table(10)
                sampler = DiffusionSampler(self.components.yoso, image_latent, table, self._predicts)
                latent = sampler(seeded_noise(0, image_latent))
                normals = decode(self.components.autoencoder, latent).float()
            metrics += image_metrics(normals, batch.normals)
            rows += normal_rows(batch, unit_length(normals))
        return Validation(figures_of("ten_steps", metrics), picture_of(rows, self.settings.pictures))


def diffusion_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    predicts: Prediction,
    x0: Tensor,
    weight: Tensor,
    noise: Tensor,
    timestep: Tensor,
) -> Tensor:
    """E || target - mu(x_t, t) ||^2 for a network that gives x0, noise or velocity (DDPM, eq. 14).

    Args:
        network: (x_t, t) -> what it predicts.
        predicts: which of the three.
        x0: latents of the normals (B, c, h, w).
        weight: share of valid pixels per latent cell (B, 1, h, w).
        noise: epsilon ~ N(0, I), like x0.
        timestep: (B,) int64 in [0, 1000).
    """
    target = prediction_target(predicts, x0, noise, timestep)
    return masked_mean_square(
        network(NoiseSchedule().add_noise(x0, noise, timestep), timestep) - target, weight
    )
