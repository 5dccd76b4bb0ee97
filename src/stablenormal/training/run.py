"""Train one part: read the model folder, fit, write the model folder."""

import logging
from collections.abc import Callable
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from stablenormal.data.packed import PackedCorpus, open_corpus
from stablenormal.models.architecture import SMALL, SMALL_SPEC
from stablenormal.models.autoencoder import encode
from stablenormal.models.building import ModelComponents, build_components
from stablenormal.models.loading import load_components, save_components
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.training.augmentation import load_batch
from stablenormal.training.config import TrainingConfig, write_config
from stablenormal.training.loop import PartTraining, fit
from stablenormal.training.parts import (
    AngularTraining,
    AutoencoderTraining,
    RefinerTraining,
    SemanticTraining,
    YosoTraining,
)

_LOG = logging.getLogger(__name__)
_SCALING_IMAGES = 256
_FIRST_LOGVAR = -5.0
_SUBJECTS = {
    "autoencoder": "autoencoder",
    "semantic": "semantic_encoder",
    "yoso": "yoso",
    "refiner": "refiner",
    "angular": "yoso",
}


def train(config: TrainingConfig, out: Path, stop_after: int | None = None) -> Path | None:
    """Run a training to its end, or until `stop_after` steps, from its last checkpoint.

    Args:
        config: what to train and how.
        out: run folder: `config.yaml`, `log.jsonl`, `checkpoint.pt`, latent caches and, at the end, `model/`.
        stop_after: stop with a checkpoint after this many steps in all.

    Returns:
        The model folder (float32, all parts, the trained one replaced), or None if there are steps left.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_config(config, out / "config.yaml")
    components = _base(config)
    corpus, heldout = open_corpus(Path(config.data)), open_corpus(Path(config.heldout))
    if config.part == "refiner" and config.start_from_yoso:
        _copy_yoso(components)
    for name, module in components.parts().items():
        module.eval()
        if name != _SUBJECTS[config.part]:
            module.requires_grad_(False)
    part = _part(config, components, corpus, heldout, out)
    _LOG.info("%s: %.2f M parameters, %d images", config.part, _millions(part), len(corpus))
    if not fit(part, config, out, stop_after):
        return None
    if config.part == "autoencoder" and not config.freeze_encoder:
        set_scaling_factor(components, corpus)
    save_components(components, out / "model", dtype=torch.float32)
    return out / "model"


def set_scaling_factor(components: ModelComponents, corpus: PackedCorpus) -> None:
    """Set the autoencoder's scaling factor so that latents of normals have unit variance over the corpus."""
    components.autoencoder.register_to_config(scaling_factor=1.0)
    chosen = np.linspace(0, len(corpus) - 1, min(_SCALING_IMAGES, len(corpus))).astype(np.int64)
    with torch.inference_mode():
        latents = [
            encode(components.autoencoder, load_batch(corpus, i, 128, None).normals) for i in chosen[:, None]
        ]
    factor = 1 / float(torch.stack(latents).std())
    components.autoencoder.register_to_config(scaling_factor=factor)
    _LOG.info("autoencoder: scaling factor %.4f", factor)


def quieten(components: ModelComponents) -> None:
    """Make fresh weights easy to train from nothing.

    Residual blocks begin as identities. The semantic encoder's positions begin as sines and cosines: fresh
    ones are 3 % of the patches' features, and not seen for thousands of steps. The autoencoder's posterior
    begins narrow: at its usual standard deviation of 1 the first steps learn little.
    """
    for part in components.parts().values():
        quieten_blocks(part)
    bias = components.autoencoder.quant_conv.bias
    with torch.no_grad():
        if isinstance(components.semantic_encoder, SemanticEncoder):
            positions = components.semantic_encoder.network.embeddings.position_embeddings
            positions[:, 1:] = sine_positions(isqrt(positions.shape[1] - 1), positions.shape[2])
        bias[len(bias) // 2 :] = _FIRST_LOGVAR


def quieten_blocks(network: nn.Module) -> None:
    """Make every residual block of a network begin as the identity."""
    for module in network.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)


def sine_positions(grid: int, width: int) -> Tensor:
    """Sines and cosines of x and y, (grid^2, width), at wavelengths from 0.4 pictures up."""
    places = (torch.arange(grid) + 0.5) * 16 / grid
    y, x = (place.flatten()[:, None] for place in torch.meshgrid(places, places, indexing="ij"))
    frequencies = 10000 ** -(torch.arange(-(-width // 4)) * 4 / width)
    waves = [wave(axis * frequencies) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1)[:, :width]


def _base(config: TrainingConfig) -> ModelComponents:
    if config.base == "new":
        components = build_components(SMALL, SMALL_SPEC, torch.Generator().manual_seed(config.seed))
        quieten(components)
        return components
    return load_components(Path(config.base), device=torch.device("cpu"), dtype=torch.float32)


def _copy_yoso(components: ModelComponents) -> None:
    """Give the refiner YOSO's denoiser, condition encoder and text condition."""
    components.refiner.unet.load_state_dict(components.yoso.unet.state_dict())
    components.refiner.condition_encoder.load_state_dict(components.yoso.condition_encoder.state_dict())
    components.refiner.text.copy_(components.yoso.text)


def _part(
    config: TrainingConfig,
    components: ModelComponents,
    corpus: PackedCorpus,
    heldout: PackedCorpus,
    out: Path,
) -> PartTraining:
    if config.part == "autoencoder":
        return AutoencoderTraining(components, corpus, heldout, config)
    if config.part == "semantic":
        return SemanticTraining(components, corpus, heldout, config)
    denoisers: dict[str, Callable[..., PartTraining]] = {
        "yoso": YosoTraining,
        "refiner": RefinerTraining,
        "angular": AngularTraining,
    }
    return denoisers[config.part](components, corpus, heldout, config, out / "latents")


def _millions(part: PartTraining) -> float:
    return sum(p.numel() for p in part.module.parameters() if p.requires_grad) / 1e6
