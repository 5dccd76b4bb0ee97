"""Runs a frozen transformer over shards, and draws training batches from what it gave."""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stablenormal.data.corpus import View
from stablenormal.data.sample import Sample
from stablenormal.data.shards import list_shards, read_shard
from stablenormal.data.token_corpus import (
    NORMAL_SCALE,
    RECIPE_NAME,
    TokenCorpus,
    finished_groups,
    group_path,
    is_token_folder,
    read_recipe,
)
from stablenormal.data.transforms import square
from stablenormal.errors import DataError, SettingError
from stablenormal.io.array_file import create_array
from stablenormal.io.atomic import write_bytes
from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import EncodedImage, places
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.models.token_image_encoder import REDUCTION, TokenImageEncoder
from stablenormal.training.augmentation import load_batch

_LOG = logging.getLogger(__name__)
_BATCH = 8
_STORED = torch.float8_e4m3fn
"""Of tokens: one byte, with no bound that outliers of unit variance would meet; 3 % off at most."""


@dataclass(frozen=True)
class TokenBatch:
    """Windows of images, with the transformer's tokens of them.

    Attributes:
        pixels: (B, 5, W, W): colours in [-1, 1], and each pixel's place in the whole image.
        tokens: of each layer (B, C, g, g), g = W / patch size.
        normals: (B, 3, W, W), OpenGL, zero where invalid.
    """

    pixels: Tensor
    tokens: tuple[Tensor, ...]
    normals: Tensor


def window_step(patch_size: int) -> int:
    """Pixels by which windows can move: whole patches and whole latent cells."""
    return math.lcm(patch_size, REDUCTION)


def check_windows(size: int, window: int, patch_size: int) -> None:
    """Refuse images and windows that cannot be cut along patches and latent cells.

    Raises:
        SettingError: naming what can.
    """
    step = window_step(patch_size)
    if size % step or window % step or not 0 <= window <= size:
        raise SettingError(
            f"images of {size} px and windows of {window}: both must be multiples of {step}, and the window "
            "no larger than the image"
        )


def token_batch(
    corpus: TokenCorpus,
    index: NDArray[np.int64],
    window: int,
    rngs: Sequence[np.random.Generator],
    device: torch.device,
) -> TokenBatch:
    """Random windows of entries.

    Args:
        corpus: the entries.
        index: (B,) which of them.
        window: side in pixels; 0 takes whole images.
        rngs: one for each entry: the place of its window, and the brightness of its pixels.
        device: of the result.
    """
    side, step = window or corpus.size, window_step(corpus.patch_size)
    free = (corpus.size - side) // step + 1
    where = places(torch.zeros(1, 1, corpus.size, corpus.size))[0]
    pixels, tokens, normals = [], [], []
    for entry, rng in zip(index, rngs, strict=True):
        top, left = (int(draw) * step for draw in rng.integers(0, free, 2))
        view = corpus.token_view(entry, top, left, side)
        image = torch.from_numpy(view.image.astype(np.float32)).permute(2, 0, 1) / 255
        image = image ** rng.uniform(0.8, 1.25)  # not quite the brightness that the transformer saw
        pixels.append(torch.cat([image * 2 - 1, where[:, top : top + side, left : left + side]]))
        normals.append(torch.from_numpy(view.normals.astype(np.float32)).permute(2, 0, 1))
        tokens.append(torch.from_numpy(view.tokens.copy()))
    layers = torch.stack(tokens).view(_STORED).to(device).float().permute(1, 0, 4, 2, 3)  # (L, B, C, g, g)
    vectors = functional.normalize(torch.stack(normals).to(device), dim=1)
    return TokenBatch(torch.stack(pixels).to(device), tuple(layers), vectors)


def encoded_windows(components: ModelComponents, batch: TokenBatch) -> EncodedImage:
    """What the networks take of the windows, with gradients of the image encoder where they are on."""
    encoder, transformer = token_parts(components)
    encoded = encoder.encode(batch.pixels, batch.tokens)
    if encoder.layers[-1] != int(transformer.network.config.num_hidden_layers):
        return encoded
    # The last layer's tokens have zero mean and unit variance already: the final norm's scale is left.
    norm = transformer.network.layernorm
    scale, shift = (value.detach()[:, None, None] for value in (norm.weight, norm.bias))
    return encoded._replace(semantic=batch.tokens[-1] * scale + shift)


def token_parts(components: ModelComponents) -> tuple[TokenImageEncoder, SemanticEncoder]:
    """The two parts of a model that tokens go through.

    Raises:
        SettingError: if its photographs are encoded in another way.
    """
    encoder, transformer = components.image_encoder, components.semantic_encoder
    if not isinstance(encoder, TokenImageEncoder) or not isinstance(transformer, SemanticEncoder):
        raise SettingError("tokens: the model encodes photographs without them; give a packed corpus as data")
    return encoder, transformer


