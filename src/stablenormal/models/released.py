"""Join the two released repositories, YOSO and refiner, into one model."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from stablenormal.errors import ModelError, SettingError, argument
from stablenormal.models.building import ModelComponents
from stablenormal.models.condition_encoder import ConditionEncoder
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.library import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from stablenormal.models.loading import (
    CONFIG_FILE,
    INDEX_FILE,
    TRANSFORMERS_WEIGHTS,
    check_fit,
    fill_from,
    load_diffusers,
    load_dinov2,
    read_weights,
    weights_file,
)
from stablenormal.models.remote_code import RemoteInjector, RemoteNetwork, load_remote
from stablenormal.models.spec import ModelSpec, read_json
from stablenormal.models.text import PROMPT, encode_prompt, text_constant

Generation = Literal["before-v1.5", "v1.5"]
GENERATIONS: tuple[Generation, ...] = ("before-v1.5", "v1.5")
INJECTOR_FOLDER = "dino_controlnet"
SEMANTIC_FOLDER = "prior"
_VERSION = re.compile(r"v(\d+)[-.](\d+)")


@dataclass(frozen=True)
class ReleasedFolders:
    """Local folders of the released repositories."""

    yoso: Path
    """YOSO: `unet` and `controlnet`."""
    refiner: Path
    """The refiner: `unet`, `controlnet`, `dino_controlnet`, and usually the base's parts."""
    base: Path | None = None
    """Where `vae`, `text_encoder` and `tokenizer` are, if the other two lack them."""
    semantic: Path | None = None
    """A transformers DINOv2 folder, where the refiner brings no `prior` of its own."""


def released_spec(name: str, generation: Generation, processing_resolution: int) -> ModelSpec:
    """How released weights must be run.

    Args:
        name: what to call the joined model.
        generation: before v1.5, YOSO starts from noise at t+; from v1.5 on, from the image latent at t = 0.
        processing_resolution: pixels of the longer side.

    Raises:
        SettingError: if the generation does not exist.
    """
    if generation not in GENERATIONS:
        raise SettingError(
            f"generation: {generation!r} does not exist; choose one of {', '.join(GENERATIONS)}"
        )
    late = generation == "v1.5"
    return ModelSpec(
        name=name,
        start="image_latent" if late else "noise",
        text="zeros" if late else "prompt",
        refinement="fixed_level" if late else "hold_then_descend",
        steps=2 if late else 10,
        native_frame="dsine",
        processing_resolution=processing_resolution,
        injection="every_stage",
    )


def detect_generation(yoso_name: str, yoso: Path) -> Generation:
    """Tell from YOSO's version, in its id, its folder's name or its index, how it must be started.

    Raises:
        ModelError: if no version is written there.
    """
    index = read_json(yoso / INDEX_FILE) if (yoso / INDEX_FILE).is_file() else {}
    for text in (yoso_name, str(index.get("_name_or_path", "")), yoso.name):
        if found := _VERSION.search(text.rsplit("/", 1)[-1]):
            return "v1.5" if (int(found[1]), int(found[2])) >= (1, 5) else "before-v1.5"
    raise ModelError(
        f"{yoso_name}: its name has no version such as v0-3; give "
        f"{argument('generation')} before-v1.5 or v1.5"
    )


def join_released(
    folders: ReleasedFolders,
    spec: ModelSpec,
    dtype: torch.dtype = torch.float16,
    variant: str | None = "fp16",
    trust_remote_code: bool = False,
) -> ModelComponents:
    """Build one model out of the released folders; every weight is loaded strictly.

    Args:
        folders: where they are.
        spec: from `released_spec`.
        dtype: of the joined weights.
        variant: prefer files of this variant where they exist.
        trust_remote_code: run the Python files of the refiner's semantic branch.

    Raises:
        ModelError: if a part is missing or damaged, keys do not fit, or remote code is not allowed.
    """
    complete = [folder for folder in (folders.refiner, folders.yoso, folders.base) if folder is not None]
    prompts = encode_prompts(complete, variant, ("", PROMPT) if spec.text == "prompt" else (PROMPT,))
    yoso_unet = load_diffusers(folders.yoso / "unet", UNet2DConditionModel, dtype, variant)
    zeros = text_constant("zeros", 0, int(yoso_unet.config.cross_attention_dim))
    components = ModelComponents(
        spec=spec,
        autoencoder=load_diffusers(_find("vae", complete), AutoencoderKL, dtype, variant),
        semantic_encoder=_semantic_encoder(folders, spec, dtype, variant, trust_remote_code),
        yoso=GuidedDenoiser(
            unet=yoso_unet,
            condition_encoder=_condition_encoder(folders.yoso, dtype, variant),
            text=prompts[0] if spec.text == "prompt" else zeros,
        ),
        refiner=GuidedDenoiser(
            unet=load_diffusers(folders.refiner / "unet", UNet2DConditionModel, dtype, variant),
            condition_encoder=_condition_encoder(folders.refiner, dtype, variant),
            text=prompts[-1],
            injector=RemoteInjector(
                _remote(folders.refiner, INJECTOR_FOLDER, dtype, variant, trust_remote_code), prompts[-1]
            ),
        ),
    )
    check_fit(components, folders.refiner)
    return components


