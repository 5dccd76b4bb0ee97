"""The feature upsampler: its features, jittered and pooled, must be the encoder's of the jittered image.

Views are jittered by a zoom, a shift and a flip that stay inside the image (FeatUp, arXiv 2403.10516).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.feature_upsampler import FeatureUpsampler
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.training.augmentation import load_batch
from stablenormal.training.base import trainable
from stablenormal.training.fresh_weights import seeded
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.parts.semantic_encoder import whole_patches
from stablenormal.training.pictures import feature_colours, photograph_colours
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage, TrainingSettings
from stablenormal.training.validation import heldout_batches, picture_of


@dataclass(frozen=True)
class UpsamplerSettings(TrainingSettings):
    """The settings that decide the weights of the feature upsampler."""

    keys: ClassVar[Mapping[str, str]] = {"part": "upsampler"}

    levels: int = 1
    """Doublings; of a fresh upsampler, as one of the base goes on with its own."""
    jitter_zoom: float = 1.5
    """The jittered view shows at least 1 / this of each side."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.levels <= 4:
            raise SettingError(f"levels is {self.levels}; it must lie between 1 and 4")
        if self.jitter_zoom < 1:
            raise SettingError(f"jitter_zoom is {self.jitter_zoom}; it must be at least 1")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with an upsampler that takes gradients: the base's own, or a fresh one."""
        encoder = _encoder(components)
        if components.feature_upsampler is not None:
            return replace(components, feature_upsampler=trainable(components.feature_upsampler))
        with seeded(self.seed):
            return replace(components, feature_upsampler=FeatureUpsampler(encoder.channels, self.levels))

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "UpsamplerTraining":
        """Consistency of jittered views."""
        return UpsamplerTraining(self, components, corpus, heldout)


def _encoder(components: ModelComponents) -> SemanticEncoder:
    encoder = components.semantic_encoder
    if not isinstance(encoder, SemanticEncoder):
        raise SettingError("upsampler: only features of a DINOv2 encoder can be upsampled")
    return encoder


class WeightedPooling(nn.Module):
    """Pools features by one learned kernel, which begins as the average (FeatUp's simple downsampler).

    Args:
        factor: how many cells of each side become one.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.logits = nn.Parameter(torch.zeros(factor, factor))

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, h, w) to (B, C, h / factor, w / factor)."""
        kernel = self.logits.flatten().softmax(0).view(1, 1, self.factor, self.factor)
        weights = kernel.to(features.dtype).expand(features.shape[1], 1, -1, -1)
        return functional.conv2d(features, weights, stride=self.factor, groups=features.shape[1])


class UpsamplerTraining(PartTraining):
    """The feature upsampler with a learned pooling, which is thrown away."""

    def __init__(
        self,
        settings: UpsamplerSettings,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
    ) -> None:
        upsampler = components.feature_upsampler
        assert upsampler is not None, "`prepare` gives the model an upsampler"
        pooling = WeightedPooling(2 ** len(upsampler.levels))
        super().__init__(components, nn.ModuleDict({"upsampler": upsampler, "pooling": pooling}))
        self._encoder, self._upsampler, self._pooling = _encoder(components), upsampler, pooling
        self._corpus, self._heldout, self._settings = corpus, heldout, settings

    def samples(self, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def study(self, stage: Stage, samples: StepSamples) -> dict[str, Tensor]:
        """Photographs."""
        batch = load_batch(self._corpus, samples.index, stage.size, samples.rngs)
        return {"image": batch.image.to(samples.device)}

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the pooled, jittered features."""
        self._encoder.to(samples.device)
        image = self.study(stage, samples)["image"]
        size = whole_patches(self._encoder, stage.size)
        features = self._features(image, size)
        draws = torch.stack([samples.uniform() for _ in range(4)], dim=1)
        maps = jitter_maps(draws, self._settings.jitter_zoom)
        return self._error(self._upsampler(features, image), image, maps, size).mean(), {}

    def validate(self) -> Validation:
        """The same error on held-out images and fixed jitters, beside that of bilinear interpolation."""
        errors: dict[str, list[float]] = {"upsampled_mse": [], "bilinear_mse": []}
        size, rows = self._encoder.input_size, list[Sequence[Tensor]]()
        device = self._pooling.logits.device
        generator = torch.Generator().manual_seed(self._settings.seed)
        for batch in heldout_batches(self._heldout, self._settings.validation_images, device):
            draws = torch.rand(len(batch.image), 4, generator=generator)
            maps = jitter_maps(draws.to(device), self._settings.jitter_zoom)
            with torch.autocast(device.type, torch.bfloat16, enabled=self._settings.bf16):
                features = self._features(batch.image, size)
                upsampled = self._upsampler(features, batch.image)
                bilinear = functional.interpolate(
                    features, upsampled.shape[2:], mode="bilinear", align_corners=False
                )
                for name, one in (("upsampled_mse", upsampled), ("bilinear_mse", bilinear)):
                    errors[name] += self._error(one.float(), batch.image, maps, size).tolist()
            for image, low, high in zip(batch.image, bilinear, upsampled, strict=True):
                rows.append([photograph_colours(image), *feature_colours([low, high], image.shape[1:])])
        return Validation(
            {name: float(np.mean(values)) for name, values in errors.items()},
            picture_of(rows, self._settings.pictures),
        )

    def _features(self, image: Tensor, size: int) -> Tensor:
        with torch.no_grad():
            return self._encoder.features(image, size)

    def _error(self, upsampled: Tensor, image: Tensor, maps: Tensor, size: int) -> Tensor:
        """(B,) mean square error between pooled, jittered features and those of the jittered image."""
        wanted = self._features(_jittered(image, maps), size)
        pooled = self._pooling(_jittered(upsampled, maps))
        error: Tensor = (pooled.float() - wanted.float()).square()
        return error.flatten(1).mean(1)


def jitter_maps(draws: Tensor, zoom: float) -> Tensor:
    """Affine maps (B, 2, 3), as `affine_grid` takes them, of views inside the image.

    Args:
        draws: (B, 4) in [0, 1): how far in, where along x, where along y, mirrored or not.
        zoom: the view shows between 1 / zoom and all of each side.
    """
    scale = zoom ** -draws[:, 0]
    across, down = ((2 * draws[:, axis] - 1) * (1 - scale) for axis in (1, 2))
    mirror = torch.where(draws[:, 3] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale * mirror, zero, across], 1), torch.stack([zero, scale, down], 1)]
    return torch.stack(rows, dim=1)


def _jittered(values: Tensor, theta: Tensor) -> Tensor:
    """A map (B, C, H, W) as the views of `jitter_maps` see it, at the same size."""
    grid = functional.affine_grid(theta.to(values.device), list(values.shape), align_corners=False)
    return functional.grid_sample(values.float(), grid, padding_mode="border", align_corners=False).to(
        values.dtype
    )
