"""Begin from a Stable Diffusion 1.x or 2.x folder: both denoisers, their condition encoders and the text."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator

from stablenormal.errors import ModelError
from stablenormal.models.architecture import Architecture
from stablenormal.models.building import ModelComponents, build_injector, build_semantic_encoder
from stablenormal.models.condition_encoder import ConditionEncoder
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.library import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from stablenormal.models.loading import (
    DIFFUSERS_WEIGHTS,
    INDEX_FILE,
    check_fit,
    is_model_folder,
    load_diffusers,
    load_dinov2,
)
from stablenormal.models.released import encode_prompts
from stablenormal.models.spec import ModelSpec, read_json
from stablenormal.models.text import PROMPT

_PARTS = ("vae", "unet", "text_encoder", "tokenizer")
_SMALL_RGB_EMBEDDING = (16,)  # never runs; diffusers' ControlNet cannot be without one
_HALF = "fp16"


@dataclass(frozen=True)
class StableDiffusionBase:
    """Where the weights that training starts from lie."""

    folder: Path
    """A Stable Diffusion 1.x or 2.x repository in the diffusers layout."""
    semantic: Path | None = None
    """A transformers DINOv2 folder; None builds a new encoder."""


def from_stable_diffusion(
    base: StableDiffusionBase, architecture: Architecture, spec: ModelSpec, generator: Generator
) -> ModelComponents:
    """Make a model whose parts begin as Stable Diffusion's.

    YOSO and the refiner both begin as the base's U-Net, f as a copy of its encoder half, the text condition
    is the base's encoding of "The normal map", and the autoencoder is kept.

    Args:
        base: the folders.
        architecture: shapes of what the base lacks: a new semantic encoder, the injector.
        spec: how the model will be run.
        generator: the source of every new weight.

    Raises:
        ModelError: if the folder is of another architecture, incomplete or damaged.
    """
    _check_architecture(base.folder)
    text = encode_prompts(
        [base.folder], _variant(base.folder / "text_encoder", "model.safetensors"), [PROMPT]
    )[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        if base.semantic is None:
            semantic = build_semantic_encoder(architecture.semantic, spec.semantic_input_size)
        else:
            semantic = load_dinov2(base.semantic, spec.semantic_input_size)
        yoso_unet, refiner_unet = _load_unet(base.folder), _load_unet(base.folder)
        components = ModelComponents(
            spec=spec,
            autoencoder=load_diffusers(
                base.folder / "vae", AutoencoderKL, variant=_variant(base.folder / "vae")
            ),
            yoso=GuidedDenoiser(yoso_unet, _copy_encoder(yoso_unet, spec), text.clone()),
            refiner=GuidedDenoiser(
                refiner_unet,
                _copy_encoder(refiner_unet, spec),
                text.clone(),
                build_injector(refiner_unet, spec, semantic.channels, architecture.injector_channels),
            ),
            semantic_encoder=semantic,
        )
    check_fit(components, base.folder)
    for part in components.parts().values():
        part.eval()
    return components


def _copy_encoder(unet: UNet2DConditionModel, spec: ModelSpec) -> ConditionEncoder:
    """f: the encoder half of the U-Net, weights included (ControlNet's own beginning)."""
    network = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=_SMALL_RGB_EMBEDDING, load_weights_from_unet=True
    )
    return ConditionEncoder(network, spec.zero_convolutions)


def _load_unet(folder: Path) -> UNet2DConditionModel:
    return load_diffusers(folder / "unet", UNet2DConditionModel, variant=_variant(folder / "unet"))


def _variant(folder: Path, name: str = DIFFUSERS_WEIGHTS) -> str | None:
    """Half precision only where there is nothing else."""
    return None if (folder / name).is_file() else _HALF


def _check_architecture(folder: Path) -> None:
    """Refuse what is no Stable Diffusion 1.x or 2.x folder.

    Raises:
        ModelError: naming what the folder is instead.
    """
    wanted = "give a folder of Stable Diffusion 1.x or 2.x (vae, unet, text_encoder, tokenizer)"
    if not is_model_folder(folder):
        raise ModelError(f"{folder}: has no {INDEX_FILE}, so it is not in the diffusers layout; {wanted}")
    kind = read_json(folder / INDEX_FILE).get("_class_name", "unknown")
    lacking = [part for part in _PARTS if not (folder / part).is_dir()]
    if lacking:
        raise ModelError(f"{folder}: a {kind} without {', '.join(lacking)}; {wanted}")
    config = read_json(folder / "unet" / "config.json")
    if (folder / "text_encoder_2").is_dir() or config.get("addition_embed_type"):
        raise ModelError(f"{folder}: a {kind}, of another architecture; {wanted}")
    channels = read_json(folder / "vae" / "config.json").get("latent_channels", 4)
    if config.get("in_channels") != channels:
        raise ModelError(
            f"{folder}: a {kind} whose U-Net takes {config.get('in_channels')} channels and not the "
            f"latent's {channels} (inpainting or depth weights?); {wanted}"
        )
