"""One call from photographs to normals."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from stablenormal.pipelines.inputs import ImageLike
from stablenormal.pipelines.output import NormalsOutput
from stablenormal.pipelines.stable_normal import BUNDLED, StableNormal


def predict(
    images: ImageLike | Sequence[ImageLike],
    *,
    model: str | Path = BUNDLED,
    device: str | None = None,
    dtype: str | None = None,
    offline: bool = False,
    **options: Any,
) -> NormalsOutput:
    """Normals of one image or several; the model is loaded by the first call and kept for the next.

    Args:
        images: as `StableNormal.__call__` takes them: paths, PIL images, arrays, photographs, tensors.
        model: `small` (comes with the package), a model folder, or a hub id.
        device: as `StableNormal.from_pretrained`.
        dtype: as `StableNormal.from_pretrained`.
        offline: never open a socket.
        options: of `StableNormal.__call__`, such as mode="turbo", seed=1 or ensemble=4.

    Raises:
        StableNormalError: as `StableNormal.from_pretrained` and `StableNormal.__call__`.
    """
    return loaded(str(model), device, dtype, offline)(images, **options)


@lru_cache(maxsize=1)
def loaded(model: str, device: str | None, dtype: str | None, offline: bool) -> StableNormal:
    """The pipeline of a model; the last one is kept."""
    return StableNormal.from_pretrained(model, device=device, dtype=dtype, offline=offline)
