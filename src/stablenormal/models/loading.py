"""Save and load a model folder: `model_index.json`, `spec.json`, one sub-folder a component, safetensors."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stablenormal.errors import ModelError, OutputError, SettingError
from stablenormal.models.building import ModelComponents, decoder_inputs
from stablenormal.models.condition_encoder import ConditionEncoder
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.feature_upsampler import FeatureUpsampler
from stablenormal.models.field_of_view import FieldOfViewHead
from stablenormal.models.image_encoder import ImageEncoder
from stablenormal.models.library import (
    AutoencoderKL,
    ControlNetModel,
    Dinov2Config,
    Dinov2Model,
    UNet2DConditionModel,
)
from stablenormal.models.remote_code import (
    RemoteInjector,
    RemoteNetwork,
    is_remote,
    load_remote,
    remote_code_of,
    save_remote,
)
from stablenormal.models.semantic_encoder import SemanticEncoder, from_stored_names, to_stored_names
from stablenormal.models.semantic_injector import InputInjector, StageInjector
from stablenormal.models.spec import SPEC_FILE, ModelSpec, load_spec, read_json, save_spec
from stablenormal.models.text import text_constant
from stablenormal.models.token_image_encoder import TokenImageEncoder
from stablenormal.models.unet_stages import stage_channels

CONFIG_FILE = "config.json"
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
TRANSFORMERS_WEIGHTS = "model.safetensors"
INDEX_FILE = "model_index.json"
TEXT_FOLDER = "text"
STORED_DTYPES = (torch.float16, torch.bfloat16, torch.float32)

# What each sub-folder holds, in diffusers' notation: library and class.
LAYOUT = {
    "vae": ("diffusers", "AutoencoderKL"),
    "yoso_unet": ("diffusers", "UNet2DConditionModel"),
    "yoso_controlnet": ("diffusers", "ControlNetModel"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "controlnet": ("diffusers", "ControlNetModel"),
    "semantic_encoder": ("transformers", "Dinov2Model"),
    "semantic_injector": ("stablenormal", "SemanticInjector"),
}
UPSAMPLER_FOLDER = "feature_upsampler"
IMAGE_ENCODER_FOLDER = "image_encoder"
FIELD_OF_VIEW_FOLDER = "field_of_view"
# Parts that not every model has: folder -> what may lie in it.
_OPTIONAL: dict[str, dict[str, Callable[..., nn.Module]]] = {
    UPSAMPLER_FOLDER: {"FeatureUpsampler": FeatureUpsampler},
    IMAGE_ENCODER_FOLDER: {"ImageEncoder": ImageEncoder, "TokenImageEncoder": TokenImageEncoder},
    FIELD_OF_VIEW_FOLDER: {"FieldOfViewHead": FieldOfViewHead},
}
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_INJECTORS: dict[str, Callable[..., nn.Module]] = {
    "InputInjector": InputInjector,
    "StageInjector": StageInjector,
}


def save_components(
    components: ModelComponents, folder: str | Path, dtype: torch.dtype = torch.float16
) -> Path:
    """Write a model folder, whole or not at all; an earlier model there is replaced.

    Args:
        components: what to save; stays as it is.
        folder: where to; anything else than a model folder is left alone.
        dtype: of the stored weights: float16, bfloat16 or float32.

    Raises:
        OutputError: if the folder cannot be written, or holds something that is no model.
        SettingError: for any other dtype.
    """
    if dtype not in STORED_DTYPES:
        raise SettingError(f"dtype: weights are stored as float16, bfloat16 or float32, not {dtype}")
    folder = Path(folder)
    if folder.exists() and not _may_be_replaced(folder):
        raise OutputError(
            f"{folder}: exists and is no model folder that this program wrote; choose another place"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            written = Path(temporary) / "model"
            written.mkdir()
            _write_folder(components, written, dtype)
            if folder.exists():
                folder.rename(Path(temporary) / "replaced")
            written.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write the model ({error.strerror or error})") from error
    return folder


def load_components(
    folder: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
) -> ModelComponents:
    """Read a model folder that `save_components` wrote.

    Args:
        folder: the folder.
        device: where the weights go.
        dtype: what the weights become.
        trust_remote_code: run Python files that came with the weights (released semantic branches have some).

    Returns:
        Components in evaluation mode.

    Raises:
        ModelError: if a file is missing, damaged or of another architecture; wrong keys are named.
    """
    folder = Path(folder)
    if not is_model_folder(folder):
        raise ModelError(f"{folder}: no {INDEX_FILE} there; give a model folder, a hub id, or 'small'")
    if not (folder / SPEC_FILE).is_file():
        raise ModelError(
            f"{folder}: has {INDEX_FILE} but no {SPEC_FILE}; "
            "released weights must be joined with `stablenormal convert` first"
        )
    spec = load_spec(folder)
    unet = load_diffusers(folder / "unet", UNet2DConditionModel, dtype)
    yoso_unet = load_diffusers(folder / "yoso_unet", UNet2DConditionModel, dtype)
    constants = read_weights(folder / TEXT_FOLDER / TRANSFORMERS_WEIGHTS)
    refiner_text = _text_of("refiner", constants, folder)
    components = ModelComponents(
        spec=spec,
        autoencoder=load_diffusers(folder / "vae", AutoencoderKL, dtype),
        semantic_encoder=_load_semantic_encoder(folder / "semantic_encoder", spec, dtype, trust_remote_code),
        yoso=GuidedDenoiser(
            unet=yoso_unet,
            condition_encoder=_load_condition_encoder(folder / "yoso_controlnet", spec, dtype),
            text=_text_of("yoso", constants, folder)
            if spec.text == "prompt"
            else text_constant("zeros", 0, int(yoso_unet.config.cross_attention_dim)),
            predicts_change=spec.predicts_change,
        ),
        refiner=GuidedDenoiser(
            unet=unet,
            condition_encoder=_load_condition_encoder(folder / "controlnet", spec, dtype),
            text=refiner_text,
            injector=_load_injector(folder / "semantic_injector", refiner_text, dtype, trust_remote_code),
            predicts_change=spec.predicts_change,
        ),
        feature_upsampler=_load_optional(
            folder / UPSAMPLER_FOLDER, dtype, needed=spec.alignment == "upsampler"
        ),
        image_encoder=_load_optional(
            folder / IMAGE_ENCODER_FOLDER, dtype, IMAGE_ENCODER_FOLDER in read_json(folder / INDEX_FILE)
        ),
        field_of_view=_load_optional(
            folder / FIELD_OF_VIEW_FOLDER, dtype, FIELD_OF_VIEW_FOLDER in read_json(folder / INDEX_FILE)
        ),
    )
    check_fit(components, folder)
    for part in components.parts().values():
        part.eval()
    return components.to(torch.device(device), dtype)


def _may_be_replaced(folder: Path) -> bool:
    """Whether a folder is empty or a model with a spec, which only this program writes."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return not any(folder.iterdir()) or (is_model_folder(folder) and (folder / SPEC_FILE).is_file())


