"""Train one part: read the model folder, fit, write the model folder."""

import logging
from collections.abc import Callable
from dataclasses import replace
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from stablenormal.data.corpus import Corpus, DrawnCorpus
from stablenormal.data.packed import PackedCorpus, open_corpus
from stablenormal.errors import OutputError, SettingError, StableNormalError
from stablenormal.io.atomic import reason
from stablenormal.io.hub import resolve_model
from stablenormal.io.output_folder import OutputFolder
from stablenormal.models.architecture import SD21, SD21_SPEC, SMALL, SMALL_SPEC
from stablenormal.models.autoencoder import encode
from stablenormal.models.building import ModelComponents, build_components, build_image_encoder
from stablenormal.models.loading import save_components
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.models.stable_diffusion import StableDiffusionBase, from_stable_diffusion
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.augmentation import in_native_frame, load_batch
from stablenormal.training.checkpoint import load_checkpoint
from stablenormal.training.config import TrainingConfig, read_config, write_config
from stablenormal.training.interruption import Interruption
from stablenormal.training.loop import CHECKPOINT_FILE, PartTraining, Progress, fit
from stablenormal.training.parallel import Processes
from stablenormal.training.parts import AngularTraining, AutoencoderTraining, RefinerTraining, YosoTraining
from stablenormal.training.semantic_parts import (
    SelfDistillationTraining,
    SemanticTraining,
    UpsamplerTraining,
)

_LOG = logging.getLogger(__name__)
_SCALING_IMAGES = 256
_FIRST_LOGVAR = -5.0
_STABLE_DIFFUSION = "sd:"
_SUBJECTS = {
    "autoencoder": "autoencoder",
    "semantic": "semantic_encoder",
    "upsampler": "feature_upsampler",
    "yoso": "yoso",
    "refiner": "refiner",
    "angular": "yoso",
}


