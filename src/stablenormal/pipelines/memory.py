"""Whether a call fits into memory, asked before anything is computed."""

import math
from pathlib import Path

import torch

from stablenormal.errors import ImageShapeError, SettingError, StableNormalError, argument
from stablenormal.models.autoencoder import patch_size, reduction
from stablenormal.models.building import ModelComponents

_COPIES = 11
"""How often De's finest features lie in memory at once, roughly: with the shapes of Stable Diffusion 2.1 in
float32, a photograph of 512 px took 1.5 GB beside the weights, and those features are 0.13 GB."""

_MEMINFO = Path("/proc/meminfo")


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device; None where it does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu" or not _MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    told = lines.get("MemAvailable", "").split()
    return int(told[0]) * 1024 if told else None


def needed_bytes(components: ModelComponents, size: tuple[int, int], batch_size: int) -> int:
    """What the networks need beside their weights, roughly, for photographs that they see at a size.

    Args:
        components: the model.
        size: height and width in pixels, as the networks see them.
        batch_size: photographs at once.
    """
    return batch_size * math.ceil(size[0] * size[1] * _bytes_per_pixel(components))


def require_memory(
    components: ModelComponents,
    device: torch.device,
    size: tuple[int, int],
    batch_size: int,
    asked: int,
    place: str,
) -> None:
    """Refuse what cannot fit, with what would.

    Args:
        components: the model.
        device: where it computes.
        size: height and width in pixels, as the networks see an image.
        batch_size: images at once.
        asked: pixels of the longer side that were asked for; 0: the image's own.
        place: what the message calls the image.

    Raises:
        SettingError: if no image of this shape fits at the size that was asked for.
        ImageShapeError: if this image does not fit at its own size.
    """
    free = available_bytes(device)
    needed = needed_bytes(components, size, batch_size)
    if free is None or needed <= free:
        return
    alone = needed_bytes(components, size, 1)
    gigabytes = f"about {needed / 1e9:.1f} GB on {device}, where {free / 1e9:.1f} GB are free"
    if alone <= free:
        raise SettingError(
            f"{argument('batch_size')}: {batch_size} at {size[1]} x {size[0]} px need {gigabytes}; "
            f"{free // alone} would fit"
        )
    multiple = reduction(components.autoencoder)
    fits = int(max(size) * math.sqrt(free / alone)) // multiple * multiple
    kind: type[StableNormalError] = SettingError if asked else ImageShapeError
    named = f"{argument('processing_resolution')}: {asked}" if asked else f"{place}: its own size"
    raise kind(f"{named} needs {gigabytes}; {fits} px of the longer side would fit")


def _bytes_per_pixel(components: ModelComponents) -> float:
    autoencoder = components.autoencoder
    itemsize = int(next(autoencoder.parameters()).dtype.itemsize)
    finest = int(autoencoder.config.block_out_channels[0]) / patch_size(autoencoder) ** 2
    return _COPIES * finest * itemsize