def is_model_folder(folder: Path) -> bool:
    """Whether a folder says that it holds a model."""
    return (folder / INDEX_FILE).is_file()


def weight_hash(folder: str | Path) -> str:
    """SHA-256 over a model folder's safetensors: their relative names and bytes, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def load_diffusers(
    folder: Path, kind: Any, dtype: torch.dtype = torch.float32, variant: str | None = None
) -> Any:
    """Build a diffusers model from its `config.json` and load its weights strictly.

    Args:
        folder: the component's folder.
        kind: the diffusers class.
        dtype: what the weights become.
        variant: prefer `*.<variant>.safetensors` where it exists.

    Raises:
        ModelError: as `load_components`.
    """
    config = read_json(folder / CONFIG_FILE)
    public = {key: value for key, value in config.items() if not key.startswith("_")}
    model = _build_empty(folder, lambda: kind.from_config(public))
    _check_supported(folder, config)
    path = weights_file(folder / DIFFUSERS_WEIGHTS, variant)
    fill_from(model, {_present_name(key): value for key, value in read_weights(path).items()}, path, dtype)
    return model


def _present_name(key: str) -> str:
    """The name that diffusers now gives to a key; Stable Diffusion's own autoencoders still have old ones."""
    if ".attentions." in key:
        for old, new in _OLD_NAMES.items():
            key = key.replace(f".{old}.", f".{new}.")
    return key


