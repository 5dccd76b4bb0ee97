"""What tests of several rooms share."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model folder with random weights: every real class at toy size."""
    from stablenormal.models.architecture import TOY, TOY_SPEC
    from stablenormal.models.building import build_components
    from stablenormal.models.loading import save_components

    folder = tmp_path_factory.mktemp("models") / "toy"
    components = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(7))
    save_components(components, folder, torch.float32)
    return folder


def _lit_sphere(index: int, size: int) -> Any:
    """A lit sphere on nothing, somewhere else in each sample."""
    import numpy as np

    from stablenormal.data.sample import Sample
    from stablenormal.geometry.camera import Intrinsics

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
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed corpus of a dozen samples, 64 px."""
    from stablenormal.data.packed import pack_corpus

    folder = tmp_path_factory.mktemp("corpus")
    pack_corpus((_lit_sphere(i, 64) for i in range(12)), folder, 12)
    return folder


# What tells the two generations apart: the text encoder's width and how attention is built.
_GENERATIONS: dict[str, dict[str, Any]] = {
    "sd1": {"width": 768 // 64, "attention_head_dim": 2, "use_linear_projection": False},
    "sd2": {"width": 1024 // 64, "attention_head_dim": (1, 2), "use_linear_projection": True},
}


def _write_stable_diffusion(folder: Path, width: int, **unet_options: Any) -> Path:
    """A tiny random Stable Diffusion repository, written by the libraries themselves."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=width,
        norm_num_groups=4,
        **unet_options,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    text = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=40,
        max_position_embeddings=8,
        bos_token_id=38,
        eos_token_id=39,
    )
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    letters = [*"abcdefghijklmnopqr", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrst")]
    vocabulary = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=8).save_pretrained(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


@pytest.fixture
def write_stable_diffusion() -> Callable[[Path, str], Path]:
    """Writes a tiny Stable Diffusion repository of a generation, "sd1" or "sd2", into a folder."""
    return lambda folder, generation: _write_stable_diffusion(folder, **_GENERATIONS[generation])


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """The script that writes tiny training sets, which knows the answers."""
    script = Path(__file__).parent / "data/readers/write_fixtures.py"
    spec = importlib.util.spec_from_file_location("reader_fixtures", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sets(scenes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every training set, by the reader's name; read only."""
    root = tmp_path_factory.mktemp("sets")
    scenes.write_fixtures(root)
    return root


@pytest.fixture
def generator() -> torch.Generator:
    """Random numbers of a test: the same in every run."""
    return torch.Generator().manual_seed(1)