def check_tokens(components: ModelComponents, corpus: TokenCorpus, window: int) -> None:
    """Refuse tokens of another transformer or other layers than a model has.

    Raises:
        SettingError: saying which.
    """
    encoder, transformer = token_parts(components)
    if corpus.layers != encoder.layers:
        raise SettingError(
            f"tokens: of layers {list(corpus.layers)}, the model takes {list(encoder.layers)}; "
            "make them again with it"
        )
    if corpus.recipe["transformer"] != transformer.weight_hash():
        raise SettingError("tokens: made by another transformer than the model's; make them again with it")
    check_windows(corpus.size, window, corpus.patch_size)


def write_tokens(
    shards: Path,
    folder: Path,
    components: ModelComponents,
    *,
    size: int,
    smallest_crop: float = 0.6,
    roll_deg: float = 0.0,
    blur_px: float = 0.0,
    seed: int = 0,
    bf16: bool = True,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Augment each sample of every finished shard once, and run the model's transformer over it.

    Shards that are done already are skipped, so that it can follow a renderer that still writes.

    Args:
        shards: folder of shards.
        folder: where the entries go, a group for each shard.
        components: the model, whose image encoder says which layers it takes.
        size: side of the square images in pixels that the transformer sees.
        smallest_crop: crops show between this share and all of the image's side.
        roll_deg: standard deviation of a roll of the whole image.
        blur_px: largest standard deviation of a blur, which one image in five gets.
        seed: of the augmentation.
        bf16: run the transformer in bfloat16.
        progress: called after each shard, new or done before.

    Returns:
        How many entries the folder holds.

    Raises:
        SettingError: if the size does not fit the model.
        DataError: if there are no shards, or the folder holds tokens made in another way.
        OutputError: if the disk has no space for them.
    """
    encoder, transformer = token_parts(components)
    check_windows(size, 0, transformer.patch_size)
    recipe = {
        "transformer": transformer.weight_hash(),
        "layers": list(encoder.layers),
        "patch_size": transformer.patch_size,
        "channels": transformer.channels,
        "size": size,
        "augmentation": [smallest_crop, roll_deg, blur_px],
        "bf16": bf16,
    }
    paths = list_shards(shards)
    folder.mkdir(parents=True, exist_ok=True)
    _keep_recipe(folder, recipe)
    done = set(finished_groups(folder))
    for number, path in enumerate(paths):
        if path.stem in done:
            progress()
            continue
        samples = _ShardCorpus([square(sample, sample.image.shape[0]) for sample in read_shard(path)])
        arrays = _arrays(folder, path.stem, len(samples), recipe)
        started = time.monotonic()
        for first in range(0, len(samples), _BATCH):
            index = np.arange(first, min(len(samples), first + _BATCH))
            rngs = [np.random.default_rng((seed, size, number, int(one))) for one in index]
            batch = load_batch(samples, index, size, rngs, (smallest_crop, 1.0), roll_deg, blur_px)
            image = batch.image.to(transformer.mean.device)
            with torch.no_grad(), torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
                layers, _ = transformer.layers(image, encoder.layers, side=size)
            tokens = torch.stack([layer.float() for layer in layers], dim=1).permute(0, 1, 3, 4, 2)
            arrays["images"][index] = ((batch.image + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            arrays["normals"][index] = (batch.normals * NORMAL_SCALE).round().permute(0, 2, 3, 1).numpy()
            arrays["tokens"][index] = tokens.to(_STORED).view(torch.uint8).cpu().numpy()
        for array in arrays.values():
            array.flush()
        write_bytes(folder / f"{path.stem}.done", b"")
        progress()
        _LOG.info("%s: %.1f images a second", path, len(samples) / (time.monotonic() - started))
    return len(TokenCorpus([folder]))


class _ShardCorpus:
    """The samples of one shard, as a corpus."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        if len({sample.image.shape for sample in samples}) != 1:
            raise DataError("a shard's samples must be squares of one size; render or pack it again")
        self._samples = samples

    @property
    def size(self) -> int:
        return int(self._samples[0].image.shape[0])

    def __len__(self) -> int:
        return len(self._samples)

    def view(self, sample: int | np.int64, window: tuple[slice, slice]) -> View:
        one = self._samples[int(sample)]
        return one.image[window], one.normals[window], one.labels[window]


def _keep_recipe(folder: Path, recipe: dict[str, Any]) -> None:
    if not is_token_folder(folder):
        if any(folder.iterdir()):
            raise DataError(f"{folder}: holds something else than tokens; choose an empty or new folder")
        write_bytes(folder / RECIPE_NAME, (json.dumps(recipe, sort_keys=True) + "\n").encode())
        return
    found = read_recipe(folder)
    differences = [name for name in recipe if found.get(name) != recipe[name]]
    if differences:
        raise DataError(
            f"{folder}: holds tokens made in another way ({', '.join(differences)}); choose another folder"
        )


def _arrays(folder: Path, group: str, count: int, recipe: dict[str, Any]) -> dict[str, Any]:
    size, grid = recipe["size"], recipe["size"] // recipe["patch_size"]
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "images": (np.uint8, (count, size, size, 3)),
        "normals": (np.int8, (count, size, size, 3)),
        "tokens": (np.uint8, (count, len(recipe["layers"]), grid, grid, recipe["channels"])),
    }
    return {
        name: create_array(group_path(folder, group, name), kind, shape)
        for name, (kind, shape) in shapes.items()
    }
