"""The autoencoder and the denoisers as parts that are trained, each in terms of the objectives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.geometry.normals import unit_length
from stablenormal.models.autoencoder import decode, encode, posterior, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import ImageEncoder
from stablenormal.pipelines.stable_normal import Mode, StableNormal
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.one_step import Start, one_step
from stablenormal.training.augmentation import Batch, in_native_frame, load_batch
from stablenormal.training.config import Stage, TrainingConfig
from stablenormal.training.latent_cache import (
    Extra,
    LatentBatch,
    LatentCache,
    build_latent_cache,
    encode_batch,
)
from stablenormal.training.loop import PartTraining, Validation
from stablenormal.training.objectives import (
    angular_loss,
    kl_divergence,
    masked_mean_square,
    pixel_weights,
    reconstruction_loss,
    yoso_loss,
)
from stablenormal.training.samples import StepSamples
from stablenormal.training.validation import (
    VALIDATION_BATCH,
    figures_of,
    heldout_batches,
    image_metrics,
    normal_rows,
    picture_of,
)

_ANGULAR_WEIGHT = 0.5
_IMAGE_WEIGHT = 0.5


class AutoencoderTraining(PartTraining):
    """En and De on photographs and normal maps alike."""

    def __init__(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, config: TrainingConfig
    ):
        super().__init__(components.autoencoder)
        if config.freeze_encoder:
            components.autoencoder.encoder.requires_grad_(False)
            components.autoencoder.quant_conv.requires_grad_(False)
        if config.gradient_checkpointing:
            components.autoencoder.enable_gradient_checkpointing()
        self._autoencoder, self._spec = components.autoencoder, components.spec
        self._corpus, self._heldout, self._config = corpus, heldout, config

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Reconstruction of both, the angle of the normals, and a small Kullback-Leibler term."""
        crops = (min(1.0, stage.size / self._corpus.size), 1.0)
        batch = load_batch(self._corpus, samples.index, stage.size, samples.rngs, crops)
        batch = in_native_frame(batch.to(samples.device), self._spec)
        count = round(samples.total * self._config.normals_fraction)
        is_normals = torch.from_numpy(samples.places < count).to(samples.device)
        # Each kind's loss is a mean over that kind, so a sample of it weighs as the kind's share is rare.
        weight = torch.where(
            is_normals, samples.total / max(1, count), samples.total / max(1, samples.total - count)
        )
        target = torch.where(is_normals[:, None, None, None], batch.normals, batch.image)
        latents = posterior(self._autoencoder, target)
        drawn = samples.normal(*latents.mean.shape[1:])
        scale = float(self._autoencoder.config.scaling_factor)
        decoded = decode(self._autoencoder, (latents.mean + latents.std * drawn) * scale).float()
        valid = target.square().sum(1) > 0.25
        error_normals = reconstruction_loss(decoded, target, valid) * weight * is_normals
        error_image = (decoded - target).abs().flatten(1).mean(1) * weight * ~is_normals
        angle = angular_loss(decoded, target, valid) * weight * is_normals
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
            "sigma": latents.std,
        }
        return total.mean(), {name: float(value.detach().mean()) for name, value in figures.items()}

    def validate(self) -> Validation:
        """Angle between held-out normals and their reconstruction, whole images at the corpus' size."""
        metrics, images, rows = [], [], []
        for batch in heldout_batches(self._heldout, self._config, self._autoencoder.device):
            native = in_native_frame(batch, self._spec)
            with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=self._config.bf16):
                latent = encode(self._autoencoder, torch.cat([native.normals, native.image]))
                normals, photographs = decode(self._autoencoder, latent).float().chunk(2)
            metrics += image_metrics(normals, native.normals)
            images.append(float((photographs - batch.image).abs().mean()))
            rows += normal_rows(native, unit_length(normals))
        figures = figures_of("reconstruction", metrics) | {"image_l1": float(np.mean(images))}
        return Validation(figures, picture_of(rows, self._config))


