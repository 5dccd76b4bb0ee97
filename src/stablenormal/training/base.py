"""What a training begins from: a model folder, the bundled model, Stable Diffusion, or nothing."""

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from stablenormal.errors import ModelError
from stablenormal.io.hub import resolve_model
from stablenormal.models.architecture import SD21, SD21_SPEC, SMALL, SMALL_SPEC
from stablenormal.models.building import ModelComponents, build_components
from stablenormal.models.loading import load_dinov2
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.models.stable_diffusion import StableDiffusionBase, from_stable_diffusion
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.fresh_weights import quieten, quieten_semantic_encoder

_STABLE_DIFFUSION = "sd:"
_DINOV2 = "dinov2:"
Module = TypeVar("Module", bound=nn.Module)


def load_base(
    base: str, seed: int, semantic_base: str = "new", size: int | None = None, offline: bool = False
) -> ModelComponents:
    """The model that a training begins from, in float32 on the CPU; nothing of it takes gradients.

    Args:
        base: model folder, hub id, "small", "new", "dinov2:FOLDER" or "sd:FOLDER", as in `TrainingSettings`.
        seed: of weights that are new.
        semantic_base: with Stable Diffusion, folder or hub id of a DINOv2 encoder, or "new".
        size: with Stable Diffusion, the size of images in use; the spec's own by default.
        offline: never open a socket.

    Raises:
        ModelError: if the base is missing, damaged or of another architecture.
    """
    if base == "new":
        components = _new(seed)
    elif base.startswith(_DINOV2):
        components = _from_dinov2(base.removeprefix(_DINOV2), seed, offline)
    elif base.startswith(_STABLE_DIFFUSION):
        folder = resolve_model(base.removeprefix(_STABLE_DIFFUSION), offline)
        semantic = None if semantic_base == "new" else resolve_model(semantic_base, offline)
        components = _from_stable_diffusion(StableDiffusionBase(folder, semantic), seed, size)
    else:
        pipeline = StableNormal.from_pretrained(base, device="cpu", dtype=torch.float32, offline=offline)
        components = pipeline.components
        # Inference wants channels last; the backward pass of group normalisation is 19 times slower in it.
        components.arrange_encoders(torch.contiguous_format)
    for module in components.parts().values():
        module.eval().requires_grad_(False)
    return components


def _new(seed: int) -> ModelComponents:
    """The small architecture with fresh weights, easy to train."""
    components = build_components(SMALL, SMALL_SPEC, torch.Generator().manual_seed(seed))
    quieten(components)
    return components


def _from_dinov2(name: str, seed: int, offline: bool) -> ModelComponents:
    """The small architecture with fresh weights on a pretrained transformer.

    Raises:
        ModelError: if it is missing, damaged or of another size than the architecture's.
    """
    folder = resolve_model(name, offline)
    encoder = load_dinov2(folder, SMALL_SPEC.semantic_input_size)
    config, shape = encoder.network.config, SMALL.semantic
    found = (int(config.hidden_size), int(config.num_hidden_layers), int(config.patch_size))
    wanted = (shape.width, shape.depth, shape.patch_size)
    if found != wanted:
        raise ModelError(
            f"{folder}: a DINOv2 of width {found[0]}, {found[1]} layers and patches of {found[2]}; the small "
            f"model takes width {wanted[0]}, {wanted[1]} layers and patches of {wanted[2]} (ViT-S/14)"
        )
    return replace(_new(seed), semantic_encoder=encoder)


def trainable(module: Module) -> Module:
    """A copy that takes gradients."""
    return copy.deepcopy(module).requires_grad_(True)


def frozen_copy(module: Module) -> Module:
    """A copy that takes no gradients."""
    return copy.deepcopy(module).requires_grad_(False)


def _from_stable_diffusion(base: StableDiffusionBase, seed: int, size: int | None) -> ModelComponents:
    is_new = base.semantic is None
    spec = replace(
        SD21_SPEC,
        name=base.folder.name,
        native_frame="opengl",  # which training codes normals in
        processing_resolution=size or SD21_SPEC.processing_resolution,
        semantic_input_size=SMALL_SPEC.semantic_input_size if is_new else SD21_SPEC.semantic_input_size,
    )
    shapes = replace(SD21, semantic=SMALL.semantic if is_new else SD21.semantic)
    components = from_stable_diffusion(base, shapes, spec, torch.Generator().manual_seed(seed))
    if is_new and isinstance(components.semantic_encoder, SemanticEncoder):
        quieten_semantic_encoder(components.semantic_encoder)
    return components
