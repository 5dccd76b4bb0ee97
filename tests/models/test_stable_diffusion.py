import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, Dinov2Config, Dinov2Model

from stablenormal.errors import ModelError
from stablenormal.models.architecture import TOY
from stablenormal.models.loading import load_components, save_components
from stablenormal.models.spec import ModelSpec
from stablenormal.models.stable_diffusion import StableDiffusionBase, from_stable_diffusion
from stablenormal.models.text import PROMPT, encode_prompt
from stablenormal.pipelines import StableNormal

SPEC = ModelSpec(name="toy", processing_resolution=32, semantic_input_size=28, steps=2)
# What tells the two generations apart: width and depth of the text encoder, and how attention is built.
GENERATIONS = {
    "sd1": {"width": 768 // 64, "attention_head_dim": 2, "use_linear_projection": False},
    "sd2": {"width": 1024 // 64, "attention_head_dim": (1, 2), "use_linear_projection": True},
}


def write_base(folder, width, **unet_options):
    """A tiny random Stable Diffusion repository, written by the libraries themselves."""
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


@pytest.fixture(params=GENERATIONS)
def base(request, tmp_path):
    return write_base(tmp_path / request.param, **GENERATIONS[request.param])


def make(folder, semantic=None, spec=SPEC):
    return from_stable_diffusion(
        StableDiffusionBase(folder, semantic), TOY, spec, torch.Generator().manual_seed(0)
    )


def test_every_part_begins_as_the_bases(base):
    components = make(base)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").state_dict()
    for pair in (components.yoso, components.refiner):
        assert all(torch.equal(value, unet[key]) for key, value in pair.unet.state_dict().items())
        copied = pair.condition_encoder.network.state_dict()
        shared = [key for key in copied if key in unet]
        assert any(key.startswith("mid_block") for key in shared) and len(shared) > 40
        assert all(torch.equal(copied[key], unet[key]) for key in shared)
        assert not any(key.startswith(("up_blocks", "conv_out")) for key in copied)
    vae = AutoencoderKL.from_pretrained(base / "vae").state_dict()
    assert all(torch.equal(value, vae[key]) for key, value in components.autoencoder.state_dict().items())


def test_the_text_condition_is_the_bases_own(base):
    components = make(base)
    expected = encode_prompt(
        CLIPTextModel.from_pretrained(base / "text_encoder"),
        CLIPTokenizer.from_pretrained(base / "tokenizer"),
        PROMPT,
    )
    torch.testing.assert_close(components.yoso.text, expected)
    torch.testing.assert_close(components.refiner.text, expected)
    assert expected.std() > 0.1


def test_is_a_whole_model(base, tmp_path, generator):
    components = make(base)
    loaded = load_components(save_components(components, tmp_path / "model", torch.float32))
    image = torch.rand(3, 32, 48, generator=generator)
    before, after = (StableNormal(parts)(image).normals[0] for parts in (components, loaded))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)  # memory lies elsewhere, last bits differ


def test_semantics_come_from_a_dinov2_folder_or_are_new(base, tmp_path):
    Dinov2Model(
        Dinov2Config(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, patch_size=14, image_size=28)
    ).save_pretrained(tmp_path / "dino")
    given = make(base, tmp_path / "dino").semantic_encoder.network.state_dict()
    theirs = Dinov2Model.from_pretrained(tmp_path / "dino").state_dict()
    assert all(torch.equal(value, given[key]) for key, value in theirs.items())
    one, two = make(base), make(base)
    assert torch.equal(
        one.semantic_encoder.network.embeddings.cls_token, two.semantic_encoder.network.embeddings.cls_token
    )


def test_half_precision_is_read_where_there_is_nothing_else(base):
    whole = make(base).yoso.unet.state_dict()
    UNet2DConditionModel.from_pretrained(base / "unet").half().save_pretrained(base / "half", variant="fp16")
    shutil.rmtree(base / "unet")
    (base / "half").rename(base / "unet")
    halved = make(base).yoso.unet.state_dict()
    for key, value in whole.items():
        assert halved[key].dtype == torch.float32
        torch.testing.assert_close(halved[key], value, atol=1e-3, rtol=1e-3)


def _two_text_encoders(folder):
    (folder / "text_encoder_2").mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')


def _transformer(folder):
    (folder / "unet").rename(folder / "transformer")
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')


def _inpainting(folder):
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 9}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_two_text_encoders, "a StableDiffusionXLPipeline, of another architecture"),
        (_transformer, "a FluxPipeline without unet"),
        (_inpainting, "takes 9 channels"),
        (lambda folder: (folder / "model_index.json").unlink(), "not in the diffusers layout"),
        (lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "missing"),
    ],
)
def test_another_architecture_is_one_clear_line(tmp_path, damage, message):
    folder = write_base(tmp_path / "base", **GENERATIONS["sd2"])
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        make(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
