"""`convert` on folders in the released layout: strict, and conformant end to end."""

import json
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

from stablenormal.cli.main import main
from stablenormal.errors import ModelError, SettingError
from stablenormal.models.loading import load_components, weight_hash
from stablenormal.pipelines import StableNormal
from stablenormal.pipelines.conversion import convert_released

one_recording = pytest.mark.parametrize("recording", ["released_rule"], indirect=True)


def convert(repositories, output, **options):
    yoso, refiner = repositories
    options = {"trust_remote_code": True, "offline": True, "dtype": "float32", **options}
    return convert_released(str(yoso), str(refiner), output, **options)


def test_converted_model_reproduces_the_recording(recording, repositories, tmp_path):
    spec = convert(repositories, tmp_path / "joined", processing_resolution=64)
    late = recording.late
    assert spec.start == ("image_latent" if late else "noise")
    assert spec.refinement == ("fixed_level" if late else "hold_then_descend")
    assert (spec.steps, spec.text) == ((2, "zeros") if late else (10, "prompt"))
    assert (spec.native_frame, spec.injection, spec.t_plus) == ("dsine", "every_stage", 401)
    pipeline = StableNormal.from_pretrained(
        tmp_path / "joined", device="cpu", dtype="float32", trust_remote_code=True
    )
    output = pipeline(recording.image, seed=recording.seed)
    assert (output.normals[0] - recording.refined).abs().max() < 5e-4
    torch.testing.assert_close(pipeline.components.refiner.text, recording.prompts["prompt_embeds"])
    if not late:
        torch.testing.assert_close(pipeline.components.yoso.text, recording.prompts["prompt_embeds_yoso"])
    else:
        assert pipeline.components.yoso.text.shape == (1, 257, 1024)
        assert not pipeline.components.yoso.text.any()

    pipeline.save_pretrained(tmp_path / "again", torch.float32)
    again = StableNormal.from_pretrained(
        tmp_path / "again", device="cpu", dtype="float32", trust_remote_code=True
    )
    assert torch.equal(again(recording.image, seed=recording.seed).normals[0], output.normals[0])


@one_recording
def test_opens_no_socket_offline(repositories, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    convert(repositories, tmp_path / "joined")


@one_recording
def test_remote_code_needs_the_flag(repositories, tmp_path):
    with pytest.raises(ModelError, match=r"standin_\w+\.py: .*trust_remote_code"):
        convert(repositories, tmp_path / "joined", trust_remote_code=False)
    assert not (tmp_path / "joined").exists()
    convert(repositories, tmp_path / "joined")
    with pytest.raises(ModelError, match="trust_remote_code"):
        load_components(tmp_path / "joined")


@one_recording
def test_wrong_keys_are_named(repositories, tmp_path):
    path = repositories[1] / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["stranger.weight"] = weights.pop("conv_in.weight")
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"missing: conv_in\.weight; unexpected: stranger\.weight"):
        convert(repositories, tmp_path / "joined")


@one_recording
def test_a_missing_part_points_at_base(repositories, tmp_path):
    (repositories[1] / "vae").rename(tmp_path / "vae")
    with pytest.raises(ModelError, match=r"vae: .*`base`"):
        convert(repositories, tmp_path / "joined")
    convert(repositories, tmp_path / "joined", base=str(tmp_path))


def test_unknown_generation(recording, repositories, tmp_path):
    yoso = repositories[0].rename(tmp_path / "mine")
    with pytest.raises(ModelError, match="`generation`"):
        convert((yoso, repositories[1]), tmp_path / "joined")
    with pytest.raises(SettingError, match=r"before-v1\.5"):
        convert((yoso, repositories[1]), tmp_path / "joined", generation="v9")
    generation = "v1.5" if recording.late else "before-v1.5"
    spec = convert((yoso, repositories[1]), tmp_path / "joined", generation=generation)
    assert spec.start == ("image_latent" if recording.late else "noise")