def weights_file(plain: Path, variant: str | None) -> Path:
    """The variant's file beside a plain safetensors file where it exists, else the plain one."""
    if variant:
        special = plain.with_suffix(f".{variant}.safetensors")
        if special.is_file() or not plain.is_file():
            return special
    return plain


def fill(model: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Load a safetensors file into a model, strictly.

    Raises:
        ModelError: if the file is missing or damaged, or its keys or shapes are not the model's.
    """
    fill_from(model, read_weights(path), path, dtype)


def fill_from(
    model: nn.Module, weights: dict[str, Tensor], path: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Load weights that were read from a file into a model, as `fill` does."""
    expected = model.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    unexpected = sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise ModelError(
            f"{path}: keys do not fit {type(model).__name__}; "
            f"missing: {_name_some(missing)}; unexpected: {_name_some(unexpected)}"
        )
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            raise ModelError(
                f"{path}: {key} has shape {tuple(value.shape)}, its config says "
                f"{tuple(expected[key].shape)}; config and weights are of different models"
            )
    model.load_state_dict({key: value.to(dtype) for key, value in weights.items()}, assign=True)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ModelError: if it is missing, truncated or no safetensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: missing; the model folder is incomplete, download or save it again")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged ({error}); download or save the model again") from error


def _write_folder(components: ModelComponents, folder: Path, dtype: torch.dtype) -> None:
    networks: dict[str, Any] = {
        "vae": components.autoencoder,
        "yoso_unet": components.yoso.unet,
        "yoso_controlnet": components.yoso.condition_encoder.network,
        "unet": components.refiner.unet,
        "controlnet": components.refiner.condition_encoder.network,
    }
    for name, network in networks.items():
        network.save_config(folder / name)
        _write_weights(network, folder / name / DIFFUSERS_WEIGHTS, dtype)
    _write_semantic_encoder(components.semantic_encoder, folder / "semantic_encoder", dtype)
    _write_injector(components.refiner.injector, folder / "semantic_injector", dtype)
    layout = dict(LAYOUT)
    optional = {
        UPSAMPLER_FOLDER: components.feature_upsampler,
        IMAGE_ENCODER_FOLDER: components.image_encoder,
        FIELD_OF_VIEW_FOLDER: components.field_of_view,
    }
    for name, part in optional.items():
        if part is not None:
            _write_optional(part, folder / name, dtype)
            layout[name] = ("stablenormal", type(part).__name__)
    texts = {"refiner": components.refiner.text}
    if components.spec.text == "prompt":
        texts["yoso"] = components.yoso.text
    (folder / TEXT_FOLDER).mkdir()
    save_file(
        {name: text.detach().to("cpu", torch.float32).contiguous() for name, text in texts.items()},
        folder / TEXT_FOLDER / TRANSFORMERS_WEIGHTS,
    )
    save_spec(components.spec, folder)
    index = {
        "_class_name": "StableNormal",
        "_diffusers_version": metadata.version("diffusers"),
        **{name: list(kind) for name, kind in layout.items()},
    }
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_weights(network: nn.Module, path: Path, dtype: torch.dtype) -> None:
    _write_state(network.state_dict(), path, dtype)


