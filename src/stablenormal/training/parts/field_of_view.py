"""The field of view's head, on features of the frozen transformer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.data.transforms import mirrored, resized
from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.field_of_view import SEEN_SIDE, FieldOfViewHead, seen_features
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.training.base import trainable
from stablenormal.training.fresh_weights import seeded
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage, TrainingSettings

_SHORTEST_SIDE = 0.5
"""Of training pictures, over the longer one."""


@dataclass(frozen=True)
class FieldOfViewSettings(TrainingSettings):
    """The settings that decide the weights of the field of view's head."""

    keys: ClassVar[Mapping[str, str]] = {"part": "field_of_view"}

    smallest_crop: float = 0.5
    """Crops about the middle, which narrow the field of view, show between this share and all of the side."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.smallest_crop <= 1:
            raise SettingError(f"smallest_crop is {self.smallest_crop}; it must lie in (0, 1]")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with a head that takes gradients: the base's own, or a fresh one."""
        encoder = _transformer(components)
        if components.field_of_view is not None:
            return replace(components, field_of_view=trainable(components.field_of_view))
        with seeded(self.seed):
            return replace(components, field_of_view=FieldOfViewHead(encoder.channels))

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "FieldOfViewTraining":
        """The logarithm of the focal length."""
        return FieldOfViewTraining(self, components, corpus, heldout)


def _transformer(components: ModelComponents) -> SemanticEncoder:
    encoder = components.semantic_encoder
    if not isinstance(encoder, SemanticEncoder):
        raise SettingError("field_of_view: only features of a DINOv2 encoder are read")
    return encoder


class FieldOfViewTraining(PartTraining):
    """The head, with the distance of logarithms of focal lengths as its loss."""

    def __init__(
        self,
        settings: FieldOfViewSettings,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
    ) -> None:
        head = components.field_of_view
        assert head is not None, "`prepare` gives the model a head"
        super().__init__(components, head)
        self._head, self._encoder, self._settings = head, _transformer(components), settings
        self._corpus, self._focal = _with_focal_lengths(corpus, "data")
        self._heldout, self._true = _with_focal_lengths(heldout, "heldout")
        self._usable = np.flatnonzero(np.isfinite(self._focal))

    def samples(self, stage: Stage) -> int:
        """Every sample whose camera is known and looks through the middle."""
        return len(self._usable)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Mean distance of logarithms, of pictures of all shapes cut about the middle."""
        self._encoder.to(samples.device)
        errors = []
        for index, rng in zip(self._usable[samples.index], samples.rngs, strict=True):
            picture, focal = self._cut(int(index), rng)
            image = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None].to(samples.device)
            with torch.no_grad():
                features = seen_features(self._encoder, image / 127.5 - 1)
            errors.append((self._head(features.float()) - math.log(focal)).abs())
        error = torch.cat(errors).mean()
        return error, {"focal_length_error": float(error.detach())}

    def _cut(self, index: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
        """A picture about the middle of a sample, and its focal length over its longer side."""
        side = self._corpus.size
        longer = max(1, round(side * self._settings.smallest_crop ** rng.random()))
        shorter = max(1, round(longer * rng.uniform(_SHORTEST_SIDE, 1)))
        height, width = (longer, shorter) if rng.random() < 0.5 else (shorter, longer)
        top, left = (side - height) // 2, (side - width) // 2
        pixels = self._corpus.view(index, (slice(top, top + height), slice(left, left + width)))[0]
        if rng.random() < 0.5:
            pixels = mirrored(pixels)
        scale = SEEN_SIDE / longer
        picture = resized(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
        lighter = (picture / 255) ** rng.uniform(0.7, 1.4)
        return np.rint(255 * lighter).astype(np.uint8), float(self._focal[index]) * side / longer

    def validate(self) -> Validation:
        """Errors in degrees on whole held-out pictures, beside those of always saying the median."""
        found, truth = [], []
        known = np.flatnonzero(np.isfinite(self._true))
        count = min(len(known), self._settings.validation_images)
        device = next(self._head.parameters()).device
        for index in known[np.linspace(0, len(known) - 1, count).astype(np.int64)]:
            image = torch.from_numpy(self._heldout.images[index].copy()).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=self._settings.bf16):
                features = seen_features(self._encoder, image.permute(2, 0, 1)[None].float() / 127.5 - 1)
            found.append(float(self._head(features.float()).exp()))
            truth.append(float(self._true[index]))
        true, given = (np.degrees(2 * np.arctan(0.5 / np.array(focal))) for focal in (truth, found))
        error, blind = np.abs(given - true), np.abs(np.median(true) - true)
        return Validation(
            {
                "fov_error_deg": float(error.mean()),
                "fov_median_error_deg": float(np.median(error)),
                "median_said_error_deg": float(blind.mean()),
            }
        )


def _with_focal_lengths(corpus: Corpus, key: str) -> tuple[PackedCorpus, NDArray[np.float32]]:
    if isinstance(corpus, PackedCorpus) and corpus.focal_lengths is not None:
        if np.isfinite(corpus.focal_lengths).any():
            return corpus, corpus.focal_lengths
    raise SettingError(
        f"{key}: give a packed corpus with focal lengths, which `stablenormal pack` writes where a "
        "set's cameras are known; pack older ones again"
    )
