"""`convert` on folders in the released layout: strict, and conformant end to end."""

import json
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from stablenormal.errors import ModelError, SettingError
from stablenormal.models.loading import load_components
from stablenormal.pipelines import StableNormal
from stablenormal.pipelines.conversion import convert_released


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
    again = load_components(tmp_path / "again", trust_remote_code=True)
    repeated = StableNormal(again)(recording.image, seed=recording.seed)
    assert torch.equal(repeated.normals[0], output.normals[0])


def test_opens_no_socket_offline(repositories, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    convert(repositories, tmp_path / "joined")


def test_remote_code_needs_the_flag(repositories, tmp_path):
    with pytest.raises(ModelError, match=r"standin_\w+\.py: .*trust-remote-code"):
        convert(repositories, tmp_path / "joined", trust_remote_code=False)
    assert not (tmp_path / "joined").exists()
    convert(repositories, tmp_path / "joined")
    with pytest.raises(ModelError, match="trust-remote-code"):
        load_components(tmp_path / "joined")


def test_wrong_keys_are_named(repositories, tmp_path):
    path = repositories[1] / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["stranger.weight"] = weights.pop("conv_in.weight")
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"missing: conv_in\.weight; unexpected: stranger\.weight"):
        convert(repositories, tmp_path / "joined")


def test_a_missing_part_points_at_base(repositories, tmp_path):
    (repositories[1] / "vae").rename(tmp_path / "vae")
    with pytest.raises(ModelError, match=r"vae: .*--base"):
        convert(repositories, tmp_path / "joined")
    convert(repositories, tmp_path / "joined", base=str(tmp_path))


def test_unknown_generation(recording, repositories, tmp_path):
    yoso = repositories[0].rename(tmp_path / "mine")
    with pytest.raises(ModelError, match="--generation"):
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


def test_unknown_dtype(repositories, tmp_path):
    with pytest.raises(SettingError, match="float16"):
        convert(repositories, tmp_path / "joined", dtype="int8")
