"""What validations of all parts share: the choice of held-out images, the field's metrics, the picture."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.evaluation.metrics import AngularMetrics, angular_metrics, mean_of_metrics
from stablenormal.geometry.normals import angular_error_deg, valid_mask
from stablenormal.training.augmentation import Batch, load_batch
from stablenormal.training.pictures import grid, normal_colours, photograph_colours

VALIDATION_BATCH = 8
_ACCURATE_DEG = 11.25


def heldout_batches(heldout: PackedCorpus, images: int, device: torch.device) -> Iterator[Batch]:
    """A fixed, evenly spread choice of so many held-out images, whole and unchanged, in batches."""
    count = min(images, len(heldout))
    chosen = np.linspace(0, len(heldout) - 1, count).astype(np.int64)
    for first in range(0, count, VALIDATION_BATCH):
        yield load_batch(heldout, chosen[first : first + VALIDATION_BATCH], heldout.size, None).to(device)


def image_metrics(prediction: Tensor, target: Tensor) -> list[AngularMetrics]:
    """Metrics over the valid pixels of each image (B, 3, H, W) that has any."""
    errors = angular_error_deg(prediction, target)
    masks = valid_mask(target)
    return [angular_metrics(error[mask]) for error, mask in zip(errors, masks, strict=True) if mask.any()]


def figures_of(name: str, metrics: Sequence[AngularMetrics]) -> dict[str, float]:
    """The mean over images of the mean and median error and of the percentage under 11.25 degrees."""
    mean = mean_of_metrics(metrics)
    return {
        f"{name}_deg": mean.mean,
        f"{name}_median_deg": mean.median,
        f"{name}_below_{_ACCURATE_DEG}_percent": mean.below[_ACCURATE_DEG],
    }


def normal_rows(batch: Batch, prediction: Tensor) -> list[list[Tensor]]:
    """A row of pictures for each image: photograph, prediction (black where there is no truth), truth."""
    shown = prediction * valid_mask(batch.normals)[:, None]
    return [
        [photograph_colours(image), normal_colours(guess), normal_colours(truth)]
        for image, guess, truth in zip(batch.image, shown, batch.normals, strict=True)
    ]


def picture_of(rows: Sequence[Sequence[Tensor]], shown: int) -> Tensor | None:
    """The first rows as one picture, as many as are to be shown."""
    return grid(rows[:shown]) if shown and rows else None
