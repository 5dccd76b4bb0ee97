"""Batches of crops for training: geometry moves vectors with pixels, colour moves neither."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.data.transforms import noisy, recoloured

_NOISE = 0.03
_MIRROR = np.array([-1, 1, 1], np.float32)


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


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Other colours, and in two of five images noise."""
    image = recoloured(image, rng, 1.0)
    return noisy(image, rng, rng.uniform(0, _NOISE)) if rng.random() < 0.4 else image
