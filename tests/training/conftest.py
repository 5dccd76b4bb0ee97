from dataclasses import fields, replace

import pytest
import torch

from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import build_components
from stablenormal.models.loading import save_components
from stablenormal.training.parts.catalogue import settings_class
from stablenormal.training.settings import TrainingSettings


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