def _write_state(state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    stored = {key: value.detach().to("cpu", dtype).contiguous() for key, value in state.items()}
    save_file(stored, path, metadata={"format": "pt"})


def _write_semantic_encoder(encoder: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    if isinstance(encoder, RemoteNetwork):
        save_remote(encoder, folder, dtype)
        return
    if not isinstance(encoder, SemanticEncoder):
        raise OutputError(f"{folder.name}: expected a SemanticEncoder to save, got {type(encoder).__name__}")
    save_dinov2(encoder, folder, dtype)


def _write_injector(injector: nn.Module | None, folder: Path, dtype: torch.dtype) -> None:
    if injector is None:
        return
    if isinstance(injector, RemoteInjector):
        save_remote(injector.remote, folder, dtype)
        return
    if not isinstance(injector, InputInjector | StageInjector):
        raise OutputError(f"{folder.name}: cannot save a {type(injector).__name__}")
    folder.mkdir()
    config = {"_class_name": type(injector).__name__, **injector.config}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_weights(injector, folder / DIFFUSERS_WEIGHTS, dtype)


def _write_optional(
    part: FeatureUpsampler | ImageEncoder | TokenImageEncoder | FieldOfViewHead,
    folder: Path,
    dtype: torch.dtype,
) -> None:
    folder.mkdir()
    config = {"_class_name": type(part).__name__, **part.config}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_weights(part, folder / DIFFUSERS_WEIGHTS, dtype)


def _load_optional(folder: Path, dtype: torch.dtype, needed: bool = False) -> Any:
    """A part that a model folder may lack, or None."""
    if not needed and not folder.is_dir():
        return None
    config = read_json(folder / CONFIG_FILE)
    public = {key: value for key, value in config.items() if not key.startswith("_")}
    kinds, name = _OPTIONAL[folder.name], config.get("_class_name")
    if name not in kinds:
        raise ModelError(f"{folder / CONFIG_FILE}: _class_name {name!r} is none of {', '.join(kinds)}")
    part: nn.Module = _build_empty(folder, lambda: kinds[name](**public))
    fill(part, folder / DIFFUSERS_WEIGHTS, dtype)
    return part


def _load_condition_encoder(folder: Path, spec: ModelSpec, dtype: torch.dtype) -> ConditionEncoder:
    return ConditionEncoder(load_diffusers(folder, ControlNetModel, dtype), spec.zero_convolutions)


def _load_semantic_encoder(
    folder: Path, spec: ModelSpec, dtype: torch.dtype, trust_remote_code: bool
) -> nn.Module:
    if is_remote(folder):
        return load_remote(folder, *remote_code_of(folder), dtype, trust_remote_code)
    return load_dinov2(folder, spec.semantic_input_size, dtype)


def load_dinov2(folder: Path, input_size: int, dtype: torch.dtype = torch.float32) -> SemanticEncoder:
    """Load a transformers DINOv2 folder strictly, as a semantic encoder for images of `input_size`.

    Raises:
        ModelError: as `load_components`.
    """
    config = read_json(folder / CONFIG_FILE)
    network = _build_empty(folder, lambda: Dinov2Model(Dinov2Config(**config)))
    if input_size % int(network.config.patch_size):
        raise ModelError(
            f"{folder / CONFIG_FILE}: patches of {network.config.patch_size} do not divide "
            f"the input of {input_size}"
        )
    path = folder / TRANSFORMERS_WEIGHTS
    fill_from(network, from_stored_names(read_weights(path), network), path, dtype)
    return SemanticEncoder(network, input_size)


def save_dinov2(encoder: SemanticEncoder, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the network of a semantic encoder as a transformers folder, which `load_dinov2` reads."""
    folder.mkdir(parents=True)
    encoder.network.config.to_json_file(folder / CONFIG_FILE)
    _write_state(to_stored_names(encoder.network.state_dict()), folder / TRANSFORMERS_WEIGHTS, dtype)


def _load_injector(
    folder: Path, text: Tensor, dtype: torch.dtype, trust_remote_code: bool
) -> nn.Module | None:
    if is_remote(folder):
        return RemoteInjector(load_remote(folder, *remote_code_of(folder), dtype, trust_remote_code), text)
    config = read_json(folder / CONFIG_FILE)
    name = config.pop("_class_name", None)
    if name not in _INJECTORS:
        raise ModelError(f"{folder / CONFIG_FILE}: _class_name {name!r} is none of {', '.join(_INJECTORS)}")
    injector: nn.Module = _build_empty(folder, lambda: _INJECTORS[name](**config))
    fill(injector, folder / DIFFUSERS_WEIGHTS, dtype)
    return injector


def _build_empty(folder: Path, build: Callable[[], Any]) -> Any:
    """Build a module without allocating or initialising its weights, which a strict load replaces."""
    try:
        with torch.device("meta"):
            return build()
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{folder / CONFIG_FILE}: no model can be built from it ({reason})") from error


def _check_supported(folder: Path, config: dict[str, Any]) -> None:
    """Refuse U-Nets with parts that `guided_forward` would not run."""
    unsupported = (
        "addition_embed_type",
        "center_input_sample",
        "class_embed_type",
        "encoder_hid_dim_type",
        "num_class_embeds",
        "time_cond_proj_dim",
        "time_embedding_act_fn",
    )
    present = [key for key in unsupported if config.get(key)]
    if config.get("time_embedding_type", "positional") != "positional":
        present.append("time_embedding_type")
    if present:
        raise ModelError(f"{folder / CONFIG_FILE}: uses {', '.join(present)}, as no StableNormal model does")


def _text_of(name: str, constants: dict[str, Tensor], folder: Path) -> Tensor:
    if name not in constants or constants[name].ndim != 3:
        raise ModelError(
            f"{folder / TEXT_FOLDER / TRANSFORMERS_WEIGHTS}: no text condition '{name}' (1, tokens, width)"
        )
    return constants[name]


def check_fit(components: ModelComponents, folder: Path) -> None:
    """Refuse parts that were made for different models.

    Raises:
        ModelError: if channels, widths or stages disagree.
    """
    latent_channels = int(components.autoencoder.config.latent_channels)
    condition_channels = components.condition_channels
    for name, pair in (("yoso", components.yoso), ("refiner", components.refiner)):
        for network, channels, giver in (
            (pair.unet, latent_channels, "autoencoder"),
            (pair.condition_encoder.network, condition_channels, "image encoder"),
        ):
            if int(network.config.in_channels) != channels:
                raise ModelError(
                    f"{folder}: {name} takes {network.config.in_channels} latent channels, "
                    f"the {giver} gives {channels}; the folder mixes two models"
                )
            if int(network.config.cross_attention_dim) != pair.text.shape[2]:
                raise ModelError(
                    f"{folder}: {name} takes a text condition of width {network.config.cross_attention_dim}, "
                    f"the stored one has {pair.text.shape[2]}; the folder mixes two models"
                )
        if len(pair.condition_encoder.network.controlnet_down_blocks) != len(stage_channels(pair.unet)):
            raise ModelError(f"{folder}: {name}'s condition encoder and U-Net have different stages")
    if components.image_encoder is not None:
        given = int(components.image_encoder.config["latent_channels"])
        if given != latent_channels:
            raise ModelError(
                f"{folder}: the image encoder gives {given} channels, the autoencoder {latent_channels}; "
                "the folder mixes two models"
            )
        if isinstance(components.image_encoder, TokenImageEncoder):
            _check_tokens(components.image_encoder, components, folder)
    encoder = components.semantic_encoder
    readers = {
        "feature upsampler": components.feature_upsampler, "field of view's head": components.field_of_view,
    }  # fmt: skip
    for name, reader in readers.items():
        if reader is None or not isinstance(encoder, SemanticEncoder):
            continue
        channels = int(reader.config["channels"])
        if channels != encoder.channels:
            raise ModelError(
                f"{folder}: the {name} takes {channels} channels, the semantic encoder gives "
                f"{encoder.channels}; the folder mixes two models"
            )


def _check_tokens(encoder: TokenImageEncoder, components: ModelComponents, folder: Path) -> None:
    """Refuse an image encoder that was made for another transformer or another decoder."""
    semantic = components.semantic_encoder
    width = int(encoder.config["token_channels"])
    if not isinstance(semantic, SemanticEncoder) or semantic.channels != width:
        given = semantic.channels if isinstance(semantic, SemanticEncoder) else "other"
        raise ModelError(
            f"{folder}: the image encoder takes tokens {width} wide, the semantic encoder's are {given}; "
            "the folder mixes two models"
        )
    depth = int(semantic.network.config.num_hidden_layers)
    if max(encoder.layers) > depth:
        raise ModelError(
            f"{folder}: the image encoder takes tokens of layer {max(encoder.layers)}, the semantic encoder "
            f"has {depth}; the folder mixes two models"
        )
    levels = list(decoder_inputs(components.autoencoder.config.block_out_channels))
    if list(encoder.config["guide_channels"]) != levels:
        raise ModelError(
            f"{folder}: the image encoder guides decoder levels of {encoder.config['guide_channels']} "
            f"channels, the autoencoder has {levels}; the folder mixes two models"
        )


def _name_some(keys: list[str]) -> str:
    if not keys:
        return "none"
    shown = ", ".join(keys[:6])
    return shown if len(keys) <= 6 else f"{shown} and {len(keys) - 6} more"
