"""The recordings, and released repositories at toy size built out of them."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Recording:
    """What the released code computed."""

    rule: str
    folder: Path
    image: Tensor  # (3, H, W) in [0, 1]
    yoso_latent: Tensor
    refined_latent: Tensor
    yoso: Tensor  # (3, H, W), OpenGL
    refined: Tensor
    prompts: dict[str, Tensor]
    seed: int

    @property
    def late(self) -> bool:
        return self.rule == "released_v15_rule"


@pytest.fixture(scope="session", params=["released_rule", "released_v15_rule"])
def recording(request: pytest.FixtureRequest) -> Recording:
    folder = DATA / request.param
    arrays = dict(np.load(folder / "golden.npz"))
    to_opengl = torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    normals = {
        name: torch.from_numpy(arrays[name][0]).permute(2, 0, 1) * to_opengl for name in ("yoso", "refined")
    }
    return Recording(
        rule=request.param,
        folder=folder,
        image=torch.from_numpy(arrays["image"]).permute(2, 0, 1) / 255,
        yoso_latent=torch.from_numpy(arrays["yoso_latent"]),
        refined_latent=torch.from_numpy(arrays["refined_latent"]),
        yoso=normals["yoso"],
        refined=normals["refined"],
        prompts={key: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("prompt_embeds")},
        seed=int(arrays["seed"]),
    )


@pytest.fixture
def repositories(recording: Recording, tmp_path: Path) -> tuple[Path, Path]:
    """YOSO's and the refiner's repository, laid out as on the hub."""
    version = "v1-5" if recording.late else "v0-3"
    yoso, refiner = tmp_path / f"yoso-normal-{version}", tmp_path / "stable-normal-v0-1"
    shutil.copytree(recording.folder / "yoso", yoso)
    shutil.copytree(recording.folder / "refine", refiner)
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.copytree(recording.folder / part, refiner / part)
    for component, stand_in in (("dino_controlnet", "injector"), ("prior", "prior")):
        (refiner / component).mkdir()
        shutil.copy(DATA / "remote" / f"standin_{stand_in}.py", refiner / component)
        shutil.copy(
            recording.folder / f"{stand_in}_standin.safetensors",
            refiner / component / "diffusion_pytorch_model.safetensors",
        )
        (refiner / component / "config.json").write_text("{}")
    if recording.late:  # these files carry the variant's name, as on the hub
        for folder in (yoso / "unet", refiner / "vae", refiner / "dino_controlnet"):
            file = folder / "diffusion_pytorch_model.safetensors"
            file.rename(file.with_suffix(".fp16.safetensors"))
    diffusers = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (yoso / "model_index.json").write_text(json.dumps({"_class_name": "YOSONormalsPipeline", **diffusers}))
    index = {
        "_class_name": "StableNormalPipeline",
        **diffusers,
        "dino_controlnet": ["standin_injector", "StandinInjector"],
        "prior": ["standin_prior", "StandinPrior"],
    }
    (refiner / "model_index.json").write_text(json.dumps(index))
    return yoso, refiner
