"""The semantic encoder and the feature upsampler as parts that are trained."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.data.sample import CLASSES
from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.feature_upsampler import FeatureUpsampler
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.training.augmentation import Batch, load_batch
from stablenormal.training.config import Stage, TrainingConfig
from stablenormal.training.loop import PartTraining, Validation
from stablenormal.training.objectives import patch_label_loss
from stablenormal.training.pictures import class_colours, feature_colours, photograph_colours
from stablenormal.training.samples import StepSamples
from stablenormal.training.self_distillation import (
    DinoHead,
    choose_masked,
    distillation_loss,
    koleo_loss,
    sinkhorn,
    teacher_momentum,
)
from stablenormal.training.validation import heldout_batches, picture_of

_GLOBAL_CROPS = (0.5, 1.0)
_LOCAL_CROPS = (0.2, 0.5)
_MASKED_IMAGES = 0.5


class SemanticTraining(PartTraining):
    """The semantic encoder, supervised by the scenes' labels through a linear head that is thrown away."""

    def __init__(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, config: TrainingConfig
    ):
        encoder = _own_encoder(components, config)
        head = nn.Conv2d(encoder.channels, len(CLASSES), 1)
        nn.init.zeros_(head.weight)
        super().__init__(nn.ModuleDict({"encoder": encoder, "head": head}))
        self._encoder, self._head = encoder, head
        self._corpus, self._heldout, self._config = corpus, heldout, config

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the patch labels, at the stage's own size: positions interpolate to others."""
        batch = load_batch(self._corpus, samples.index, stage.size, samples.rngs).to(samples.device)
        features = self._encoder.features(batch.image, _whole_patches(self._encoder, stage.size))
        return patch_label_loss(self._head(features), batch.labels).mean(), {}

    def validate(self) -> Validation:
        """Share of held-out pixels whose patch is given their class."""
        right, pixels, rows = 0, 0, []
        device = self._encoder.mean.device
        for batch in heldout_batches(self._heldout, self._config, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._config.bf16):
                logits = self._head(self._encoder(batch.image)).float()
            guess = functional.interpolate(logits, batch.labels.shape[1:], mode="bilinear").argmax(1)
            known = batch.labels < len(CLASSES)
            right, pixels = right + int((guess == batch.labels)[known].sum()), pixels + int(known.sum())
            rows += _label_rows(batch, guess)
        accuracy = right / pixels if pixels else float("nan")
        return Validation({"label_accuracy": accuracy}, picture_of(rows, self._config))


