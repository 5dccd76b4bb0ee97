"""The semantic encoder, taught by the average of its own past, without labels (DINOv2, arXiv 2304.07193).

A teacher sees two large crops; the student sees them with masked patches, and small crops, and must give the
teacher's class token (DINO) and the teacher's tokens of the masked patches (iBOT).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.data.sample import CLASSES
from stablenormal.models.building import ModelComponents
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.training.augmentation import load_batch
from stablenormal.training.dino import (
    DinoHead,
    choose_masked,
    distillation_loss,
    koleo_loss,
    sinkhorn,
    teacher_momentum,
)
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.parts.semantic_encoder import (
    prepare_encoder,
    trained_encoder,
    whole_patches,
)
from stablenormal.training.pictures import feature_colours, photograph_colours
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import (
    Stage,
    TrainingSettings,
    refuse_below,
    refuse_negative,
    refuse_outside_unit_interval,
)
from stablenormal.training.validation import heldout_batches, picture_of

_GLOBAL_CROPS = (0.5, 1.0)
_LOCAL_CROPS = (0.2, 0.5)
_MASKED_IMAGES = 0.5


@dataclass(frozen=True)
class SelfDistillationSettings(TrainingSettings):
    """The settings that decide the weights of the semantic encoder, taught without labels."""

    keys: ClassVar[Mapping[str, str]] = {"part": "semantic", "supervision": "self_distillation"}

    local_crops: int = 4
    """Small crops of each image, which the student alone sees."""
    prototypes: int = 1024
    """Outputs of the head, over which teacher and student agree."""
    teacher_momentum: float = 0.992
    """Decay of the teacher's average at the start; it rises to 1."""
    masked_fraction: float = 0.3
    """Share of patches that the student does not see in masked images (one in two)."""
    koleo_weight: float = 0.1
    """Weight of the term that spreads the features of a batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside_unit_interval(self, "teacher_momentum", "masked_fraction")
        refuse_negative(self, "koleo_weight", "local_crops")
        refuse_below(self, 1, "prototypes")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with a semantic encoder that takes gradients."""
        return prepare_encoder(components, self.gradient_checkpointing)

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "SelfDistillationTraining":
        """A student and its teacher."""
        return SelfDistillationTraining(self, components, corpus, heldout)


class SelfDistillationTraining(PartTraining):
    """The semantic encoder as student and teacher, each with two heads that are thrown away."""

    def __init__(
        self,
        settings: SelfDistillationSettings,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
    ) -> None:
        encoder = trained_encoder(components)
        student = nn.ModuleDict(
            {
                "encoder": encoder,
                "class_head": DinoHead(encoder.channels, settings.prototypes),
                "patch_head": DinoHead(encoder.channels, settings.prototypes),
            }
        )
        teacher = copy.deepcopy(student).requires_grad_(False)
        super().__init__(components, nn.ModuleDict({"student": student, "teacher": teacher}))
        self._student, self._teacher, self._encoder = student, teacher, encoder
        self._corpus, self._heldout, self._settings = corpus, heldout, settings

    def samples(self, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """DINO over all pairs of a large crop and another crop, iBOT over masked patches, KoLeo."""
        settings, count = self._settings, len(samples)
        size = whole_patches(self._encoder, stage.size)
        small = whole_patches(self._encoder, stage.size // 2)
        large = [self._crops(samples, size, _GLOBAL_CROPS) for _ in range(2)]
        local = [self._crops(samples, small, _LOCAL_CROPS) for _ in range(settings.local_crops)]
        patches = (size // self._encoder.patch_size) ** 2
        masks = [
            choose_masked(
                samples.normal(patches), settings.masked_fraction, samples.uniform() < _MASKED_IMAGES
            )
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
            views += self._head(self._student, "class", small_tokens[:, 0]).chunk(settings.local_crops)
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
        total = dino + ibot + settings.koleo_weight * koleo
        return total.mean(), {name: float(value.detach().mean()) for name, value in figures.items()}

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the teacher toward the student."""
        momentum = teacher_momentum(self._settings.teacher_momentum, step, total_steps)
        with torch.no_grad():
            for old, new in zip(self._teacher.parameters(), self._student.parameters(), strict=True):
                old.mul_(momentum).add_(new.detach(), alpha=1 - momentum)

    def validate(self) -> Validation:
        """Share of held-out patches to which their class' mean over the other half is the nearest."""
        features, labels, rows = [], [], []
        device = self._encoder.mean.device
        for batch in heldout_batches(self._heldout, self._settings.validation_images, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._settings.bf16):
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
        return Validation({"nearest_mean_accuracy": accuracy}, picture_of(rows, self._settings.pictures))

    def _mask(self, samples: StepSamples, patches: int) -> Tensor:
        scores = samples.normal(patches)
        return choose_masked(scores, self._settings.masked_fraction, samples.uniform() < _MASKED_IMAGES)

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
