"""What a call needs of memory, told from shapes, and what there is."""

from collections.abc import Sequence
from pathlib import Path

import torch

from stablenormal.errors import MemoryShortageError
from stablenormal.models.autoencoder import patch_size, reduction, slice_length
from stablenormal.models.building import ModelComponents
from stablenormal.models.unet_stages import stage_channels

_AT_ONCE = 3
"""Tensors that De's widest block holds at once: what it was given, normalised, and activated."""
_IN_A_DENOISER = 12
"""Of the size of its first features that a denoiser holds at once, beside residuals."""
_MARGIN = 1.25
"""For what is not counted: 1.0 GiB grew where 0.85 were told, of Stable Diffusion's shapes at 768 px."""
_MULTIPLE = 64
_GIB = 1 << 30


def check_memory(
    components: ModelComponents,
    shape: Sequence[int],
    timesteps: int,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Refuse a batch that cannot fit, before anything is computed.

    Args:
        components: the model, whose weights are in memory already.
        shape: of the batch as the networks see it, (B, 3, H, W).
        timesteps: distinct ones, for each of which residuals are kept.
        device: where it runs.
        dtype: what it is computed in.

    Raises:
        MemoryShortageError: with what would fit.
    """
    free = free_bytes(device)
    if free is None:
        return
    batch, _, height, width = shape

    def needed(count: int, height: int, width: int) -> float:
        return call_bytes(components, (count, 3, height, width), timesteps, dtype)

    if needed(batch, height, width) <= free:
        return
    longer, ratio = max(height, width), min(height, width) / max(height, width)
    fitting = [
        size
        for size in range(_MULTIPLE, longer, _MULTIPLE)
        if needed(1, size, max(1, round(size * ratio))) <= free
    ]
    if batch > 1 and needed(1, height, width) <= free:
        most = max(count for count in range(1, batch) if needed(count, height, width) <= free)
        advice = f"use a batch size of {most}"
    elif fitting:
        advice = f"use a resolution of {fitting[-1]}" + (" and a batch size of 1" if batch > 1 else "")
    else:
        advice = "close other programs"
    images = "an image" if batch == 1 else f"{batch} images"
    raise MemoryShortageError(
        f"{images} of {height} x {width} pixels for the networks would need "
        f"{needed(batch, height, width) / _GIB:.1f} GiB, {free / _GIB:.1f} GiB are free; {advice}"
    )


def call_bytes(
    components: ModelComponents, shape: Sequence[int], timesteps: int, dtype: torch.dtype
) -> float:
    """Memory that a call takes beside the weights: the larger of denoising and decoding, and the residuals.

    Args:
        components: the model.
        shape: of the batch as the networks see it, (B, 3, H, W).
        timesteps: distinct ones, for each of which residuals are kept.
        dtype: what it is computed in.
    """
    batch, _, height, width = shape
    autoencoder = components.autoencoder
    widths = tuple(autoencoder.config.block_out_channels)
    widest = widths[1] if len(widths) > 1 else widths[0]  # what the finest level of De is given
    cells = height * width / patch_size(autoencoder) ** 2
    decoding = _AT_ONCE * widest * cells * min(batch, slice_length(autoencoder, height, width))
    latents, area, kept = height * width / reduction(autoencoder) ** 2, 1.0, 0.0
    for channels, stride in stage_channels(components.refiner.unet):
        area /= stride**2
        kept += channels * area
    first = stage_channels(components.refiner.unet)[0][0]
    residuals = batch * latents * kept * (timesteps + 1)
    denoising = batch * latents * (kept + _IN_A_DENOISER * first)
    bytes_each = torch.empty((), dtype=dtype).element_size()
    return float(_MARGIN * bytes_each * (residuals + max(decoding, denoising)))


def free_bytes(device: torch.device) -> float | None:
    """Memory that can still be taken; None where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    found = [value for value in (_available(), _left_of_group()) if value is not None]
    return min(found) if found else None


def _available() -> float | None:
    """What Linux says it could give."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return None


def _left_of_group(group: Path = Path("/sys/fs/cgroup")) -> float | None:
    """What a container may still take; what it holds of files could be given back."""
    try:
        most = (group / "memory.max").read_text().strip()
        if most == "max":
            return None
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return float(most) - float(held["anon"])
    except (OSError, ValueError, KeyError):
        return None
