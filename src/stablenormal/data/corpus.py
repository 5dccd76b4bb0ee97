"""The corpus that training reads: square samples of one size by number, packed or straight from the sets."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stablenormal.data.mixture import Mixture, SourceConfig
from stablenormal.data.sample import Sample
from stablenormal.data.transforms import square

View = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]]
"""Image (h, w, 3), OpenGL normals (h, w, 3), unit length or zero, and class ids (h, w)."""


class Corpus(Protocol):
    """Square samples of one size by number; a `data.packed.PackedCorpus`, or a `DrawnCorpus`."""

    @property
    def size(self) -> int:
        """Side of the samples in pixels."""

    def __len__(self) -> int:
        """How many there are."""

    def view(self, sample: int | np.int64, window: tuple[slice, slice]) -> View:
        """Rows and columns of one sample."""


class DrawnCorpus:
    """The draws of a weighted mixture of training sets, read when they are asked for.

    Sample n is the mixture's draw n, so that any of them can be read alone; a damaged one is replaced by
    another of its set, and many of them are an error, as in `Mixture`.

    Args:
        sources: the sets and their weights.
        draws: how many samples there are to be.
        size: side in pixels; the middle square of each view is resized to it.
        seed: of the order.

    Raises:
        SettingError: if a reader or option does not exist.
        DataError: if a set is missing or empty.
    """

    def __init__(self, sources: Sequence[SourceConfig], draws: int, size: int, seed: int) -> None:
        self.mixture = Mixture.open(sources, batch=1)
        self._draws, self._size, self._seed = draws, size, seed
        self._read = lru_cache(maxsize=8)(self._square)  # several crops of one view follow each other

    @property
    def size(self) -> int:
        """Side of the samples in pixels."""
        return self._size

    def __len__(self) -> int:
        return self._draws

    def view(self, sample: int | np.int64, window: tuple[slice, slice]) -> View:
        """Rows and columns of one draw.

        Raises:
            DataError: if more than 1 % of the draws are damaged, or a whole set is.
        """
        whole = self._read(int(sample))
        return whole.image[window], whole.normals[window], whole.labels[window]

    def _square(self, draw: int) -> Sample:
        return square(self.mixture.sample(self._seed, draw, 0), self._size)