def _condition_encoder(folder: Path, dtype: torch.dtype, variant: str | None) -> ConditionEncoder:
    network = load_diffusers(folder / "controlnet", ControlNetModel, dtype, variant)
    return ConditionEncoder(network, zero_convolutions=False)


def _semantic_encoder(
    folders: ReleasedFolders,
    spec: ModelSpec,
    dtype: torch.dtype,
    variant: str | None,
    trust_remote_code: bool,
) -> nn.Module:
    if not needs_semantic(folders.refiner):
        return _remote(folders.refiner, SEMANTIC_FOLDER, dtype, variant, trust_remote_code)
    if folders.semantic is None:
        raise ModelError(
            f"{folders.refiner}: brings no semantic encoder ({SEMANTIC_FOLDER}); give {argument('semantic')}"
        )
    return load_dinov2(folders.semantic, spec.semantic_input_size, dtype)


def needs_semantic(refiner: Path) -> bool:
    """Whether a refiner's folder lacks a semantic encoder of its own."""
    return _remote_entry(refiner, SEMANTIC_FOLDER) is None


def _remote(
    repository: Path, component: str, dtype: torch.dtype, variant: str | None, trust_remote_code: bool
) -> RemoteNetwork:
    entry = _remote_entry(repository, component)
    if entry is None:
        raise ModelError(
            f"{repository / INDEX_FILE}: names no code for {component}; "
            f"expected an entry such as '{component}': ['file', 'Class']"
        )
    module, name = entry
    places = [folder / f"{module}.py" for folder in (repository / component, repository)]
    code = next((place for place in places if place.is_file()), places[0])
    return load_remote(repository / component, code, name, dtype, trust_remote_code, variant)


def _remote_entry(repository: Path, component: str) -> tuple[str, str] | None:
    """The Python file and class that an index names for a component, as diffusers' custom components do."""
    if not (repository / INDEX_FILE).is_file():
        return None
    entry = read_json(repository / INDEX_FILE).get(component)
    if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(part, str) for part in entry):
        return None
    return None if entry[0] in ("diffusers", "transformers") else (Path(entry[0]).name, entry[1])


def encode_prompts(folders: Iterable[Path], variant: str | None, prompts: Iterable[str]) -> list[Tensor]:
    """The text conditions (1, tokens, width), from whichever folder has the text encoder.

    Raises:
        ModelError: if none has it, or it is damaged.
    """
    folders = list(folders)
    tokenizer = CLIPTokenizer.from_pretrained(str(_find("tokenizer", folders, "tokenizer_config.json")))
    text_encoder = _text_encoder(_find("text_encoder", folders), variant)
    return [encode_prompt(text_encoder, tokenizer, prompt) for prompt in prompts]


def _text_encoder(folder: Path, variant: str | None) -> CLIPTextModel:
    """Load CLIP's text tower in float32, whichever names the file's keys have."""
    config = read_json(folder / CONFIG_FILE)
    text_encoder = CLIPTextModel(CLIPTextConfig(**config)).eval()
    path = weights_file(folder / TRANSFORMERS_WEIGHTS, variant)
    weights = {key.removeprefix("text_model."): value for key, value in read_weights(path).items()}
    weights.pop("embeddings.position_ids", None)  # a constant that older files stored
    fill_from(text_encoder, weights, path)
    return text_encoder


def _find(component: str, folders: Iterable[Path], file: str = CONFIG_FILE) -> Path:
    folders = list(folders)
    for folder in folders:
        if (folder / component / file).is_file():
            return folder / component
    places = ", ".join(str(folder) for folder in folders)
    raise ModelError(f"{component}: in none of {places}; give a {argument('base')} that has it")