class DenoiserTraining(PartTraining):
    """What the denoisers share: latents, from a cache or not, and validation through the pipeline."""

    mode: Mode
    tunes_image = False
    """Whether gradients go through the photographs' encoder."""
    needs_x0 = True
    """Whether the loss looks at En of the normals."""

    def __init__(
        self,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
        config: TrainingConfig,
        caches: Path | LatentCache,
    ) -> None:
        denoiser = components.refiner if config.part == "refiner" else components.yoso
        super().__init__(denoiser)
        if config.gradient_checkpointing:
            denoiser.unet.enable_gradient_checkpointing()
            denoiser.condition_encoder.network.enable_gradient_checkpointing()
            components.autoencoder.enable_gradient_checkpointing()  # decoding for the angle
        self._components, self._corpus, self._heldout, self._config = components, corpus, heldout, config
        self._caches, self._schedule = caches, NoiseSchedule()
        self._alphas = self._schedule.alphas_cumprod.float()
        self._cache: LatentCache | None = None
        self._size: int | None = None

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every cached variant of every sample, or every sample where the stage has no cache."""
        self._size = stage.size
        if not stage.variants:
            self._cache = None
            return len(self._corpus)
        if isinstance(self._caches, LatentCache):
            self._cache = self._caches
            return len(self._cache)
        self._cache = build_latent_cache(
            self._caches / f"{self._config.part}-{stage.size}",
            self._corpus,
            self._components,
            stage.size,
            stage.variants,
            stage.steps * stage.batch,
            self._config.seed,
            self._extras(),
            (self._config.smallest_crop, self._config.roll_deg, self._config.blur_px),
            self._config.bf16,
        )
        return len(self._cache)

    def _extras(self) -> tuple[Extra, ...]:
        """What the cache holds beside latents."""
        return ()

    def _angle(self, prediction: Tensor, batch: LatentBatch, samples: StepSamples) -> Tensor:
        """Mean angles (B,) in radians of the decoded prediction, in random windows of `decode_cells`."""
        if batch.normals is None:
            raise RuntimeError("the latent cache holds no normals")
        side, cells = reduction(self._components.autoencoder), prediction.shape[-1]
        window = min(self._config.decode_cells or cells, cells)
        corners = [samples.integers(0, cells - window + 1).tolist() for _ in range(2)]
        latents, truths = [], []
        for place, (top, left) in enumerate(zip(*corners, strict=True)):
            latents.append(prediction[place, :, top : top + window, left : left + window])
            rows, columns = (
                slice(top * side, (top + window) * side),
                slice(left * side, (left + window) * side),
            )
            truths.append(batch.normals[place, :, rows, columns])
        decoded, truth = decode(self._components.autoencoder, torch.stack(latents)), torch.stack(truths)
        return angular_loss(decoded.float(), truth, pixel_weights(truth, self._config.edge_weight))

    def _read(self, stage: Stage, samples: StepSamples) -> LatentBatch:
        self._alphas = self._alphas.to(samples.device)
        if stage.variants:
            if self._cache is None:
                raise RuntimeError("samples() prepares the cache before loss() reads it")
            return self._cache.batch(samples.index, samples.device)
        native, extras = self._fresh(stage, samples), self._extras()
        return LatentBatch(
            **encode_batch(self._components, native, samples.rngs, extras, self.tunes_image, self.needs_x0)
        )

    def _fresh(self, stage: Stage, samples: StepSamples) -> Batch:
        """The samples, augmented anew, in the model's frame."""
        config = self._config
        batch = load_batch(
            self._corpus,
            samples.index,
            stage.size,
            samples.rngs,
            (config.smallest_crop, 1.0),
            config.roll_deg,
            config.blur_px,
        )
        return in_native_frame(batch.to(samples.device), self._components.spec)

    def validate(self) -> Validation:
        """Errors of turbo (YOSO) or full (refiner) on held-out images, seen at the stage's size."""
        pipeline, metrics, rows = StableNormal(self._components), [], []
        for batch in heldout_batches(self._heldout, self._config, pipeline.device):
            with torch.autocast(pipeline.device.type, torch.bfloat16, enabled=self._config.bf16):
                output = pipeline(
                    list(batch.image / 2 + 0.5),
                    mode=self.mode,
                    batch_size=VALIDATION_BATCH,
                    processing_resolution=self._size,
                )
            normals = torch.stack(output.normals).to(pipeline.device)
            metrics += image_metrics(normals, batch.normals)
            rows += normal_rows(batch, normals)
        return Validation(figures_of(self.mode, metrics), picture_of(rows, self._config))


class YosoTraining(DenoiserTraining):
    """The one-step start, with the shrinkage regulariser.

    The trained model is fed what its network saw: noise, or zeros where `shrinkage` leaves nothing else.
    """

    mode = "turbo"

    def __init__(
        self,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
        config: TrainingConfig,
        caches: Path | LatentCache,
    ) -> None:
        start: Start = "zeros" if config.shrinkage == 1 else "noise"
        components.spec = replace(components.spec, start=start, turbo_t=0)
        super().__init__(components, corpus, heldout, config, caches)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """x_{t+} regression with t+ random."""
        batch = self._read(stage, samples)
        t_plus = samples.integers(1, 1000)
        t_plus[samples.uniform() < self._config.clean_fraction] = 0
        z = samples.normal(*batch.x0.shape[1:])
        shrink = samples.uniform() < self._config.shrinkage
        yoso = self._components.yoso

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return yoso.predict(x, t, batch.image_latent)

        return yoso_loss(denoise, batch.x0, batch.weight, self._alphas, z, t_plus, shrink).mean(), {}