def test_index_tells_the_generation(recording, repositories, tmp_path):
    yoso = repositories[0].rename(tmp_path / "mine")
    index = json.loads((yoso / "model_index.json").read_text())
    index["_name_or_path"] = "Stable-X/" + repositories[0].name
    (yoso / "model_index.json").write_text(json.dumps(index))
    spec = convert((yoso, repositories[1]), tmp_path / "joined")
    assert spec.start == ("image_latent" if recording.late else "noise")


@one_recording
def test_unknown_dtype(repositories, tmp_path):
    with pytest.raises(SettingError, match="float16"):
        convert(repositories, tmp_path / "joined", dtype="int8")


class TestCommand:
    """`stablenormal convert`, as it is typed."""

    def run(self, repositories, tmp_path, *words):
        yoso, refiner = map(str, repositories)
        paths = ["--yoso", yoso, "--refiner", refiner, "-o", str(tmp_path / "joined")]
        with pytest.raises(SystemExit) as ended:
            main(["convert", *paths, *words])
        return ended.value.code

    def test_options_arrive(self, recording, repositories, tmp_path, capsys):
        (repositories[1] / "vae").rename(tmp_path / "vae")
        repositories = (repositories[0].rename(tmp_path / "mine"), repositories[1])
        generation = "v1.5" if recording.late else "before-v1.5"
        words = ["--base", str(tmp_path), "--generation", generation, "--resolution", "64"]
        words += ["--dtype", "bfloat16", "--trust-remote-code", "--offline"]
        assert self.run(repositories, tmp_path, *words) == 0
        assert "start" in capsys.readouterr().err
        joined = load_components(tmp_path / "joined", trust_remote_code=True)
        assert joined.spec.processing_resolution == 64
        assert joined.spec.start == ("image_latent" if recording.late else "noise")
        weights = load_file(tmp_path / "joined" / "unet" / "diffusion_pytorch_model.safetensors")
        assert weights["conv_in.weight"].dtype == torch.bfloat16

    @one_recording
    def test_variant_chooses_among_files(self, repositories, tmp_path):
        for repository in repositories:
            for file in list(repository.rglob("*.fp16.safetensors")):
                file.rename(file.with_name(file.name.replace(".fp16.", ".")))
        plain = repositories[0] / "controlnet" / "diffusion_pytorch_model.safetensors"
        weights = load_file(plain)
        weights["conv_in.bias"] = torch.full_like(weights["conv_in.bias"], 7)
        save_file(weights, plain.with_suffix(".mine.safetensors"))
        for variant, chosen in (("mine", True), ("fp16", False), ("", False)):
            assert self.run(repositories, tmp_path, "--variant", variant, "--trust-remote-code") == 0
            joined = load_components(tmp_path / "joined", trust_remote_code=True)
            assert bool((joined.yoso.condition_encoder.network.conv_in.bias == 7).all()) == chosen

    @one_recording
    def test_semantic_encoder_from_elsewhere(self, recording, repositories, tmp_path):
        """Where the refiner brings no prior, a DINOv2 folder takes its place."""
        index = json.loads((repositories[1] / "model_index.json").read_text())
        del index["prior"]
        (repositories[1] / "model_index.json").write_text(json.dumps(index))
        config = Dinov2Config(hidden_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28)
        Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
        words = ["--semantic", str(tmp_path / "dinov2"), "--trust-remote-code"]
        assert self.run(repositories, tmp_path, *words) == 0
        joined = load_components(tmp_path / "joined", trust_remote_code=True)
        assert joined.semantic_encoder.channels == 48
        assert joined.semantic_encoder.input_size == 672

    @one_recording
    def test_failures_are_one_line(self, repositories, tmp_path, capsys):
        assert self.run(repositories, tmp_path) == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert len(lines) == 1
        assert "--trust-remote-code" in lines[0]


@one_recording
def test_old_names_of_stable_diffusions_autoencoder(repositories, tmp_path):
    folder = repositories[1] / "vae"
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        for key in [key for key in weights if f".attentions.0.{new}." in key]:
            weights[key.replace(new, name)] = weights.pop(key)
    assert any("proj_attn" in key for key in weights)
    convert(repositories, tmp_path / "usual")
    save_file(weights, path)
    convert(repositories, tmp_path / "old")
    assert weight_hash(tmp_path / "usual") == weight_hash(tmp_path / "old")
