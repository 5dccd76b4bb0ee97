"""Rivals of the method at equal compute: other networks and objectives on the same latents.

    rival          image enters by       what is learnt                                         after
    diffusion      condition encoder     noise, at every level                                  the start
    marigold       concatenation         velocity, at every level                               2312.02145
    genpercept     condition encoder     x0 in one step from zeros at t+ = 0, latent error      2403.06090
    end_to_end     condition encoder     x0 in one step from zeros, angle of decoded normals    2409.11355
    feed_forward   alone                 x0 from the image latent, angle of decoded normals     -

`After` is an arXiv number; "the start" is what StableNormal's authors start from. Only what distinguishes the
rivals is kept: all have the method's denoiser, or a U-Net with as many parameters (within a tenth), begin
with fresh weights, and see the same samples in the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.geometry.normals import unit_length
from stablenormal.models.architecture import Architecture
from stablenormal.models.autoencoder import decode
from stablenormal.models.building import ModelComponents, build_components, build_concatenating_denoiser
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.pipelines.diffusion import DiffusionSampler
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.sampling.predictions import Prediction
from stablenormal.sampling.refine import Step, plain_ddim, trailing_ddim
from stablenormal.training.fresh_weights import quieten_blocks
from stablenormal.training.latent_cache import LatentCache
from stablenormal.training.objectives import diffusion_loss
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

NetworkKind = Literal["guided", "beside", "alone"]
"""How the image reaches the U-Net: through the condition encoder, beside the noisy latent, or alone."""


@dataclass(frozen=True)
class Rival:
    """What distinguishes a rival."""

    network: NetworkKind
    """How the image reaches its U-Net."""
    part: type[DenoiserSettings]
    """The part whose settings it takes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of them that make it what it is."""
    predicts: Prediction | None = None
    """What it gives at every noise level; None for one-step networks."""
    trailing: bool = False
    """Whether its steps are spaced from t = 999 down ("trailing"), instead of down to t = 1 ("leading")."""

    def table(self, steps: int) -> tuple[Step, ...]:
        """Its DDIM steps."""
        return trailing_ddim(steps) if self.trailing else plain_ddim(steps)


_WHOLE_ANGLE = {"decode_cells": 0, "latent_weight": 0.0}
"""The angle of all decoded pixels and nothing else, as E2E-FT has it."""

RIVALS: dict[str, Rival] = {
    "diffusion": Rival("guided", YosoSettings, predicts="epsilon"),
    "marigold": Rival("beside", YosoSettings, predicts="velocity", trailing=True),
    "genpercept": Rival("guided", YosoSettings, {"shrinkage": 1.0, "clean_fraction": 1.0}),
    "end_to_end": Rival("guided", AngularSettings, {"start": "zeros", **_WHOLE_ANGLE}),
    "feed_forward": Rival("alone", AngularSettings, {"start": "image_latent", **_WHOLE_ANGLE}),
}


def rival_components(
    base: ModelComponents, architecture: Architecture, kind: NetworkKind, seed: int
) -> ModelComponents:
    """A model with the base's frozen autoencoder and encoders, and fresh denoisers.

    Guided networks of one seed are equal, whatever they are trained for.

    Args:
        base: gives the frozen parts and the spec.
        architecture: shapes of the denoisers.
        kind: what stands in YOSO's place.
        seed: decides the fresh weights.
    """
    generator = Generator().manual_seed(seed)
    fresh = build_components(architecture, replace(base.spec, start="noise", turbo_t=0), generator)
    components = replace(
        fresh,
        autoencoder=base.autoencoder,
        image_encoder=base.image_encoder,
        semantic_encoder=base.semantic_encoder,
    )
    if kind != "guided":
        network = build_concatenating_denoiser(architecture, kind == "beside", generator)
        components.yoso = cast(
            GuidedDenoiser, network
        )  # the pipelines take any denoiser; it is never saved as YOSO
    for name, part in components.parts().items():
        if name in ("yoso", "refiner"):
            quieten_blocks(part)
        else:
            part.requires_grad_(False).eval()
    return components


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
