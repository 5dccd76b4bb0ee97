"""The refiner: the semantic-guided refinement (SG-DRN)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.spec import Alignment
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.training.latent_cache import Extra
from stablenormal.training.objectives import masked_mean_square
from stablenormal.training.parts.decoded_angle import DecodedAngleSettings, decoded_angle, decoding
from stablenormal.training.parts.denoiser import DenoiserTraining, trainable_denoiser
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import (
    Stage,
    refuse_negative,
    refuse_outside_unit_interval,
    refuse_unknown,
)


@dataclass(frozen=True)
class RefinerSettings(DecodedAngleSettings):
    """The settings that decide the weights of the refiner."""

    keys: ClassVar[Mapping[str, str]] = {"part": "refiner"}

    low_noise_fraction: float = 0.7
    """Probability that t is drawn from 1 to t+, where sampling happens; otherwise from (0, 1000)."""
    semantics: bool = True
    """Whether it sees semantic features; without, a fresh injector stays as if it were not there."""
    alignment: Alignment = "bilinear"
    """What brings semantic features to the latent's size; the trained model's spec says the same."""
    start_from_yoso: bool = True
    """Begin with YOSO's weights, which has its shape (the paper begins both from SD)."""
    own_start_fraction: float = 0.0
    """Share of samples whose x_t is YOSO's own prediction with noise, not the truth with noise: what it meets
    in use."""
    coarse_fraction: float = 0.0
    """Share of samples whose x_t is a blurred or reduced truth with noise: what `enhance` gives it."""
    angular_weight: float = 0.0
    """Weight of the angle (radians) of the decoded normals beside the latent's mean square error."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside_unit_interval(self, "low_noise_fraction", "own_start_fraction", "coarse_fraction")
        refuse_negative(self, "angular_weight")
        refuse_unknown(self, alignment=Alignment)
        if self.own_start_fraction + self.coarse_fraction > 1:
            raise SettingError("own_start_fraction and coarse_fraction together must not exceed 1")
        if self.edge_weight and not self.angular_weight:
            raise SettingError("edge_weight: weighs angles, which the refiner has with angular_weight alone")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with a refiner that takes gradients, perhaps one that begins as YOSO."""
        if self.alignment == "upsampler" and components.feature_upsampler is None:
            raise SettingError(f"alignment: {self.base} has no feature upsampler; train one first")
        refiner = trainable_denoiser(components.refiner, self.gradient_checkpointing)
        if self.start_from_yoso:
            _copy_weights(components.yoso, refiner)
        return replace(
            components,
            spec=replace(components.spec, alignment=self.alignment),
            autoencoder=decoding(components.autoencoder, self),
            refiner=refiner,
        )

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "RefinerTraining":
        """Regression of x_0."""
        caches = folder / "latents"
        return RefinerTraining(self, components, components.refiner, corpus, heldout, caches)

    def extras(self) -> tuple[Extra, ...]:
        """What the latent cache holds beside latents."""
        wanted: dict[Extra, bool] = {
            "semantic": self.semantics,
            "normals": self.angular_weight > 0,
            "start": self.own_start_fraction > 0,
            "coarse": self.coarse_fraction > 0,
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def _copy_weights(yoso: GuidedDenoiser, refiner: GuidedDenoiser) -> None:
    """Give a refiner YOSO's denoiser, condition encoder and text condition, in place."""
    try:
        refiner.unet.load_state_dict(yoso.unet.state_dict())
        refiner.condition_encoder.load_state_dict(yoso.condition_encoder.state_dict())
    except RuntimeError as error:
        raise SettingError(
            "start_from_yoso: YOSO and the refiner of this base have different shapes; set it to false"
        ) from error
    refiner.text = yoso.text.clone()


class RefinerTraining(DenoiserTraining[RefinerSettings]):
    """The refiner with the loss of the paper's second stage, and perhaps the angle of decoded normals."""

    mode = "full"

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """x_0 regression from x_t, with timesteps as `low_noise_fraction` says."""
        batch, settings = self.read(stage, samples), self.settings
        timestep = samples.integers(1, 1000)
        low = samples.uniform() < settings.low_noise_fraction
        timestep = torch.where(low, 1 + timestep % self.components.spec.t_plus, timestep)
        z = samples.normal(*batch.x0.shape[1:])
        clean, share = batch.x0, samples.uniform()[:, None, None, None]
        if batch.start is not None:
            clean = torch.where(share < settings.own_start_fraction, batch.start, clean)
        if batch.coarse is not None:
            clean = torch.where(share > 1 - settings.coarse_fraction, batch.coarse, clean)
        x_t = NoiseSchedule().add_noise(clean, z, timestep)
        predicted = self.components.refiner.predict(
            x_t, timestep, batch.encoded.condition, semantic=batch.semantic
        )
        latent = masked_mean_square(predicted - batch.x0, batch.weight).mean()
        if not settings.angular_weight:
            return latent, {}
        autoencoder = self.components.autoencoder
        angle = decoded_angle(autoencoder, predicted, batch, samples, settings).mean()
        figures = {"angle_deg": float(torch.rad2deg(angle.detach())), "latent": float(latent.detach())}
        return latent + settings.angular_weight * angle, figures
