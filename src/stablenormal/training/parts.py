"""The four parts that are trained, each in terms of the objectives."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stablenormal.data.packed import PackedCorpus
from stablenormal.data.sample import CLASSES
from stablenormal.errors import SettingError
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.models.autoencoder import decode, encode, posterior, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.pipelines.stable_normal import Mode, StableNormal
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.one_step import one_step
from stablenormal.training.augmentation import load_batch
from stablenormal.training.config import Stage, TrainingConfig
from stablenormal.training.latent_cache import Extra, LatentBatch, LatentCache, build_latent_cache
from stablenormal.training.loop import PartTraining
from stablenormal.training.objectives import (
    angular_loss,
    kl_divergence,
    masked_mean_square,
    noised,
    patch_label_loss,
    reconstruction_loss,
    yoso_loss,
)

_LOG = logging.getLogger(__name__)
_ANGULAR_WEIGHT = 0.5
_IMAGE_WEIGHT = 0.5
_VALIDATION_BATCH = 8


class AutoencoderTraining(PartTraining):
    """En and De on photographs and normal maps alike."""

    def __init__(
        self, components: ModelComponents, corpus: PackedCorpus, heldout: PackedCorpus, config: TrainingConfig
    ):
        super().__init__(components.autoencoder)
        if config.freeze_encoder:
            components.autoencoder.encoder.requires_grad_(False)
            components.autoencoder.quant_conv.requires_grad_(False)
        self._autoencoder, self._corpus, self._heldout, self._config = (
            components.autoencoder,
            corpus,
            heldout,
            config,
        )

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(
        self, stage: Stage, index: NDArray[np.int64], rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Reconstruction of both, the angle of the normals, and a small Kullback-Leibler term."""
        batch = load_batch(self._corpus, index, stage.size, rng, smallest_crop=stage.size / self._corpus.size)
        count = round(len(index) * self._config.normals_fraction)
        normals, photographs = batch.normals[:count], batch.image[count:]
        latents = posterior(self._autoencoder, torch.cat([normals, photographs]))
        drawn = torch.randn(latents.mean.shape, generator=noise)
        scale = float(self._autoencoder.config.scaling_factor)
        decoded = decode(self._autoencoder, (latents.mean + latents.std * drawn) * scale).float()
        valid = normals.square().sum(1) > 0.25
        error_normals = reconstruction_loss(decoded[:count], normals, valid)
        error_image = (decoded[count:] - photographs).abs().sum() / max(1, photographs.numel())
        angle = angular_loss(decoded[:count], normals, valid)
        kl = kl_divergence(latents.mean.float(), latents.logvar.float())
        total = (
            error_normals
            + _IMAGE_WEIGHT * error_image
            + _ANGULAR_WEIGHT * angle
            + self._config.kl_weight * kl
        )
        figures = {
            "normals": error_normals,
            "image": error_image,
            "angle_deg": torch.rad2deg(angle),
            "kl": kl,
            "sigma": latents.std.mean(),
        }
        return total, {name: float(value.detach()) for name, value in figures.items()}

    def validate(self) -> dict[str, float]:
        """Mean angle between held-out normals and their reconstruction, whole images at the corpus' size."""
        errors, images = [], []
        for index in _batches(self._config.validation_images, len(self._heldout)):
            batch = load_batch(self._heldout, index, self._heldout.size, None)
            with torch.autocast("cpu", torch.bfloat16):
                latent = encode(self._autoencoder, torch.cat([batch.normals, batch.image]))
                normals, photographs = decode(self._autoencoder, latent).float().chunk(2)
            errors += _image_errors(normals, batch.normals)
            images.append(float((photographs - batch.image).abs().mean()))
        return {"reconstruction_deg": float(np.mean(errors)), "image_l1": float(np.mean(images))}


