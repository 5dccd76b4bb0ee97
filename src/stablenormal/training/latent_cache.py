"""Latents computed once: the frozen encoders run over the corpus before a stage trains."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.data.corpus import Corpus
from stablenormal.errors import SettingError
from stablenormal.geometry.normals import valid_mask
from stablenormal.io.array_file import create_array
from stablenormal.io.atomic import write_bytes
from stablenormal.models.autoencoder import encode, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.sampling.one_step import one_step
from stablenormal.training.augmentation import Batch, coarsened, in_native_frame, load_batch

_LOG = logging.getLogger(__name__)
_BATCH = 16

Extra = Literal["semantic", "normals", "start", "coarse"]


@dataclass(frozen=True)
class LatentBatch:
    """One batch for the two denoisers.

    Attributes:
        encoded: the photographs, as `ModelComponents.encode_image` gives them.
        x0: En(N), (B, c, h, w).
        weight: share of valid pixels in each latent cell, (B, 1, h, w).
        semantic: semantic features (B, C, g, g), at the latent's size where a learned upsampler aligns them,
            or None where the cache holds none.
        normals: the model's native normals (B, 3, H, W) at the pixels, zero where invalid, or None.
        start: YOSO's own clean prediction (B, c, h, w), or None.
        coarse: En of the normals with less detail (B, c, h, w), or None.
    """

    encoded: EncodedImage
    x0: Tensor
    weight: Tensor
    semantic: Tensor | None = None
    normals: Tensor | None = None
    start: Tensor | None = None
    coarse: Tensor | None = None


class LatentCache:
    """Latents of `variants` augmented versions of every sample, as float16 memory maps in a folder.

    Args:
        folder: written by `build_latent_cache`.
    """

    def __init__(self, folder: Path) -> None:
        arrays: dict[str, NDArray[np.float16]] = {
            path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))
        }
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays["x0"])

    def batch(self, index: NDArray[np.int64], device: torch.device | None = None) -> LatentBatch:
        """Read the entries of `index` (B,) as float32 tensors."""
        read = {
            name: torch.from_numpy(np.asarray(array[index], np.float32)).to(device or "cpu")
            for name, array in self._arrays.items()
        }
        latent = read.pop("image_latent")
        return LatentBatch(EncodedImage(latent, latent), **read)


def build_latent_cache(
    folder: Path,
    corpus: Corpus,
    components: ModelComponents,
    size: int,
    variants: int,
    wanted: int,
    seed: int,
    extras: Sequence[Extra] = (),
    augmentation: tuple[float, float, float] = (0.6, 0.0, 0.0),
    bf16: bool = True,
) -> LatentCache:
    """Encode the corpus at one size, or open the folder if that was done already of the same things.

    Args:
        folder: where the arrays go; complete once it holds `cache.json`.
        corpus: the samples.
        components: their autoencoder (and semantic encoder) is run, without gradients.
        size: side of the training images in pixels.
        variants: augmented versions of each sample.
        wanted: how many entries will be read at all; of a larger corpus an even choice is encoded.
        seed: decides the augmentation.
        extras: what else to store: `semantic` features, the `normals` themselves, YOSO's own `start`,
            a `coarse` version.
        augmentation: smallest crop, roll in degrees and blur in pixels, as `load_batch` takes them.
        bf16: run the networks in bfloat16; entries are float16 in either case.
    """
    if components.guides_decoder:
        raise SettingError(
            "variants: photographs of this model are encoded from tokens, which training goes through; give "
            "tokens, or variants: 0"
        )
    marker = folder / "cache.json"
    used = min(len(corpus), -(-wanted // variants))
    made_of = {
        "encoders": _weights_hash(components, extras),
        "corpus": _corpus_hash(corpus),
        "size": size,
        "variants": variants,
        "used": used,
        "seed": seed,
        "extras": sorted(extras),
        "augmentation": list(augmentation),
        "bf16": bf16,
    }
    if marker.exists():
        if json.loads(marker.read_text()) == made_of:
            return LatentCache(folder)
        marker.unlink()
        for path in folder.glob("*.npy"):
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    device = components.autoencoder.device
    chosen = np.linspace(0, len(corpus) - 1, used).astype(np.int64)
    count, shapes = used * variants, dict[str, tuple[int, ...]]()
    started = time.monotonic()
    arrays: dict[str, np.memmap[Any, Any]] = {}
    for variant in range(variants):
        for start in range(0, used, _BATCH):
            index = chosen[start : start + _BATCH]
            rngs = [np.random.default_rng((seed, size, variant, int(sample))) for sample in index]
            smallest_crop, roll_deg, blur_px = augmentation
            batch = load_batch(corpus, index, size, rngs, (smallest_crop, 1.0), roll_deg, blur_px)
            batch = in_native_frame(batch.to(device), components.spec)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                new = _arrays(encode_batch(components, batch, rngs, extras))
            for name, values in new.items():
                shapes.setdefault(name, (count, *values.shape[1:]))
            if not arrays:
                arrays = {
                    name: create_array(folder / f"{name}.npy", np.float16, shape)
                    for name, shape in shapes.items()
                }
            for name, values in new.items():
                place = variant * used + start
                arrays[name][place : place + len(index)] = values.cpu().numpy()
        done = (variant + 1) * used
        _LOG.info("latents %d px: %d of %d, %.0f/s", size, done, count, done / (time.monotonic() - started))
    for array in arrays.values():
        array.flush()
    write_bytes(marker, json.dumps(made_of).encode())
    return LatentCache(folder)


def _weights_hash(components: ModelComponents, extras: Sequence[Extra]) -> str:
    """Of every network that the entries go through."""
    used: list[nn.Module | None] = [components.autoencoder, components.image_encoder]
    if "semantic" in extras:
        used += [components.semantic_encoder, components.feature_upsampler]
    if "start" in extras:
        used.append(components.yoso)
    digest = hashlib.sha256(repr(components.spec).encode())
    for part in used:
        for value in part.state_dict().values() if part is not None else ():
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _corpus_hash(corpus: Corpus) -> str:
    """Of the size, the number and a few of the samples."""
    digest = hashlib.sha256(f"{corpus.size} {len(corpus)}".encode())
    for sample in np.linspace(0, len(corpus) - 1, min(4, len(corpus))).astype(np.int64):
        for values in corpus.view(sample, (slice(None), slice(None))):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def encode_batch(
    components: ModelComponents,
    batch: Batch,
    rngs: Sequence[np.random.Generator],
    extras: Sequence[Extra] = (),
    tune_image: bool = False,
    needs_x0: bool = True,
) -> LatentBatch:
    """The networks' view of images and normals in the model's frame, float32.

    Args:
        components: their encoders are run, without gradients.
        batch: what to encode.
        rngs: one for each sample, decides what is lost in coarse versions.
        extras: which optional fields to fill.
        tune_image: let gradients through the photographs' encoder.
        needs_x0: whether anyone looks at `x0`; otherwise it is zeros, and the encoding is saved.
    """
    with torch.set_grad_enabled(tune_image and torch.is_grad_enabled()):
        encoded = components.encode_image(batch.image)
    return with_truth(components, encoded, batch, rngs, extras, needs_x0)


def with_truth(
    components: ModelComponents,
    encoded: EncodedImage,
    batch: Batch,
    rngs: Sequence[np.random.Generator],
    extras: Sequence[Extra],
    needs_x0: bool,
) -> LatentBatch:
    """Encoded photographs with what their normals give; the arguments are those of `encode_batch`."""
    latent = encoded.latent.float()
    encoded = encoded._replace(latent=latent, condition=encoded.condition.float())
    with torch.no_grad():
        more = {name: _extra(name, components, batch, rngs, encoded).float() for name in extras}
        valid = valid_mask(batch.normals)[:, None].float()
        x0 = encode(components.autoencoder, batch.normals).float() if needs_x0 else torch.zeros_like(latent)
        weight = functional.avg_pool2d(valid, reduction(components.autoencoder))
    return LatentBatch(encoded, x0, weight, **more)


def _arrays(batch: LatentBatch) -> dict[str, Tensor]:
    """What a cache keeps of a batch, by name."""
    tensors = {
        "image_latent": batch.encoded.latent,
        "x0": batch.x0,
        "weight": batch.weight,
        "semantic": batch.semantic,
        "normals": batch.normals,
        "start": batch.start,
        "coarse": batch.coarse,
    }
    return {name: value for name, value in tensors.items() if value is not None}


def _extra(
    name: Extra,
    components: ModelComponents,
    batch: Batch,
    rngs: Sequence[np.random.Generator],
    encoded: EncodedImage,
) -> Tensor:
    if name == "normals":
        return batch.normals
    if name == "coarse":
        return encode(components.autoencoder, coarsened(batch.normals, rngs))
    if name == "semantic":
        return components.semantic_features(batch.image, encoded)
    spec = components.spec
    if spec.start == "noise":
        raise SettingError("own_start_fraction: needs a one-step network without noise (`train angular`)")

    def denoise(x: Tensor, timestep: int) -> Tensor:
        return components.yoso.predict(x, timestep, encoded.condition)

    return one_step(denoise, encoded.latent, torch.zeros_like(encoded.latent), spec.start, spec.turbo_t)
