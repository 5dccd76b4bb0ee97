"""Batches of crops for training: geometry moves vectors with pixels, colour moves neither."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablenormal.data.corpus import Corpus
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
from stablenormal.geometry.coarse_normals import blur_normals, reduce_normals
from stablenormal.geometry.normals import convert_frame
from stablenormal.models.spec import ModelSpec

_NOISE = 0.03


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
    corpus: Corpus,
    index: NDArray[np.int64],
    size: int,
    rngs: Sequence[np.random.Generator] | None,
    crops: tuple[float, float] = (0.6, 1.0),
    roll_deg: float = 0.0,
    blur_px: float = 0.0,
) -> Batch:
    """Cut one batch out of a corpus.

    Args:
        corpus: the samples.
        index: (B,) which samples.
        size: side of the result in pixels.
        rngs: one for each sample, draws flip, crop and colours; None gives whole images, unchanged in colour.
        crops: the crop's side is drawn log-uniformly between these shares of the image's side.
        roll_deg: standard deviation of a roll of the whole image about its middle, before the crop; corners
            that it uncovers are black and invalid.
        blur_px: largest standard deviation of a blur, which one image in five gets.

    Returns:
        The batch; crops are square, so a crop or zoom leaves the normals as they are, a flip negates x, a
        roll turns x and y.
    """
    images, normal_maps, label_maps = [], [], []
    smallest, largest = crops
    for place, sample in enumerate(index):
        rng = None if rngs is None else rngs[place]
        share = 1.0 if rng is None else largest * (smallest / largest) ** rng.random()
        side = max(1, round(corpus.size * share))
        top, left = (0, 0) if rng is None else (int(v) for v in rng.integers(0, corpus.size - side + 1, 2))
        window = (slice(top, top + side), slice(left, left + side))
        if rng is not None and roll_deg:
            whole = _rolled(corpus, sample, rng.normal(0, roll_deg))
            pixels, vectors, classes = whole[0][window], whole[1][window], whole[2][window]
        else:
            pixels, vectors, classes = corpus.view(sample, window)
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


def in_native_frame(batch: Batch, spec: ModelSpec) -> Batch:
    """The batch with its normals in the frame that a model's autoencoder codes."""
    return replace(batch, normals=convert_frame(batch.normals, "opengl", spec.native_frame))


def coarsened(normals: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Normal maps (B, 3, S, S) with less detail, half of them blurred and half reduced in size.

    Strengths are drawn log-uniformly: blurs up to S / 32 pixels, reductions up to S / 12 in each direction.
    """
    maps, side = [], normals.shape[-1]
    for one, rng in zip(normals, rngs, strict=True):
        blurs, share = rng.random() < 0.5, rng.random()
        if blurs:
            maps.append(blur_normals(one, 0.5 * max(1.0, side / 16) ** share))
        else:
            maps.append(reduce_normals(one, 1.5 * max(1.0, side / 18) ** share))
    return torch.stack(maps)


def _rolled(
    corpus: Corpus, sample: np.int64, angle_deg: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Image, normals and labels of a camera rolled about the middle of the picture."""
    camera = Intrinsics.centred(corpus.size, corpus.size, corpus.size)
    pixels, vectors, classes = corpus.view(sample, (slice(None), slice(None)))
    return (
        rolled(pixels, camera, angle_deg, smooth=True),
        rolled_vectors(vectors, camera, angle_deg),
        rolled(classes, camera, angle_deg),
    )


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator, blur_px: float) -> NDArray[np.uint8]:
    """Other colours, in some images blur, and in two of five noise."""
    image = recoloured(image, rng, 1.0)
    if blur_px and rng.random() < 0.2:
        image = blurred(image, rng.uniform(0.2, 1) * blur_px)
    return noisy(image, rng, rng.uniform(0, _NOISE)) if rng.random() < 0.4 else image
