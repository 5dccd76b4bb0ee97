import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer, Dinov2Config, Dinov2Model

from stablenormal.errors import ModelError
from stablenormal.models.architecture import TOY
from stablenormal.models.loading import load_components, save_components
from stablenormal.models.spec import ModelSpec
from stablenormal.models.stable_diffusion import StableDiffusionBase, from_stable_diffusion
from stablenormal.models.text import PROMPT, encode_prompt
from stablenormal.pipelines import StableNormal

SPEC = ModelSpec(name="toy", processing_resolution=32, semantic_input_size=28, steps=2)


@pytest.fixture(params=["sd1", "sd2"])
def base(request, tmp_path, write_stable_diffusion):
    return write_stable_diffusion(tmp_path / request.param, request.param)


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
def test_another_architecture_is_one_clear_line(tmp_path, write_stable_diffusion, damage, message):
    folder = write_stable_diffusion(tmp_path / "base", "sd2")
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        make(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