def train(
    config: TrainingConfig,
    out: Path,
    stop_after: int | None = None,
    interruption: Interruption | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Path | None:
    """Run a training to its end, or until `stop_after` steps, from its last checkpoint.

    In several processes, started by `torchrun`, each calls it with the same arguments.

    Args:
        config: what to train and how.
        out: run folder: `config.yaml`, `log.jsonl`, `checkpoint.pt`, latent caches and, at the end, `model/`.
        stop_after: stop with a checkpoint after this many steps in all.
        interruption: stop with a checkpoint when a signal has come.
        watch: called after each step.

    Returns:
        The model folder (float32, all parts, the trained one replaced), or None if there are steps left.

    Raises:
        ModelError: if the base is missing, damaged or of another architecture.
        DataError: if a corpus or the checkpoint is damaged, or the checkpoint of another configuration.
        SettingError: if a setting does not fit the base or the number of processes.
        OutputError: if something cannot be written; what was there before is intact.
    """
    try:
        return _train(config, out, stop_after, interruption, watch)
    except StableNormalError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write into {out}: {reason(error)}") from error


def _train(
    config: TrainingConfig,
    out: Path,
    stop_after: int | None,
    interruption: Interruption | None,
    watch: Callable[[Progress], None] | None,
) -> Path | None:
    corpus, heldout = training_corpus(config), open_corpus(Path(config.heldout))
    processes = Processes(config.shard)
    components = starting_components(config)
    out.mkdir(parents=True, exist_ok=True)
    load_checkpoint(out / CHECKPOINT_FILE, config.fingerprint())  # refused before anything is written
    if processes.is_first:
        _keep_config(config, out)
    part = build_part(config, components, corpus, heldout, out)
    components.to(processes.device, torch.float32)
    if processes.is_first:
        _LOG.info("%s: %.2f M parameters, %d images", config.part, _millions(part), len(corpus))
    weights = fit(part, config, out, processes, stop_after, interruption, watch)
    if weights is None:
        return None
    if processes.is_first:
        if processes.sharded:  # the modules hold shares; fresh ones take the whole weights
            components = starting_components(config)
            part = build_part(config, components, corpus, heldout, out)
        part.module.load_state_dict(weights)
        if config.part == "autoencoder" and not config.freeze_encoder:
            set_scaling_factor(components, corpus)
        save_components(components, out / "model", dtype=torch.float32)
    processes.wait()
    return out / "model"


def _keep_config(config: TrainingConfig, out: Path) -> None:
    """Write the configuration into the run's folder, over none but an earlier one of this program."""
    path = out / "config.yaml"
    try:
        if path.is_file() and read_config(path, config.part) == config:
            return  # it may be the very file that the user gave
    except SettingError:
        pass  # another kind of file, which is looked after below
    with OutputFolder(out, option="--out").writing([path]):
        write_config(config, path)


def training_corpus(config: TrainingConfig) -> Corpus:
    """The packed corpus of a configuration, or the draws of its sources.

    Raises:
        DataError: if it is missing, damaged or empty.
        SettingError: if a source's reader or option does not exist.
    """
    if not config.sources:
        return open_corpus(Path(config.data))
    images = sum(stage.steps * stage.batch for stage in config.stages)
    return DrawnCorpus(config.sources, images, config.source_size, config.seed)


def set_scaling_factor(components: ModelComponents, corpus: Corpus) -> None:
    """Set the autoencoder's scaling factor so that latents of normals have unit variance over the corpus."""
    components.autoencoder.register_to_config(scaling_factor=1.0)
    chosen = np.linspace(0, len(corpus) - 1, min(_SCALING_IMAGES, len(corpus))).astype(np.int64)
    device = components.autoencoder.device
    with torch.inference_mode():
        batches = (
            in_native_frame(load_batch(corpus, i, 128, None), components.spec) for i in chosen[:, None]
        )
        latents = [encode(components.autoencoder, batch.normals.to(device)) for batch in batches]
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
            quieten_semantic_encoder(components.semantic_encoder)
        bias[len(bias) // 2 :] = _FIRST_LOGVAR


def quieten_semantic_encoder(encoder: SemanticEncoder) -> None:
    """Let a fresh encoder's positions begin as sines and cosines; see `quieten`."""
    with torch.no_grad():
        positions = encoder.network.embeddings.position_embeddings
        positions[:, 1:] = sine_positions(isqrt(positions.shape[1] - 1), positions.shape[2])


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


def starting_components(config: TrainingConfig) -> ModelComponents:
    """The model that a training starts from, ready for it: its part alone takes gradients.

    Raises:
        ModelError: if the base is missing, damaged or of another architecture.
        SettingError: if a setting does not fit the base.
    """
    components = _base(config)
    if config.part == "refiner":
        if config.alignment == "upsampler" and components.feature_upsampler is None:
            raise SettingError(f"alignment: {config.base} has no feature upsampler; train one first")
        components.spec = replace(components.spec, alignment=config.alignment)
        if config.start_from_yoso:
            _copy_yoso(components)
    if config.part == "angular" and config.image_encoder_channels:
        components.image_encoder = build_image_encoder(
            components.autoencoder,
            config.image_encoder_channels,
            config.image_encoder_layers,
            torch.Generator().manual_seed(config.seed),
        )
        quieten_blocks(components.image_encoder)
    for name, module in components.parts().items():
        module.eval()
        if name != _SUBJECTS[config.part]:
            module.requires_grad_(False)
    return components


def _base(config: TrainingConfig) -> ModelComponents:
    generator = torch.Generator().manual_seed(config.seed)
    if config.base == "new":
        components = build_components(SMALL, SMALL_SPEC, generator)
        quieten(components)
        return components
    if config.base.startswith(_STABLE_DIFFUSION):
        return _from_stable_diffusion(config, generator)
    components = StableNormal.from_pretrained(config.base, device="cpu", dtype=torch.float32).components
    # Inference wants channels last; the backward pass of group normalisation is 19 times slower in it.
    components.arrange_encoders(torch.contiguous_format)
    return components


def _from_stable_diffusion(config: TrainingConfig, generator: torch.Generator) -> ModelComponents:
    base = resolve_model(config.base.removeprefix(_STABLE_DIFFUSION))
    is_new = config.semantic_base == "new"
    semantic = None if is_new else resolve_model(config.semantic_base)
    spec = replace(
        SD21_SPEC,
        name=base.name,
        native_frame="opengl",  # which training codes normals in
        processing_resolution=config.stages[-1].size,
        semantic_input_size=SMALL_SPEC.semantic_input_size if is_new else SD21_SPEC.semantic_input_size,
    )
    shapes = replace(SD21, semantic=SMALL.semantic if is_new else SD21.semantic)
    components = from_stable_diffusion(StableDiffusionBase(base, semantic), shapes, spec, generator)
    if is_new and isinstance(components.semantic_encoder, SemanticEncoder):
        quieten_semantic_encoder(components.semantic_encoder)
    return components


def _copy_yoso(components: ModelComponents) -> None:
    """Give the refiner YOSO's denoiser, condition encoder and text condition."""
    yoso, refiner = components.yoso, components.refiner
    try:
        refiner.unet.load_state_dict(yoso.unet.state_dict())
        refiner.condition_encoder.load_state_dict(yoso.condition_encoder.state_dict())
    except RuntimeError as error:
        raise SettingError(
            "start_from_yoso: YOSO and the refiner of this base have different shapes; set it to false"
        ) from error
    refiner.text = yoso.text.clone()


def build_part(
    config: TrainingConfig,
    components: ModelComponents,
    corpus: Corpus,
    heldout: PackedCorpus,
    out: Path,
) -> PartTraining:
    """What the loop trains; new heads take their weights from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _choose_part(config, components, corpus, heldout, out)


def _choose_part(
    config: TrainingConfig,
    components: ModelComponents,
    corpus: Corpus,
    heldout: PackedCorpus,
    out: Path,
) -> PartTraining:
    if config.part == "autoencoder":
        return AutoencoderTraining(components, corpus, heldout, config)
    if config.part == "semantic":
        supervised = config.supervision == "labels"
        teaching = SemanticTraining if supervised else SelfDistillationTraining
        return teaching(components, corpus, heldout, config)
    if config.part == "upsampler":
        return UpsamplerTraining(components, corpus, heldout, config)
    denoisers: dict[str, Callable[..., PartTraining]] = {
        "yoso": YosoTraining,
        "refiner": RefinerTraining,
        "angular": AngularTraining,
    }
    return denoisers[config.part](components, corpus, heldout, config, out / "latents")


def _millions(part: PartTraining) -> float:
    return sum(p.numel() for p in part.module.parameters() if p.requires_grad) / 1e6
