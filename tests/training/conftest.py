from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from stablenormal.data.packed import pack_corpus
from stablenormal.data.sample import Sample
from stablenormal.geometry.camera import Intrinsics
from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import build_components
from stablenormal.models.loading import save_components
from stablenormal.training.parts.catalogue import settings_class
from stablenormal.training.settings import TrainingSettings


def _sample(index: int, size: int) -> Sample:
    """A lit sphere on nothing, somewhere else in each sample."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    centre, radius = rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.25, 0.45) * size
    u, v = (x - centre[0]) / radius, (centre[1] - y) / radius
    inside = u**2 + v**2 < 0.98
    z = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    normals = np.where(inside[..., None], np.stack([u, v, z], -1), 0).astype(np.float32)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    normals *= inside[..., None]
    image = (40 + 200 * np.clip(normals @ np.float32([0.4, 0.6, 0.7]), 0, 1))[..., None] * np.ones(3)
    return Sample(
        image=image.astype(np.uint8),
        normals=normals.astype(np.float32),
        depth=inside.astype(np.float32),
        labels=inside.astype(np.uint8) * 12,
        instances=inside.astype(np.uint16),
        intrinsics=Intrinsics(fx=size, fy=size, cx=size / 2, cy=size / 2, width=size, height=size),
        meta={"kind": "object"},
    )


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    pack_corpus((_sample(i, 64) for i in range(12)), folder, 12)
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "model"
    save_components(
        build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(1)), folder, dtype=torch.float32
    )
    return folder


@pytest.fixture(scope="session")
def for_part():
    """Makes settings of a part out of what they share with another part's, and changes."""

    def build(settings, part, supervision=None, **changes):
        kind = settings_class({"part": part} | ({"supervision": supervision} if supervision else {}))
        shared = {field.name: getattr(settings, field.name) for field in fields(TrainingSettings)}
        chosen = shared | changes
        if not kind.caches_latents:
            chosen["stages"] = tuple(replace(stage, variants=1) for stage in chosen["stages"])
        return kind(**chosen)

    return build
