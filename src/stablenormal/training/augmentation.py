"""Batches of crops for training: geometry moves vectors with pixels, colour moves neither."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.data.transforms import (
    blurred,
    mirrored,
    mirrored_vectors,
    nearest,
    noisy,
    recoloured,
    resized,
    rolled,
    rolled_vectors,
)
from stablenormal.geometry.camera import Intrinsics

_NOISE = 0.03


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
    roll_deg: float = 0.0,
    blur_px: float = 0.0,
) -> Batch:
    """Cut one batch out of a corpus.

    Args:
        corpus: the packed samples.
        index: (B,) which samples.
        size: side of the result in pixels.
        rng: draws flip, crop and colours; None gives the whole image, unchanged in colour.
        smallest_crop: the crop's side is drawn log-uniformly between this share of the image's side
            and all of it.
        roll_deg: standard deviation of a roll of the whole image about its middle, before the crop; corners
            that it uncovers are black and invalid.
        blur_px: largest standard deviation of a blur, which one image in five gets.

    Returns:
        The batch; crops are square, so a crop or zoom leaves the normals as they are, a flip negates x, a
        roll turns x and y.
    """
    images, normal_maps, label_maps = [], [], []
    for sample in index:
        side = corpus.size if rng is None else round(corpus.size * smallest_crop ** rng.random())
        top, left = (0, 0) if rng is None else (int(v) for v in rng.integers(0, corpus.size - side + 1, 2))
        window = (slice(top, top + side), slice(left, left + side))
        if rng is not None and roll_deg:
            whole = _rolled(corpus, sample, rng.normal(0, roll_deg))
            pixels, vectors, classes = whole[0][window], whole[1][window], whole[2][window]
        else:
            place = (sample, *window)
            pixels, vectors, classes = corpus.images[place], corpus.normals(place), corpus.labels[place]
        if rng is not None and rng.random() < 0.5:
            pixels, vectors, classes = mirrored(pixels), mirrored_vectors(vectors), mirrored(classes)
        picture = resized(pixels, size, size)
        images.append(picture if rng is None else _recolour(picture, rng, blur_px))
        normal_maps.append(nearest(vectors, size, size))
        label_maps.append(nearest(classes, size, size))
    image = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
    normals, labels = torch.from_numpy(np.stack(normal_maps)), torch.from_numpy(np.stack(label_maps))
    return Batch(
        image.permute(0, 3, 1, 2).contiguous(),
        normals.permute(0, 3, 1, 2).contiguous(),
        labels.to(torch.int64),
    )


def _rolled(
    corpus: PackedCorpus, sample: np.int64, angle_deg: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Image, normals and labels of a camera rolled about the middle of the picture."""
    camera = Intrinsics.centred(corpus.size, corpus.size, corpus.size)
    return (
        rolled(corpus.images[sample], camera, angle_deg, smooth=True),
        rolled_vectors(corpus.normals(sample), camera, angle_deg),
        rolled(corpus.labels[sample], camera, angle_deg),
    )


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator, blur_px: float) -> NDArray[np.uint8]:
    """Other colours, in some images blur, and in two of five noise."""
    image = recoloured(image, rng, 1.0)
    if blur_px and rng.random() < 0.2:
        image = blurred(image, rng.uniform(0.2, 1) * blur_px)
    return noisy(image, rng, rng.uniform(0, _NOISE)) if rng.random() < 0.4 else image