class AngularTraining(DenoiserTraining):
    """The one-step network, tuned through the decoder by the angle of the normals it gives.

    E2E-FT's recipe (arXiv 2409.11355) on our networks: one step at the clean timestep, from noise, from zeros
    or from the image latent.
    """

    mode = "turbo"

    def __init__(
        self,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
        config: TrainingConfig,
        caches: Path | LatentCache,
    ) -> None:
        components.spec = replace(components.spec, start=config.start)
        super().__init__(components, corpus, heldout, config, caches)
        self.needs_x0 = config.latent_weight > 0
        tuned: dict[str, nn.Module] = {}
        if config.train_decoder:
            tuned["decoder"] = components.autoencoder.decoder
            tuned["post_quant_conv"] = components.autoencoder.post_quant_conv
        if config.train_image_encoder:
            if components.image_encoder is None:
                components.image_encoder = ImageEncoder.from_autoencoder(components.autoencoder)
            self.tunes_image, tuned["image_encoder"] = True, components.image_encoder
            if config.gradient_checkpointing:
                components.image_encoder.enable_gradient_checkpointing()
        for module in tuned.values():
            module.requires_grad_(True)
        if tuned:
            self.module = nn.ModuleDict({"denoiser": self.module, **tuned})

    def _extras(self) -> tuple[Extra, ...]:
        return ("normals",)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Mean angle, plus a little of the latent's mean square error."""
        batch, spec = self._read(stage, samples), self._components.spec
        z = samples.normal(*batch.image_latent.shape[1:])
        shrink = samples.uniform() < self._config.shrinkage
        z = torch.where(shrink[:, None, None, None], torch.zeros_like(z), z)

        def denoise(x: Tensor, timestep: int) -> Tensor:
            return self._components.yoso.predict(x, timestep, batch.image_latent)

        predicted = one_step(denoise, batch.image_latent, z, self._config.start, spec.turbo_t)
        angle = self._angle(predicted, batch, samples).mean()
        figures = {"angle_deg": float(torch.rad2deg(angle.detach()))}
        if not self._config.latent_weight:
            return angle, figures
        latent = masked_mean_square(predicted - batch.x0, batch.weight).mean()
        return angle + self._config.latent_weight * latent, figures | {"latent": float(latent.detach())}


class RefinerTraining(DenoiserTraining):
    """The semantic-guided refinement."""

    mode = "full"

    def _extras(self) -> tuple[Extra, ...]:
        normals: tuple[Extra, ...] = ("normals",) if self._config.angular_weight else ()
        start: tuple[Extra, ...] = ("start",) if self._config.own_start_fraction else ()
        semantic: tuple[Extra, ...] = ("semantic",) if self._config.semantics else ()
        coarse: tuple[Extra, ...] = ("coarse",) if self._config.coarse_fraction else ()
        return (*semantic, *normals, *start, *coarse)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """x_0 regression from x_t, with timesteps as `low_noise_fraction` says."""
        batch = self._read(stage, samples)
        t_plus = self._components.spec.t_plus
        timestep = samples.integers(1, 1000)
        low = samples.uniform() < self._config.low_noise_fraction
        timestep = torch.where(low, 1 + timestep % t_plus, timestep)
        z = samples.normal(*batch.x0.shape[1:])
        refiner = self._components.refiner

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return refiner.predict(x, t, batch.image_latent, semantic=batch.semantic)

        clean, share, config = batch.x0, samples.uniform()[:, None, None, None], self._config
        if batch.start is not None:
            clean = torch.where(share < config.own_start_fraction, batch.start, clean)
        if batch.coarse is not None:
            clean = torch.where(share > 1 - config.coarse_fraction, batch.coarse, clean)
        predicted = denoise(self._schedule.add_noise(clean, z, timestep), timestep)
        latent = masked_mean_square(predicted - batch.x0, batch.weight).mean()
        if not self._config.angular_weight:
            return latent, {}
        angle = self._angle(predicted, batch, samples).mean()
        figures = {"angle_deg": float(torch.rad2deg(angle.detach())), "latent": float(latent.detach())}
        return latent + self._config.angular_weight * angle, figures
