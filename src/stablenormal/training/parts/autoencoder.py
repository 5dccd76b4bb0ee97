"""The autoencoder: En and De on photographs and normal maps alike."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.errors import SettingError
from stablenormal.geometry.normals import unit_length, valid_mask
from stablenormal.models.autoencoder import decode, encode, posterior, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.latent_scale import scale_latents
from stablenormal.sampling.one_step import one_step
from stablenormal.training.augmentation import Batch, in_native_frame, load_batch
from stablenormal.training.base import trainable
from stablenormal.training.objectives import (
    angular_loss,
    kl_divergence,
    masked_mean_square,
    reconstruction_loss,
)
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import (
    Stage,
    TrainingSettings,
    refuse_negative,
    refuse_outside_unit_interval,
)
from stablenormal.training.validation import (
    figures_of,
    heldout_batches,
    image_metrics,
    normal_rows,
    picture_of,
)

_LOG = logging.getLogger(__name__)
_ANGULAR_WEIGHT = 0.5
_IMAGE_WEIGHT = 0.5
_SCALING_IMAGES = 256


@dataclass(frozen=True)
class AutoencoderSettings(TrainingSettings):
    """The settings that decide the weights of the autoencoder."""

    keys: ClassVar[Mapping[str, str]] = {"part": "autoencoder"}

    kl_weight: float = 1e-3
    """Weight of the Kullback-Leibler term, per latent value."""
    normals_fraction: float = 0.6
    """Share of normal maps in a batch; the rest are photographs."""
    freeze_encoder: bool = False
    """Train the decoder alone; latents, and what was trained on them, stay as they are."""
    freeze_decoder: bool = False
    """Train the encoder alone, so that the decoder gives back what it encodes: after a one-step network has
    been trained through the decoder, latents of true normals are what a refiner aims at. All latents of the
    model are scaled to unit variance afterwards, where photographs are encoded from tokens."""
    start_weight: float = 0.0
    """Weight of the mean square difference between the latent of the true normals and the one-step network's
    prediction: of all latents that decode to them, one near where a refiner starts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside_unit_interval(self, "normals_fraction")
        refuse_negative(self, "start_weight")
        if self.freeze_encoder and self.freeze_decoder:
            raise SettingError("freeze_encoder and freeze_decoder: nothing is left to train")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with an autoencoder that takes gradients, in its decoder alone where asked."""
        autoencoder = trainable(components.autoencoder)
        if self.freeze_encoder:
            autoencoder.encoder.requires_grad_(False)
            autoencoder.quant_conv.requires_grad_(False)
        if self.freeze_decoder:
            autoencoder.decoder.requires_grad_(False)
            autoencoder.post_quant_conv.requires_grad_(False)
        if self.gradient_checkpointing:
            autoencoder.enable_gradient_checkpointing()
        return replace(components, autoencoder=autoencoder)

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "AutoencoderTraining":
        """Reconstruction of photographs and normal maps."""
        return AutoencoderTraining(self, components, corpus, heldout)


class AutoencoderTraining(PartTraining):
    """En and De, with the loss of their reconstructions; photographs guide De where the model does so."""

    def __init__(
        self,
        settings: AutoencoderSettings,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
    ) -> None:
        super().__init__(components, components.autoencoder)
        self._autoencoder, self._spec = components.autoencoder, components.spec
        self._corpus, self._heldout, self._settings = corpus, heldout, settings

    def samples(self, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def study(self, stage: Stage, samples: StepSamples) -> dict[str, Tensor]:
        """Photographs and normals."""
        batch = self._read(stage, samples)
        return {"image": batch.image, "normals": batch.normals}

    def _read(self, stage: Stage, samples: StepSamples) -> Batch:
        crops = (min(1.0, stage.size / self._corpus.size), 1.0)
        batch = load_batch(self._corpus, samples.index, stage.size, samples.rngs, crops)
        return in_native_frame(batch.to(samples.device), self._spec)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Reconstruction of both, the angle of the normals, and a small Kullback-Leibler term."""
        batch = self._read(stage, samples)
        count = round(samples.total * self._settings.normals_fraction)
        is_normals = torch.from_numpy(samples.places < count).to(samples.device)
        # Each kind's loss is a mean over that kind, so a sample of it weighs as the kind's share is rare.
        weight = torch.where(
            is_normals, samples.total / max(1, count), samples.total / max(1, samples.total - count)
        )
        target = torch.where(is_normals[:, None, None, None], batch.normals, batch.image)
        latents = posterior(self._autoencoder, target)
        drawn = samples.normal(*latents.mean.shape[1:])
        scale = float(self._autoencoder.config.scaling_factor)
        encoded = self._encoded(batch.image)
        guides = [guide * is_normals[:, None, None, None] for guide in encoded.guides] if encoded else []
        decoded = decode(self._autoencoder, (latents.mean + latents.std * drawn) * scale, guides).float()
        valid = valid_mask(target)
        error_normals = reconstruction_loss(decoded, target, valid) * weight * is_normals
        error_image = (decoded - target).abs().flatten(1).mean(1) * weight * ~is_normals
        angle = angular_loss(decoded, target, valid) * weight * is_normals
        kl = kl_divergence(latents.mean.float(), latents.logvar.float())
        total = (
            error_normals
            + _IMAGE_WEIGHT * error_image
            + _ANGULAR_WEIGHT * angle
            + self._settings.kl_weight * kl
        )
        figures = {
            "normals": error_normals,
            "image": error_image,
            "angle_deg": torch.rad2deg(angle),
            "kl": kl,
            "sigma": latents.std,
        }
        if encoded is not None and self._settings.start_weight:
            cells = functional.avg_pool2d(valid[:, None].float(), reduction(self._autoencoder))
            start = self._start_error(encoded, latents.mean * scale, cells) * weight * is_normals
            total = total + self._settings.start_weight * start
            figures["start"] = start
        return total.mean(), {name: float(value.detach().mean()) for name, value in figures.items()}

    def validate(self) -> Validation:
        """Angle between held-out normals and their reconstruction, whole images at the corpus' size."""
        metrics, images, rows = [], [], []
        for batch in heldout_batches(
            self._heldout, self._settings.validation_images, self._autoencoder.device
        ):
            native = in_native_frame(batch, self._spec)
            with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=self._settings.bf16):
                encoded = self._encoded(native.image)
                guides = encoded.guides if encoded else ()
                normals = decode(self._autoencoder, encode(self._autoencoder, native.normals), guides).float()
                photographs = decode(self._autoencoder, encode(self._autoencoder, native.image)).float()
            metrics += image_metrics(normals, native.normals)
            images.append(float((photographs - batch.image).abs().mean()))
            rows += normal_rows(native, unit_length(normals))
        figures = figures_of("reconstruction", metrics)
        if self._settings.normals_fraction < 1:
            figures |= {"image_l1": float(np.mean(images))}
        return Validation(figures, picture_of(rows, self._settings.pictures))

    def _encoded(self, image: Tensor) -> EncodedImage | None:
        """Photographs (B, 3, H, W) as the model encodes them, without gradients, where that is needed."""
        if not (self.components.guides_decoder or self._settings.start_weight):
            return None
        with torch.no_grad():
            return self.components.encode_image(image)

    def _start_error(self, encoded: EncodedImage, latent: Tensor, weight: Tensor) -> Tensor:
        """Mean square differences (B,) of latents from the one-step network's, by cells' weights."""
        yoso, spec = self.components.yoso, self._spec
        with torch.no_grad():
            start = one_step(
                lambda x, timestep: yoso.predict(x, timestep, encoded.condition),
                encoded.latent,
                torch.zeros_like(encoded.latent),
                spec.start,
                spec.turbo_t,
            )
        return masked_mean_square(latent - start, weight)

    def finish(self) -> ModelComponents:
        """The model, latents of normals scaled to unit variance; a frozen encoder's keep their scale."""
        settings = self._settings
        if settings.freeze_decoder and self.components.guides_decoder:
            scale_latents(self.components, 1 / self._deviation())
        elif not (settings.freeze_encoder or settings.freeze_decoder):
            self._autoencoder.register_to_config(scaling_factor=1.0)
            self._autoencoder.register_to_config(scaling_factor=1 / self._deviation())
        _LOG.info("autoencoder: scaling factor %.4f", self._autoencoder.config.scaling_factor)
        return self.components

    def _deviation(self) -> float:
        """Standard deviation of the latents of normals over the corpus."""
        count = min(_SCALING_IMAGES, len(self._corpus))
        chosen = np.linspace(0, len(self._corpus) - 1, count).astype(np.int64)
        with torch.inference_mode():
            batches = (
                in_native_frame(load_batch(self._corpus, i, 128, None), self._spec) for i in chosen[:, None]
            )
            device = self._autoencoder.device
            latents = [encode(self._autoencoder, batch.normals.to(device)) for batch in batches]
        return float(torch.stack(latents).std())
