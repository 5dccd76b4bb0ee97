"""The semantic encoder, supervised by the scenes' labels."""

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
from stablenormal.training.augmentation import Batch, load_batch
from stablenormal.training.objectives import patch_label_loss
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.parts.semantic_encoder import (
    prepare_encoder,
    trained_encoder,
    whole_patches,
)
from stablenormal.training.pictures import class_colours, photograph_colours
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage, TrainingSettings
from stablenormal.training.validation import heldout_batches, picture_of


@dataclass(frozen=True)
class SemanticLabelsSettings(TrainingSettings):
    """The settings that decide the weights of the semantic encoder, taught by labels."""

    keys: ClassVar[Mapping[str, str]] = {"part": "semantic"}

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with a semantic encoder that takes gradients."""
        return prepare_encoder(components, self.gradient_checkpointing)

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "SemanticLabelsTraining":
        """Classification of patches."""
        return SemanticLabelsTraining(self, components, corpus, heldout)


class SemanticLabelsTraining(PartTraining):
    """The semantic encoder with a linear head, which is thrown away."""

    def __init__(
        self,
        settings: SemanticLabelsSettings,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
    ) -> None:
        encoder = trained_encoder(components)
        head = nn.Conv2d(encoder.channels, len(CLASSES), 1)
        nn.init.zeros_(head.weight)
        super().__init__(components, nn.ModuleDict({"encoder": encoder, "head": head}))
        self._encoder, self._head = encoder, head
        self._corpus, self._heldout, self._settings = corpus, heldout, settings

    def samples(self, stage: Stage) -> int:
        """Every sample of the corpus."""
        return len(self._corpus)

    def study(self, stage: Stage, samples: StepSamples) -> dict[str, Tensor]:
        """Photographs and labels."""
        batch = self._read(stage, samples)
        return {"image": batch.image, "labels": batch.labels}

    def _read(self, stage: Stage, samples: StepSamples) -> Batch:
        return load_batch(self._corpus, samples.index, stage.size, samples.rngs).to(samples.device)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the patch labels, at the stage's own size: positions interpolate to others."""
        batch = self._read(stage, samples)
        features = self._encoder.features(batch.image, whole_patches(self._encoder, stage.size))
        return patch_label_loss(self._head(features), batch.labels).mean(), {}

    def validate(self) -> Validation:
        """Share of held-out pixels whose patch is given their class."""
        right, pixels, rows = 0, 0, []
        device = self._encoder.mean.device
        for batch in heldout_batches(self._heldout, self._settings.validation_images, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._settings.bf16):
                logits = self._head(self._encoder(batch.image)).float()
            guess = functional.interpolate(logits, batch.labels.shape[1:], mode="bilinear").argmax(1)
            known = batch.labels < len(CLASSES)
            right, pixels = right + int((guess == batch.labels)[known].sum()), pixels + int(known.sum())
            rows += _label_rows(batch, guess)
        accuracy = right / pixels if pixels else float("nan")
        return Validation({"label_accuracy": accuracy}, picture_of(rows, self._settings.pictures))


def _label_rows(batch: Batch, guess: Tensor) -> list[list[Tensor]]:
    return [
        [photograph_colours(image), class_colours(guessed), class_colours(true)]
        for image, guessed, true in zip(batch.image, guess, batch.labels, strict=True)
    ]