class SelfDistillationTraining(PartTraining):
    """The semantic encoder, taught by the average of its own past, without labels (DINOv2, arXiv 2304.07193).

    A teacher sees two large crops; the student sees them with masked patches, and small crops, and must give
    the teacher's class token (DINO) and the teacher's tokens of the masked patches (iBOT).
    """

    def __init__(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, config: TrainingConfig
    ):
        encoder = _own_encoder(components, config)
        student = nn.ModuleDict(
            {
                "encoder": encoder,
                "class_head": DinoHead(encoder.channels, config.prototypes),
                "patch_head": DinoHead(encoder.channels, config.prototypes),
            }
        )
        teacher = copy.deepcopy(student).requires_grad_(False)
        super().__init__(nn.ModuleDict({"student": student, "teacher": teacher}))
        self._student, self._teacher, self._encoder = student, teacher, encoder
        self._corpus, self._heldout, self._config = corpus, heldout, config

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """DINO over all pairs of a large crop and another crop, iBOT over masked patches, KoLeo."""
        config, count = self._config, len(samples)
        size = _whole_patches(self._encoder, stage.size)
        small = _whole_patches(self._encoder, stage.size // 2)
        large = [self._crops(samples, size, _GLOBAL_CROPS) for _ in range(2)]
        local = [self._crops(samples, small, _LOCAL_CROPS) for _ in range(config.local_crops)]
        patches = (size // self._encoder.patch_size) ** 2
        masks = [
            choose_masked(samples.normal(patches), config.masked_fraction, samples.uniform() < _MASKED_IMAGES)
            for _ in large
        ]
        both, mask = torch.cat(large), torch.cat(masks)
        with torch.no_grad():
            teacher_tokens = self._tokens(self._teacher, both, size)
            wanted = sinkhorn(self._head(self._teacher, "class", teacher_tokens[:, 0])).chunk(2)
            hidden = sinkhorn(self._head(self._teacher, "patch", teacher_tokens[:, 1:][mask]))
        tokens = self._tokens(self._student, both, size, mask)
        views = list(self._head(self._student, "class", tokens[:, 0]).chunk(2))
        if local:
            small_tokens = self._tokens(self._student, torch.cat(local), small)
            views += self._head(self._student, "class", small_tokens[:, 0]).chunk(config.local_crops)
        pairs = [
            distillation_loss(view, target)
            for place, view in enumerate(views)
            for which, target in enumerate(wanted)
            if place != which
        ]
        dino = torch.stack(pairs).mean(0)  # (B,)
        ibot = self._patch_loss(self._head(self._student, "patch", tokens[:, 1:][mask]), hidden, mask, count)
        koleo = torch.stack([koleo_loss(one) for one in tokens[:, 0].chunk(2)]).mean(0)
        figures = {"dino": dino, "ibot": ibot, "koleo": koleo}
        total = dino + ibot + config.koleo_weight * koleo
        return total.mean(), {name: float(value.detach().mean()) for name, value in figures.items()}

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the teacher toward the student."""
        momentum = teacher_momentum(self._config.teacher_momentum, step, total_steps)
        with torch.no_grad():
            for old, new in zip(self._teacher.parameters(), self._student.parameters(), strict=True):
                old.mul_(momentum).add_(new.detach(), alpha=1 - momentum)

    def validate(self) -> Validation:
        """Share of held-out patches to which their class' mean over the other half is the nearest."""
        features, labels, rows = [], [], []
        device = self._encoder.mean.device
        for batch in heldout_batches(self._heldout, self._config, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._config.bf16):
                found = self._encoder(batch.image).float()
            features.append(found)
            patches = functional.interpolate(batch.labels[:, None].float(), found.shape[2:])
            labels.append(patches[:, 0].long())
            rows += [[photograph_colours(image)] for image in batch.image]
        coloured = feature_colours(
            list(torch.cat(features)[: len(rows)]), (self._heldout.size, self._heldout.size)
        )
        rows = [[*row, picture] for row, picture in zip(rows, coloured, strict=True)]
        accuracy = nearest_mean_accuracy(torch.cat(features), torch.cat(labels))
        return Validation({"nearest_mean_accuracy": accuracy}, picture_of(rows, self._config))

    def _crops(self, samples: StepSamples, size: int, crops: tuple[float, float]) -> Tensor:
        return load_batch(self._corpus, samples.index, size, samples.rngs, crops).image.to(samples.device)

    @staticmethod
    def _tokens(model: nn.ModuleDict, image: Tensor, size: int, masked: Tensor | None = None) -> Tensor:
        encoder = model["encoder"]
        assert isinstance(encoder, SemanticEncoder)
        return encoder.tokens(image, size, masked)

    @staticmethod
    def _head(model: nn.ModuleDict, kind: str, tokens: Tensor) -> Tensor:
        likeness: Tensor = model[f"{kind}_head"](tokens)
        return likeness

    @staticmethod
    def _patch_loss(student: Tensor, teacher: Tensor, mask: Tensor, count: int) -> Tensor:
        """The mean over each sample's masked patches, in both of its crops; zero where there is none."""
        loss = distillation_loss(student, teacher)
        owner = torch.arange(count, device=mask.device).repeat(2)[:, None].expand_as(mask)[mask]
        sums = torch.zeros(count, device=mask.device).index_add(0, owner, loss)
        hits = torch.zeros(count, device=mask.device).index_add(0, owner, torch.ones_like(loss))
        return sums / hits.clamp(min=1)


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
    """The feature upsampler: its features, jittered and pooled, must be the encoder's of the jittered image.

    Views are jittered by a zoom, a shift and a flip that stay inside the image (FeatUp, arXiv 2403.10516).
    """

    def __init__(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, config: TrainingConfig
    ):
        encoder = components.semantic_encoder
        if not isinstance(encoder, SemanticEncoder):
            raise SettingError("upsampler: only features of a DINOv2 encoder can be upsampled")
        if components.feature_upsampler is None:
            components.feature_upsampler = FeatureUpsampler(encoder.channels, config.levels)
        upsampler = components.feature_upsampler
        pooling = WeightedPooling(2 ** len(upsampler.levels))
        super().__init__(nn.ModuleDict({"upsampler": upsampler, "pooling": pooling}))
        self._encoder, self._upsampler, self._pooling = encoder, upsampler, pooling
        self._corpus, self._heldout, self._config = corpus, heldout, config

    def samples(self, stage_index: int, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the pooled, jittered features."""
        self._encoder.to(samples.device)
        image = load_batch(self._corpus, samples.index, stage.size, samples.rngs).image.to(samples.device)
        size = _whole_patches(self._encoder, stage.size)
        features = self._features(image, size)
        draws = torch.stack([samples.uniform() for _ in range(4)], dim=1)
        maps = jitter_maps(draws, self._config.jitter_zoom)
        return self._error(self._upsampler(features, image), image, maps, size).mean(), {}

    def validate(self) -> Validation:
        """The same error on held-out images and fixed jitters, beside that of bilinear interpolation."""
        errors: dict[str, list[float]] = {"upsampled_mse": [], "bilinear_mse": []}
        size, rows = self._encoder.input_size, list[Sequence[Tensor]]()
        device = self._pooling.logits.device
        generator = torch.Generator().manual_seed(self._config.seed)
        for batch in heldout_batches(self._heldout, self._config, device):
            draws = torch.rand(len(batch.image), 4, generator=generator)
            maps = jitter_maps(draws.to(device), self._config.jitter_zoom)
            with torch.autocast(device.type, torch.bfloat16, enabled=self._config.bf16):
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
            {name: float(np.mean(values)) for name, values in errors.items()}, picture_of(rows, self._config)
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


def nearest_mean_accuracy(features: Tensor, labels: Tensor) -> float:
    """Share of cells whose class has the nearest mean, the means being of the images with even places.

    Args:
        features: (N, C, g, g); N of 2 or more.
        labels: class ids (N, g, g).
    """
    even, odd = features[::2].transpose(0, 1).flatten(1).T, features[1::2].transpose(0, 1).flatten(1).T
    known, asked = labels[::2].flatten(), labels[1::2].flatten()
    if not len(asked):
        return float("nan")
    classes = torch.unique(known[known < len(CLASSES)])
    if not len(classes):
        return float("nan")
    means = torch.stack([even[known == one].mean(0) for one in classes])
    likeness = functional.normalize(odd, dim=1) @ functional.normalize(means, dim=1).T
    right = classes[likeness.argmax(1)] == asked
    return float(right[asked < len(CLASSES)].float().mean())


def _own_encoder(components: ModelComponents, config: TrainingConfig) -> SemanticEncoder:
    encoder = components.semantic_encoder
    if not isinstance(encoder, SemanticEncoder):
        raise SettingError("semantic: only a semantic encoder of the DINOv2 architecture can be trained")
    if config.gradient_checkpointing:
        network = encoder.network  # transformers renamed the method in the course of version 5
        name = "activation_checkpointing_enable"
        enable = getattr(network, name, None) or network.gradient_checkpointing_enable
        enable()
    return encoder


def _whole_patches(encoder: SemanticEncoder, size: int) -> int:
    """The largest multiple of the patch size that is not above `size`, at least one patch."""
    return max(1, size // encoder.patch_size) * encoder.patch_size


def _jittered(values: Tensor, theta: Tensor) -> Tensor:
    """A map (B, C, H, W) as the views of `jitter_maps` see it, at the same size."""
    grid = functional.affine_grid(theta.to(values.device), list(values.shape), align_corners=False)
    return functional.grid_sample(values.float(), grid, padding_mode="border", align_corners=False).to(
        values.dtype
    )


def _label_rows(batch: Batch, guess: Tensor) -> list[list[Tensor]]:
    return [
        [photograph_colours(image), class_colours(guessed), class_colours(true)]
        for image, guessed, true in zip(batch.image, guess, batch.labels, strict=True)
    ]
