"""Batches of crops for training: geometry moves vectors with pixels, colour moves neither."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

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
        smallest_crop: the crop's side is drawn between this share of the image's side and all of it.

    Returns:
        The batch; crops are square, so a crop or zoom leaves the normals as they are, a flip negates x.
    """
    image = torch.from_numpy(np.ascontiguousarray(corpus.images[index])).permute(0, 3, 1, 2).float() / 255
    normals = torch.from_numpy(corpus.normals(index)).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.asarray(corpus.labels[index], np.int64))
    images, normal_maps, label_maps = [], [], []
    for i in range(len(index)):
        side = corpus.size if rng is None else int(round(corpus.size * rng.uniform(smallest_crop, 1.0)))
        top, left = (0, 0) if rng is None else (int(v) for v in rng.integers(0, corpus.size - side + 1, 2))
        window = (..., slice(top, top + side), slice(left, left + side))
        flip = rng is not None and rng.random() < 0.5
        pixels, vectors, classes = image[i][window], normals[i][window], labels[i][window]
        if flip:
            pixels, classes = pixels.flip(-1), classes.flip(-1)
            vectors = vectors.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
        pixels = functional.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]
        nearest = ((torch.arange(size) + 0.5) * side / size).long()
        images.append(pixels if rng is None else _recolour(pixels, rng))
        normal_maps.append(vectors[:, nearest][:, :, nearest])
        label_maps.append(classes[nearest][:, nearest])
    return Batch(torch.stack(images).clamp(0, 1) * 2 - 1, torch.stack(normal_maps), torch.stack(label_maps))


def _recolour(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Gamma, contrast, saturation, white balance and noise on (3, S, S) in [0, 1]."""
    image = image.clamp(1e-4, 1) ** float(np.exp(rng.uniform(-0.4, 0.4)))
    mean = image.mean()
    image = (image - mean) * float(rng.uniform(0.7, 1.4)) + mean * float(rng.uniform(0.8, 1.25))
    grey = image.mean(0, keepdim=True)
    saturation = 0.0 if rng.random() < 0.1 else float(rng.uniform(0.5, 1.5))
    image = grey + (image - grey) * saturation
    image = image * torch.from_numpy(rng.uniform(0.9, 1.1, (3, 1, 1)).astype(np.float32))
    if rng.random() < 0.4:
        noise = rng.standard_normal(tuple(image.shape), dtype=np.float32)
        image = image + torch.from_numpy(noise) * float(rng.uniform(0, 0.03))
    return image.clamp(0, 1)
