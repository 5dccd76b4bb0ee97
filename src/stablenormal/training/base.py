"""What a training begins from: a model folder, the bundled model, Stable Diffusion, or nothing."""

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from stablenormal.io.hub import resolve_model
from stablenormal.models.architecture import SD21, SD21_SPEC, SMALL, SMALL_SPEC
from stablenormal.models.building import ModelComponents, build_components
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.models.stable_diffusion import StableDiffusionBase, from_stable_diffusion
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.fresh_weights import quieten, quieten_semantic_encoder
from stablenormal.training.settings import TrainingSettings

_STABLE_DIFFUSION = "sd:"
Module = TypeVar("Module", bound=nn.Module)


def load_base(settings: TrainingSettings) -> ModelComponents:
    """The model that a training begins from, in float32 on the CPU; nothing of it takes gradients.

    Raises:
        ModelError: if the base is missing, damaged or of another architecture.
    """
    if settings.base == "new":
        components = build_components(SMALL, SMALL_SPEC, torch.Generator().manual_seed(settings.seed))
        quieten(components)
    elif settings.base.startswith(_STABLE_DIFFUSION):
        components = _from_stable_diffusion(settings)
    else:
        components = StableNormal.from_pretrained(settings.base, device="cpu", dtype=torch.float32).components
        # Inference wants channels last; the backward pass of group normalisation is 19 times slower in it.
        components.arrange_encoders(torch.contiguous_format)
    for module in components.parts().values():
        module.eval().requires_grad_(False)
    return components


def trainable(module: Module) -> Module:
    """A copy that takes gradients."""
    return copy.deepcopy(module).requires_grad_(True)


def frozen_copy(module: Module) -> Module:
    """A copy that takes no gradients."""
    return copy.deepcopy(module).requires_grad_(False)


def _from_stable_diffusion(settings: TrainingSettings) -> ModelComponents:
    base = resolve_model(settings.base.removeprefix(_STABLE_DIFFUSION))
    is_new = settings.semantic_base == "new"
    semantic = None if is_new else resolve_model(settings.semantic_base)
    spec = replace(
        SD21_SPEC,
        name=base.name,
        native_frame="opengl",  # which training codes normals in
        processing_resolution=settings.stages[-1].size,
        semantic_input_size=SMALL_SPEC.semantic_input_size if is_new else SD21_SPEC.semantic_input_size,
    )
    shapes = replace(SD21, semantic=SMALL.semantic if is_new else SD21.semantic)
    generator = torch.Generator().manual_seed(settings.seed)
    components = from_stable_diffusion(StableDiffusionBase(base, semantic), shapes, spec, generator)
    if is_new and isinstance(components.semantic_encoder, SemanticEncoder):
        quieten_semantic_encoder(components.semantic_encoder)
    return components
