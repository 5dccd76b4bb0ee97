"""Batches of crops for training: geometry moves vectors with pixels, colour moves neither."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.data.transforms import noisy, recoloured
from stablenormal.geometry.normals import convert_frame
from stablenormal.models.spec import ModelSpec

_NOISE = 0.03
_MIRROR = np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True)
class Batch:
    """Training images of one size.

    Attributes:
        image: photographs (B, 3, S, S) in [-1, 1].
        normals: normals (B, 3, S, S), unit length or zero, OpenGL as they come from a corpus.
        labels: class ids (B, S, S), int64.
    """

    image: Tensor
    normals: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(self.image.to(device), self.normals.to(device), self.labels.to(device))


def load_batch(
    corpus: PackedCorpus,
    index: NDArray[np.int64],
    size: int,
    rngs: Sequence[np.random.Generator] | None,
    crops: tuple[float, float] = (0.6, 1.0),
) -> Batch:
    """Cut one batch out of a corpus.

    Args:
        corpus: the packed samples.
        index: (B,) which samples.
        size: side of the result in pixels.
        rngs: one for each sample, draws flip, crop and colours; None gives whole images, unchanged in colour.
        crops: the crop's side is drawn log-uniformly between these shares of the image's side.

    Returns:
        The batch; crops are square, so a crop or zoom leaves the normals as they are, a flip negates x.
    """
    images, normal_maps, label_maps = [], [], []
    smallest, largest = crops
    for place, sample in enumerate(index):
        rng = None if rngs is None else rngs[place]
        share = 1.0 if rng is None else largest * (smallest / largest) ** rng.random()
        side = max(1, round(corpus.size * share))
        top, left = (0, 0) if rng is None else (int(v) for v in rng.integers(0, corpus.size - side + 1, 2))
        window = (sample, slice(top, top + side), slice(left, left + side))
        pixels, vectors, classes = corpus.images[window], corpus.normals(window), corpus.labels[window]
        if rng is not None and rng.random() < 0.5:
            pixels, classes = np.ascontiguousarray(pixels[:, ::-1]), classes[:, ::-1]
            vectors = vectors[:, ::-1] * _MIRROR
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(pixels, (size, size), interpolation=how), np.uint8)
        nearest = ((np.arange(size) + 0.5) * side / size).astype(np.int64)
        images.append(resized if rng is None else _recolour(resized, rng))
        normal_maps.append(vectors[nearest][:, nearest])
        label_maps.append(classes[nearest][:, nearest])
    image = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
    normals, labels = torch.from_numpy(np.stack(normal_maps)), torch.from_numpy(np.stack(label_maps))
    return Batch(
        image.permute(0, 3, 1, 2).contiguous(),
        normals.permute(0, 3, 1, 2).contiguous(),
        labels.to(torch.int64),
    )


def in_native_frame(batch: Batch, spec: ModelSpec) -> Batch:
    """The batch with its normals in the frame that a model's autoencoder codes."""
    return replace(batch, normals=convert_frame(batch.normals, "opengl", spec.native_frame))


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Other colours, and in two of five images noise."""
    image = recoloured(image, rng, 1.0)
    return noisy(image, rng, rng.uniform(0, _NOISE)) if rng.random() < 0.4 else image
