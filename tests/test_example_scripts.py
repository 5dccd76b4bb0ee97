"""The scripts in `examples/` run, on real classes at toy size, and the Dockerfile copies what there is."""

import json
import re
import runpy
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stablenormal import StableNormal, read_normal_map

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.open(ROOT / "src/stablenormal/samples/figurine.jpg").resize((70, 52)).save(path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, script: str, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [script, *words])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_every_example_is_tested() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == ["as_a_pipeline.py", "controlnet.py"]


def test_as_a_pipeline(
    photograph: Path, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "normals"
    run(monkeypatch, "as_a_pipeline.py", str(photograph), str(out), "--model", str(toy_model))
    pipe = StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")
    expected = pipe(Image.open(photograph))
    assert np.array_equal(np.asarray(Image.open(out / "full.png")), np.asarray(expected.to_pil()))
    assert read_normal_map(out / "turbo.exr").valid.shape == (52, 70)
    half = read_normal_map(out / "turbo_half.png")
    assert half.valid.shape == (26, 35) and half.stored_frame == "directx"
    assert read_normal_map(out / "ensemble.npy").valid.all()
    assert re.search(r"members are \d+\.\d degrees from their mean", capsys.readouterr().out)


@pytest.fixture
def toy_stable_diffusion(tmp_path: Path) -> tuple[Path, Path]:
    """Stable Diffusion 1.5 and a ControlNet, of random weights and a few channels."""
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionControlNetPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{one}</w>" for one in "abcdefghijklmnopqrstuvwxyz")]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        blocks = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
        unet = UNet2DConditionModel(
            **blocks, in_channels=4, out_channels=4, cross_attention_dim=16, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8))
        for parameter in controlnet.parameters():  # none of them zero: the condition must count
            torch.nn.init.normal_(parameter, std=0.2)
        vae = AutoencoderKL(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                num_attention_heads=2, max_position_embeddings=16, bos_token_id=52, eos_token_id=53,
            )
        )  # fmt: skip
    pipe = StableDiffusionControlNetPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, controlnet=controlnet,
        scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(tmp_path / "base")
    return tmp_path / "base", tmp_path / "base" / "controlnet"


@pytest.mark.filterwarnings("ignore")  # of diffusers and transformers, about their own settings
def test_controlnet(
    photograph: Path, toy_model: Path, toy_stable_diffusion: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    base, controlnet = toy_stable_diffusion
    run(
        monkeypatch, "controlnet.py", str(photograph), "a chair", str(tmp_path / "glass.png"),
        "--base", str(base), "--controlnet", str(controlnet), "--model", str(toy_model), "--steps", "2",
        "--size", "64",
    )  # fmt: skip
    condition = np.asarray(Image.open(tmp_path / "glass_condition.png"))
    picture = np.asarray(Image.open(tmp_path / "glass.png"))
    assert condition.shape == picture.shape == (48, 64, 3)
    shown = Image.open(photograph).convert("RGB")
    shown.thumbnail((64, 64))
    pipe = StableNormal.from_pretrained(toy_model, device="cpu")
    assert np.array_equal(condition, np.asarray(pipe(shown.resize((64, 48))).to_pil(frame="dsine")))


def test_the_dockerfile_copies_and_installs_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied and sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    assert tuple(map(int, python.split("."))) >= (3, 11)
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