class SemanticTraining(PartTraining):
    """The semantic encoder, supervised by the scenes' labels through a linear head that is thrown away."""

    def __init__(
        self, components: ModelComponents, corpus: PackedCorpus, heldout: PackedCorpus, config: TrainingConfig
    ):
        encoder = components.semantic_encoder
        if not isinstance(encoder, SemanticEncoder):
            raise SettingError("semantic: only a semantic encoder of the DINOv2 architecture can be trained")
        head = nn.Conv2d(encoder.channels, len(CLASSES), 1)
        nn.init.zeros_(head.weight)
        super().__init__(nn.ModuleDict({"encoder": encoder, "head": head}))
        self._encoder, self._head, self._size = encoder, head, encoder.input_size
        self._corpus, self._heldout, self._config = corpus, heldout, config

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(
        self, stage: Stage, index: NDArray[np.int64], rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the patch labels, at the stage's own size: positions interpolate to others."""
        batch = load_batch(self._corpus, index, stage.size, rng)
        patch = int(self._encoder.network.config.patch_size)
        self._encoder.input_size = max(1, stage.size // patch) * patch
        return patch_label_loss(self._head(self._encoder(batch.image)), batch.labels), {}

    def validate(self) -> dict[str, float]:
        """Share of held-out pixels whose patch is given their class."""
        self._encoder.input_size = self._size
        right = []
        for index in _batches(self._config.validation_images, len(self._heldout)):
            batch = load_batch(self._heldout, index, self._heldout.size, None)
            with torch.autocast("cpu", torch.bfloat16):
                logits = self._head(self._encoder(batch.image)).float()
            guess = nn.functional.interpolate(logits, batch.labels.shape[1:], mode="bilinear").argmax(1)
            right.append(float((guess == batch.labels).float().mean()))
        return {"label_accuracy": float(np.mean(right))}


class _DenoiserTraining(PartTraining):
    """What YOSO and the refiner share: cached latents, and validation through the pipeline."""

    def __init__(
        self,
        components: ModelComponents,
        corpus: PackedCorpus,
        heldout: PackedCorpus,
        config: TrainingConfig,
        caches: Path,
    ) -> None:
        super().__init__(components.refiner if config.part == "refiner" else components.yoso)
        self._components, self._corpus, self._heldout, self._config = components, corpus, heldout, config
        self._caches, self._alphas = caches, NoiseSchedule().alphas_cumprod.float()
        self._cache: LatentCache | None = None

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every cached variant of every sample."""
        self._cache = build_latent_cache(
            self._caches / f"{self._config.part}-{stage.size}",
            self._corpus,
            self._components,
            stage.size,
            stage.variants,
            stage.steps * stage.batch,
            self._config.seed,
            self._extras(),
        )
        return len(self._cache)

    def _extras(self) -> tuple[Extra, ...]:
        """What the cache holds beside latents."""
        return ()

    def _angle(self, prediction: Tensor, batch: LatentBatch, noise: torch.Generator) -> Tensor:
        """Mean angle in radians of the decoded prediction, in a random window of `decode_cells`."""
        if batch.normals is None:
            raise RuntimeError("the latent cache holds no normals")
        side, cells = reduction(self._components.autoencoder), prediction.shape[-1]
        window = min(self._config.decode_cells or cells, cells)
        top, left = (int(v) for v in torch.randint(0, cells - window + 1, (2,), generator=noise))
        decoded = decode(
            self._components.autoencoder, prediction[..., top : top + window, left : left + window]
        )
        truth = batch.normals[..., top * side : (top + window) * side, left * side : (left + window) * side]
        return angular_loss(decoded.float(), truth, truth.square().sum(1) > 0.25)

    def _read(self, index: NDArray[np.int64]) -> LatentBatch:
        if self._cache is None:
            raise RuntimeError("samples() prepares the cache before loss() reads it")
        return self._cache.batch(index)

    def _errors(self, mode: Mode) -> float:
        pipeline, errors = StableNormal(self._components), []
        for index in _batches(self._config.validation_images, len(self._heldout)):
            batch = load_batch(self._heldout, index, self._heldout.size, None)
            with torch.autocast("cpu", torch.bfloat16):
                output = pipeline(list(batch.image / 2 + 0.5), mode=mode, batch_size=_VALIDATION_BATCH)
            errors += _image_errors(torch.stack(output.normals), batch.normals)
        return float(np.mean(errors))


class YosoTraining(_DenoiserTraining):
    """The one-step start, with the shrinkage regulariser."""

    def loss(
        self, stage: Stage, index: NDArray[np.int64], rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """x_{t+} regression with t+ random."""
        batch, count = self._read(index), len(index)
        t_plus = torch.randint(1, 1000, (count,), generator=noise)
        t_plus[torch.rand(count, generator=noise) < self._config.clean_fraction] = 0
        z = torch.randn(batch.x0.shape, generator=noise)
        shrink = torch.rand(count, generator=noise) < self._config.shrinkage
        yoso = self._components.yoso

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return yoso.predict(x, t, batch.image_latent)

        return yoso_loss(denoise, batch.x0, batch.weight, self._alphas, z, t_plus, shrink), {}

    def validate(self) -> dict[str, float]:
        """Mean error of turbo on held-out images."""
        return {"turbo_deg": self._errors("turbo")}


class AngularTraining(_DenoiserTraining):
    """The one-step network, tuned through the decoder by the angle of the normals it gives.

    E2E-FT's recipe (arXiv 2409.11355) on our networks: one step at the clean timestep, from noise, from zeros
    or from the image latent. The decoder stays as it is.
    """

    def __init__(
        self,
        components: ModelComponents,
        corpus: PackedCorpus,
        heldout: PackedCorpus,
        config: TrainingConfig,
        caches: Path,
    ) -> None:
        components.spec = replace(components.spec, start=config.start)
        super().__init__(components, corpus, heldout, config, caches)

    def _extras(self) -> tuple[Extra, ...]:
        return ("normals",)

    def loss(
        self, stage: Stage, index: NDArray[np.int64], rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean angle, plus a little of the latent's mean square error."""
        batch, spec = self._read(index), self._components.spec
        z = torch.randn(batch.x0.shape, generator=noise)
        shrink = torch.rand(len(index), generator=noise) < self._config.shrinkage
        z = torch.where(shrink[:, None, None, None], torch.zeros_like(z), z)

        def denoise(x: Tensor, timestep: int) -> Tensor:
            return self._components.yoso.predict(x, timestep, batch.image_latent)

        predicted = one_step(denoise, batch.image_latent, z, self._config.start, spec.turbo_t)
        latent = masked_mean_square(predicted - batch.x0, batch.weight)
        angle = self._angle(predicted, batch, noise)
        figures = {"angle_deg": float(torch.rad2deg(angle.detach())), "latent": float(latent.detach())}
        return angle + self._config.latent_weight * latent, figures

    def validate(self) -> dict[str, float]:
        """Mean error of turbo on held-out images."""
        return {"turbo_deg": self._errors("turbo")}


class RefinerTraining(_DenoiserTraining):
    """The semantic-guided refinement."""

    def _extras(self) -> tuple[Extra, ...]:
        normals: tuple[Extra, ...] = ("normals",) if self._config.angular_weight else ()
        start: tuple[Extra, ...] = ("start",) if self._config.own_start_fraction else ()
        return ("semantic", *normals, *start)

    def loss(
        self, stage: Stage, index: NDArray[np.int64], rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """x_0 regression from x_t, with timesteps as `low_noise_fraction` says."""
        batch, count = self._read(index), len(index)
        t_plus = self._components.spec.t_plus
        timestep = torch.randint(1, 1000, (count,), generator=noise)
        low = torch.rand(count, generator=noise) < self._config.low_noise_fraction
        timestep = torch.where(low, 1 + timestep % t_plus, timestep)
        z = torch.randn(batch.x0.shape, generator=noise)
        refiner = self._components.refiner

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return refiner.predict(x, t, batch.image_latent, semantic=batch.semantic)

        clean = batch.x0
        if batch.start is not None:
            own = torch.rand(count, generator=noise) < self._config.own_start_fraction
            clean = torch.where(own[:, None, None, None], batch.start, clean)
        predicted = denoise(noised(clean, self._alphas, z, timestep), timestep)
        latent = masked_mean_square(predicted - batch.x0, batch.weight)
        if not self._config.angular_weight:
            return latent, {}
        angle = self._angle(predicted, batch, noise)
        figures = {"angle_deg": float(torch.rad2deg(angle.detach())), "latent": float(latent.detach())}
        return latent + self._config.angular_weight * angle, figures

    def validate(self) -> dict[str, float]:
        """Mean error of full on held-out images."""
        return {"full_deg": self._errors("full")}


def _batches(images: int, available: int) -> list[NDArray[np.int64]]:
    """Indices of a fixed, evenly spread choice of held-out images."""
    chosen = np.linspace(0, available - 1, min(images, available)).astype(np.int64)
    return [chosen[i : i + _VALIDATION_BATCH] for i in range(0, len(chosen), _VALIDATION_BATCH)]


def _image_errors(prediction: Tensor, target: Tensor) -> list[float]:
    """Mean angle in degrees over the valid pixels of each image."""
    valid = target.square().sum(1) > 0.25
    error = angular_error_deg(prediction, target)
    return [float(e[v].mean()) for e, v in zip(error, valid, strict=True) if v.any()]
