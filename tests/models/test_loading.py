import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Model

from stablenormal.errors import ModelError, OutputError, SettingError
from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import build_components
from stablenormal.models.loading import (
    is_model_folder,
    load_components,
    load_dinov2,
    save_components,
    weight_hash,
)
from stablenormal.models.semantic_injector import StageInjector
from stablenormal.models.spec import ModelSpec

WEIGHTS = "diffusion_pytorch_model.safetensors"
COMPONENTS = ("vae", "yoso_unet", "yoso_controlnet", "unet", "controlnet", "semantic_injector")


@pytest.fixture
def folder(toy, tmp_path) -> Path:
    return save_components(toy, tmp_path / "model", torch.float32)


def states(components):
    return {
        f"{name}.{key}": value
        for name, part in components.parts().items()
        for key, value in part.state_dict().items()
    }


class TestRoundTrip:
    @pytest.mark.parametrize("injection", ["input", "every_stage"])
    @pytest.mark.parametrize("text", ["prompt", "zeros"])
    def test_every_weight_and_the_spec_return(self, tmp_path, injection, text):
        spec = ModelSpec(
            name="toy", injection=injection, text=text, zero_convolutions=True, semantic_input_size=28
        )
        made = build_components(TOY, spec, torch.Generator().manual_seed(3))
        loaded = load_components(save_components(made, tmp_path / "m", torch.float32))
        assert loaded.spec == spec
        assert type(loaded.refiner.injector) is type(made.refiner.injector)
        assert loaded.refiner.condition_encoder.zero_convolutions
        before, after = states(made), states(loaded)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert not any(part.training for part in loaded.parts().values())

    def test_stage_injector_keeps_its_form(self, toy, tmp_path):
        toy.refiner.injector = StageInjector(12, (4,), ((8, 1), (8, 1), (8, 2), (16, 1)), False)
        loaded = load_components(save_components(toy, tmp_path / "m", torch.float32))
        assert loaded.refiner.injector.projections is None

    @pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
    def test_stored_and_loaded_dtypes(self, toy, tmp_path, stored):
        save_components(toy, tmp_path / "m", stored)
        assert load_file(tmp_path / "m" / "unet" / WEIGHTS)["conv_in.weight"].dtype == stored
        assert next(toy.yoso.parameters()).dtype == torch.float32  # what was saved stays as it is
        for dtype in (torch.float32, torch.bfloat16):
            loaded = load_components(tmp_path / "m", dtype=dtype)
            assert {value.dtype for value in states(loaded).values()} == {dtype}

    def test_is_the_diffusers_layout(self, folder):
        from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel

        index = json.loads((folder / "model_index.json").read_text())
        kinds = {"AutoencoderKL": AutoencoderKL, "UNet2DConditionModel": UNet2DConditionModel}
        kinds["ControlNetModel"] = ControlNetModel
        for name, entry in index.items():
            if isinstance(entry, list) and entry[0] == "diffusers":
                kinds[entry[1]].from_pretrained(folder / name)

    def test_semantic_encoder_is_what_transformers_reads_and_writes(self, toy, folder, tmp_path):
        ours = toy.semantic_encoder.network.state_dict()
        theirs, report = Dinov2Model.from_pretrained(folder / "semantic_encoder", output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"]
        assert all(torch.equal(value, ours[key]) for key, value in theirs.state_dict().items())
        theirs.save_pretrained(tmp_path / "theirs")
        again = load_dinov2(tmp_path / "theirs", 28).network.state_dict()
        assert all(torch.equal(value, ours[key]) for key, value in again.items())


class TestSaving:
    def test_replaces_a_model_and_nothing_else(self, toy, folder, tmp_path):
        before = weight_hash(folder)
        with torch.no_grad():
            toy.yoso.unet.conv_in.bias += 1
        save_components(toy, folder, torch.float32)
        assert weight_hash(folder) != before
        other = tmp_path / "photographs"
        other.mkdir()
        (other / "cat.jpg").touch()
        with pytest.raises(OutputError, match="no model folder"):
            save_components(toy, other)
        assert [path.name for path in other.iterdir()] == ["cat.jpg"]

    def test_leaves_nothing_when_it_fails(self, toy, tmp_path, monkeypatch):
        def fail(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("stablenormal.models.loading.save_spec", fail)
        with pytest.raises(OutputError, match="No space left"):
            save_components(toy, tmp_path / "m")
        assert list(tmp_path.iterdir()) == []

    def test_refuses_other_dtypes(self, toy, tmp_path):
        with pytest.raises(SettingError, match="float16"):
            save_components(toy, tmp_path / "m", torch.int8)


class TestBrokenFolders:
    def check(self, folder, *words):
        with pytest.raises(ModelError) as caught:
            load_components(folder)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

    def test_no_folder(self, tmp_path):
        self.check(tmp_path / "absent", "model_index.json", "hub id")
        assert not is_model_folder(tmp_path)

    def test_released_but_not_joined(self, folder):
        (folder / "spec.json").unlink()
        self.check(folder, "stablenormal convert")

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_missing_weight(self, folder, component):
        (folder / component / WEIGHTS).unlink()
        self.check(folder, component, "missing")

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_truncated_weight(self, folder, component):
        path = folder / component / WEIGHTS
        path.write_bytes(path.read_bytes()[:1000])
        self.check(folder, component, "damaged")

    def test_empty_weight(self, folder):
        (folder / "unet" / WEIGHTS).write_bytes(b"")
        self.check(folder, "damaged")

    @pytest.mark.parametrize("component", [*COMPONENTS, "semantic_encoder", "text"])
    def test_missing_sub_folder(self, folder, component):
        (folder / component).rename(folder / "elsewhere")
        self.check(folder, component, "missing")

    def test_wrong_keys_are_named(self, folder):
        path = folder / "controlnet" / WEIGHTS
        weights = load_file(path)
        weights["stranger"] = weights.pop("conv_in.bias")
        save_file(weights, path)
        self.check(folder, "missing: conv_in.bias", "unexpected: stranger")

    def test_wrong_shapes_are_named(self, folder):
        path = folder / "yoso_unet" / WEIGHTS
        weights = load_file(path)
        weights["conv_in.bias"] = torch.zeros(3)
        save_file(weights, path)
        self.check(folder, "conv_in.bias", "(3,)", "(8,)")

    @pytest.mark.parametrize(
        ("component", "change", "word"),
        [
            ("unet", {"block_out_channels": [8, 32]}, "shape"),
            ("unet", {"down_block_types": ["NoBlock", "DownBlock2D"]}, "NoBlock"),
            ("unet", {"class_embed_type": "timestep"}, "class_embed_type"),
            ("unet", {"time_embedding_type": "fourier"}, "time_embedding_type"),
            ("semantic_encoder", {"patch_size": 13}, "divide"),
            ("semantic_injector", {"_class_name": "Other"}, "InputInjector"),
        ],
    )
    def test_wrong_architecture(self, folder, component, change, word):
        path = folder / component / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        self.check(folder, component, word)

    def test_mixed_models(self, folder, tmp_path):
        other = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(3))
        other.yoso.text = torch.zeros(1, 2, 9)
        self.check(save_components(other, tmp_path / "other"), "yoso", "width 8", "has 9")

    def test_text_condition_missing(self, folder):
        save_file({"refiner": torch.zeros(1, 2, 8)}, folder / "text" / "model.safetensors")
        self.check(folder, "yoso")


class TestWeightHash:
    def test_depends_on_names_and_bytes_alone(self, toy, folder, tmp_path):
        again = save_components(toy, tmp_path / "again", torch.float32)
        assert weight_hash(folder) == weight_hash(again)
        assert len(weight_hash(folder)) == 64
        (again / "vae" / WEIGHTS).rename(again / "vae" / "other.safetensors")
        assert weight_hash(folder) != weight_hash(again)
