"""What a denoiser and its condition encoder share, on diffusers' blocks: time embedding and encoder half."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stablenormal.errors import ImageShapeError


def embed_time(network: Any, timestep: int | Tensor, like: Tensor) -> Tensor:
    """Embed a timestep (a number, or (B,)) for the batch and dtype of `like`; returns (B, channels)."""
    steps = torch.as_tensor(timestep, device=like.device).expand(like.shape[0])
    embedding: Tensor = network.time_embedding(network.time_proj(steps).to(like.dtype))
    return embedding


def stage_channels(network: Any) -> tuple[tuple[int, int], ...]:
    """Channels and stride (against the previous stage) of each stage of a diffusers encoder, in order."""
    stages = [(int(network.conv_in.out_channels), 1)]
    for block in network.down_blocks:
        stages += [(int(resnet.out_channels), 1) for resnet in block.resnets]
        stages += [(int(downsampler.out_channels), 2) for downsampler in block.downsamplers or ()]
    return tuple(stages)


def run_encoder(
    network: Any, sample: Tensor, time: Tensor, text: Tensor, injected: Sequence[Tensor] = ()
) -> tuple[Tensor, list[Tensor]]:
    """Run the encoder half; its stages are `conv_in`, each resnet(+attention) and each downsampler.

    Args:
        network: a diffusers `UNet2DConditionModel` or `ControlNetModel`.
        sample: the input of `conv_in`, (B, c, h, w).
        time: from `embed_time`, (B, channels).
        text: text condition (B, tokens, width).
        injected: residuals added to the first stages, one each; empty, one (input only), or one per stage.

    Returns:
        The last features, and one skip feature per stage.

    Raises:
        ImageShapeError: if there are more residuals than stages.
    """
    residuals = iter(injected)
    hidden = _add_next(network.conv_in(sample), residuals)
    skips = [hidden]
    for block in network.down_blocks:
        attentions: Sequence[nn.Module | None] = getattr(block, "attentions", [None] * len(block.resnets))
        saves_memory = torch.is_grad_enabled() and getattr(block, "gradient_checkpointing", False)
        for resnet, attention in zip(block.resnets, attentions, strict=True):
            if saves_memory:
                hidden = checkpoint(_layer, resnet, attention, hidden, time, text, use_reentrant=False)
            else:
                hidden = _layer(resnet, attention, hidden, time, text)
            hidden = _add_next(hidden, residuals)
            skips.append(hidden)
        for downsampler in block.downsamplers or ():
            hidden = _add_next(downsampler(hidden), residuals)
            skips.append(hidden)
    if next(residuals, None) is not None:
        raise ImageShapeError(f"got {len(injected)} semantic residuals for {len(skips)} encoder stages")
    return hidden, skips


def _layer(resnet: Any, attention: Any, hidden: Tensor, time: Tensor, text: Tensor) -> Tensor:
    """One resnet, and its attention where it has one."""
    hidden = resnet(hidden, time)
    if attention is not None:
        hidden = attention(hidden, encoder_hidden_states=text, return_dict=False)[0]
    return hidden


def _add_next(hidden: Tensor, residuals: Iterator[Tensor]) -> Tensor:
    residual = next(residuals, None)
    return hidden if residual is None else hidden + residual
