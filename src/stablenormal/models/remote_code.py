"""Parts whose code lies beside their weights: run only when the user says that they trust it."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stablenormal.errors import ModelError, argument
from stablenormal.models.semantic_injector import align
from stablenormal.models.spec import read_json

CONFIG_FILE = "config.json"
REMOTE_FILE = "remote_code.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


class RemoteNetwork(nn.Module):
    """A network of remote code, and where that code came from.

    Args:
        network: the network itself.
        folder: the folder with its `config.json`.
        code: its Python file.
    """

    def __init__(self, network: nn.Module, folder: Path, code: Path) -> None:
        super().__init__()
        self.network = network
        self.folder = folder
        self.code = code

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the network."""
        return self.network(*args, **kwargs)


class RemoteInjector(nn.Module):
    """The released semantic branch: a control branch at t = 0 whose residuals enter every encoder stage.

    Args:
        remote: has `dino_controlnet_cond_embedding(features)`; called with the embedded and aligned features,
            the timestep and `encoder_hidden_states`, it returns the residuals in the encoder's order.
        text: text condition (1, tokens, width).
    """

    text: Tensor

    def __init__(self, remote: RemoteNetwork, text: Tensor) -> None:
        super().__init__()
        self.remote = remote
        self.register_buffer("text", text, persistent=False)

    def forward(self, semantic: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Turn features (B, C, g, g) into one residual for each encoder stage of a latent of `size`."""
        embedding: Any = self.remote.network.dino_controlnet_cond_embedding
        aligned = align(embedding(semantic), size)
        text = self.text.to(aligned.dtype).expand(len(aligned), -1, -1)
        residuals = self.remote(aligned, 0, encoder_hidden_states=text, return_dict=False)
        if isinstance(residuals[0], list | tuple):  # (stages, middle): the middle is not consumed
            residuals = residuals[0]
        return tuple(residuals)


def is_remote(folder: Path) -> bool:
    """Whether a component's folder brings its own code."""
    return (folder / REMOTE_FILE).is_file()


def remote_code_of(folder: Path) -> tuple[Path, str]:
    """The Python file of a component's folder, and the class in it to load."""
    where = read_json(folder / REMOTE_FILE)
    return folder / Path(str(where.get("file"))).name, str(where.get("class"))


def load_remote(
    folder: Path,
    code: Path,
    name: str,
    dtype: torch.dtype,
    trust_remote_code: bool,
    variant: str | None = None,
) -> RemoteNetwork:
    """Import a component's code and load its weights with its own `from_pretrained`.

    Args:
        folder: the component's folder, with its configuration and weights.
        code: the Python file.
        name: the class in it.
        dtype: what the weights become.
        trust_remote_code: whether the user allowed to run the file.
        variant: prefer weights of this variant where they exist.

    Raises:
        ModelError: if remote code was not allowed, or it fails.
    """
    if not trust_remote_code:
        raise ModelError(
            f"{code}: these weights bring Python code; read it, then allow it "
            f"({argument('trust_remote_code')})"
        )
    specification = importlib.util.spec_from_file_location(f"stablenormal_remote_{code.stem}", code)
    if specification is None or specification.loader is None or not code.is_file():
        raise ModelError(f"{code}: missing or no Python file; download or convert the model again")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
        options = {"variant": variant} if variant and any(folder.glob(f"*.{variant}.safetensors")) else {}
        network: nn.Module = getattr(module, name).from_pretrained(str(folder), **options)
    except Exception as error:  # anything can happen in foreign code
        raise ModelError(f"{code}: the remote code failed ({type(error).__name__}: {error})") from error
    nn.Module.to(network, dtype=dtype)
    return RemoteNetwork(network.eval(), folder, code)


def save_remote(remote: RemoteNetwork, folder: Path, dtype: torch.dtype) -> None:
    """Write a remote component: its code and configuration as they came, its present weights."""
    folder.mkdir()
    shutil.copyfile(remote.folder / CONFIG_FILE, folder / CONFIG_FILE)
    shutil.copyfile(remote.code, folder / remote.code.name)
    marker = {"file": remote.code.name, "class": type(remote.network).__name__}
    (folder / REMOTE_FILE).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    state = remote.network.state_dict()
    save_file(
        {key: value.detach().to("cpu", dtype).contiguous() for key, value in state.items()},
        folder / WEIGHTS_FILE,
        metadata={"format": "pt"},
    )
