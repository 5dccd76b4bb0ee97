"""Batches of crops for training: geometry moves vectors with pixels, colour moves neither."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.data.packed import PackedCorpus


@dataclass(frozen=True)
class Batch:
    """Training images of one size.

    Attributes:
        image: photographs (B, 3, S, S) in [-1, 1].
        normals: OpenGL normals (B, 3, S, S), unit length or zero.
        labels: class ids (B, S, S), int64.
    """

    image: Tensor
    normals: Tensor
    labels: Tensor


def load_batch(
    corpus: PackedCorpus,
    index: NDArray[np.int64],
    size: int,
    rng: np.random.Generator | None,
    smallest_crop: float = 0.6,
) -> Batch:
    """Cut one batch out of a corpus.

    Args:
        corpus: the packed samples.
        index: (B,) which samples.
        size: side of the result in pixels.
        rng: draws flip, crop and colours; None gives the whole image, unchanged in colour.
        smallest_crop: the crop's side is drawn log-uniformly between this share of the image's side
            and all of it.

    Returns:
        The batch; crops are square, so a crop or zoom leaves the normals as they are, a flip negates x.
    """
    images, normal_maps, label_maps = [], [], []
    for sample in index:
        side = corpus.size if rng is None else round(corpus.size * smallest_crop ** rng.random())
        top, left = (0, 0) if rng is None else (int(v) for v in rng.integers(0, corpus.size - side + 1, 2))
        window = (sample, slice(top, top + side), slice(left, left + side))
        pixels, vectors, classes = corpus.images[window], corpus.normals(window), corpus.labels[window]
        if rng is not None and rng.random() < 0.5:
            pixels, classes = pixels[:, ::-1], classes[:, ::-1]
            vectors = vectors[:, ::-1] * np.float32([-1, 1, 1])
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        resized = cv2.resize(pixels.astype(np.float32) / 255, (size, size), interpolation=how)
        nearest = ((np.arange(size) + 0.5) * side / size).astype(np.int64)
        images.append(resized if rng is None else _recolour(resized, rng))
        normal_maps.append(vectors[nearest][:, nearest])
        label_maps.append(classes[nearest][:, nearest])
    image = torch.from_numpy(np.stack(images)).clamp(0, 1) * 2 - 1
    normals, labels = torch.from_numpy(np.stack(normal_maps)), torch.from_numpy(np.stack(label_maps))
    return Batch(
        image.permute(0, 3, 1, 2).contiguous(),
        normals.permute(0, 3, 1, 2).contiguous(),
        labels.to(torch.int64),
    )


def _recolour(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gamma, contrast, saturation, white balance and noise on (S, S, 3) in [0, 1]."""
    image = np.maximum(image, 1e-4) ** np.float32(np.exp(rng.uniform(-0.4, 0.4)))
    mean = image.mean()
    image = (image - mean) * np.float32(rng.uniform(0.7, 1.4)) + mean * np.float32(rng.uniform(0.8, 1.25))
    grey = image.mean(-1, keepdims=True)
    saturation = 0.0 if rng.random() < 0.1 else rng.uniform(0.5, 1.5)
    image = grey + (image - grey) * np.float32(saturation)
    image = image * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if rng.random() < 0.4:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + noise * np.float32(rng.uniform(0, 0.03))
    return image
