"""Denoisers: a diffusers U-Net, and the way in which the image reaches it.

The method's own is `GuidedDenoiser`: a condition encoder f and (in the refiner) the injector g. The rivals'
is `ConcatenatingDenoiser`: the image latent is part of the U-Net's input.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from stablenormal.errors import SettingError
from stablenormal.models.condition_encoder import ConditionEncoder, ConditionResiduals
from stablenormal.models.unet_stages import embed_time, run_encoder


def guided_forward(
    unet: UNet2DConditionModel,
    x_t: Tensor,
    timestep: int | Tensor,
    text: Tensor,
    condition: ConditionResiduals,
    semantic: Sequence[Tensor] = (),
) -> Tensor:
    """Run a U-Net with the residuals of f on its skips and middle, and those of g inside its encoder.

    Args:
        unet: any diffusers U-Net of the Stable Diffusion family.
        x_t: noisy latent (B, c, h, w).
        timestep: a number, or one for each sample, (B,).
        text: text condition (B, tokens, width).
        condition: from `ConditionEncoder`, for the same timestep.
        semantic: from an injector: none, one (added after `conv_in`), or one per encoder stage.

    Returns:
        The prediction (B, c, h, w).
    """
    time = embed_time(unet, timestep, x_t)
    hidden, skips = run_encoder(unet, x_t, time, text, semantic)
    skips = [skip + residual for skip, residual in zip(skips, condition.skips, strict=True)]
    hidden = unet.mid_block(hidden, time, encoder_hidden_states=text) + condition.middle
    for block in unet.up_blocks:
        count = len(block.resnets)
        skips, taken = skips[:-count], tuple(skips[-count:])
        size = skips[-1].shape[2:] if skips else None  # odd sizes: upsample to the next skip exactly
        if getattr(block, "has_cross_attention", False):
            hidden = block(hidden, taken, time, encoder_hidden_states=text, upsample_size=size)
        else:
            hidden = block(hidden, taken, time, upsample_size=size)
    prediction: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    return prediction


class Denoiser(nn.Module, ABC):
    """A network that sampling and training call at any noise level, for images that it was bound to.

    Args:
        text: the stored text condition (1, tokens, width).
    """

    text: Tensor

    def __init__(self, text: Tensor) -> None:
        super().__init__()
        self.register_buffer("text", text)

    @abstractmethod
    def encode_condition(
        self, image_latent: Tensor, timestep: int | Tensor, text: Tensor | None = None
    ) -> Any:
        """What the network needs of an image latent (B, c, h, w) at a timestep; not of the noisy latent."""

    @abstractmethod
    def encode_semantic(self, semantic: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """What the network needs of semantic features (B, C, g, g) for latents of `size`."""

    @abstractmethod
    def denoise(
        self,
        x_t: Tensor,
        timestep: int | Tensor,
        condition: Any,
        semantic_residuals: Sequence[Tensor] = (),
        text: Tensor | None = None,
    ) -> Tensor:
        """Run the network on a noisy latent (B, c, h, w) with all that is already computed."""

    def predict(
        self,
        x_t: Tensor,
        timestep: int | Tensor,
        image_latent: Tensor,
        text: Tensor | None = None,
        semantic: Tensor | None = None,
    ) -> Tensor:
        """Run everything at once, with gradients, as training does.

        Args:
            x_t: noisy latent (B, c, h, w).
            timestep: a number, or one for each sample, (B,).
            image_latent: En(I), (B, c, h, w).
            text: text condition (1 or B, tokens, width); the stored one by default.
            semantic: features of the semantic encoder (B, C, g, g); none leaves g out.

        Returns:
            The prediction (B, c, h, w): x_0 for the refiner, x_{t+} for YOSO.
        """
        condition = self.encode_condition(image_latent, timestep, text)
        residuals = self.encode_semantic(semantic, (x_t.shape[2], x_t.shape[3]))
        return self.denoise(x_t, timestep, condition, residuals, text)

    def _text(self, like: Tensor, text: Tensor | None) -> Tensor:
        chosen = self.text if text is None else text
        return chosen.to(like.dtype).expand(like.shape[0], -1, -1)


class GuidedDenoiser(Denoiser):
    """A denoiser mu with its condition encoder f, its text condition and, in the refiner, the injector g.

    Args:
        unet: the denoiser.
        condition_encoder: f.
        text: the stored text condition (1, tokens, width).
        injector: g, or None where no semantics enter (YOSO).
        predicts_change: whether the network gives what is added to its noisy latent, not the latent itself.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        condition_encoder: ConditionEncoder,
        text: Tensor,
        injector: nn.Module | None = None,
        predicts_change: bool = False,
    ) -> None:
        super().__init__(text)
        self.unet = unet
        self.condition_encoder = condition_encoder
        self.injector = injector
        self.predicts_change = predicts_change

    def encode_condition(
        self, image_latent: Tensor, timestep: int | Tensor, text: Tensor | None = None
    ) -> ConditionResiduals:
        """Run f on an image latent (B, c, h, w); depends on the timestep, not on the noisy latent."""
        residuals: ConditionResiduals = self.condition_encoder(
            image_latent, timestep, self._text(image_latent, text)
        )
        return residuals

    def encode_semantic(self, semantic: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Run g on semantic features (B, C, g, g) for latents of `size`; depends on the image alone."""
        if self.injector is None or semantic is None:
            return ()
        residuals: tuple[Tensor, ...] = self.injector(semantic, size)
        return residuals

    def denoise(
        self,
        x_t: Tensor,
        timestep: int | Tensor,
        condition: ConditionResiduals,
        semantic_residuals: Sequence[Tensor] = (),
        text: Tensor | None = None,
    ) -> Tensor:
        """Run mu on a noisy latent (B, c, h, w) with residuals already computed."""
        given = guided_forward(self.unet, x_t, timestep, self._text(x_t, text), condition, semantic_residuals)
        return x_t + given if self.predicts_change else given


class ConcatenatingDenoiser(Denoiser):
    """A U-Net that sees the image latent in its first convolution: beside the noisy one, or alone.

    Beside it is Marigold's way (arXiv 2312.02145), alone a feed-forward network's. Which of the two it is,
    the U-Net's input channels say: twice the latent's, or as many.

    Args:
        unet: the network.
        text: the stored text condition (1, tokens, width).

    Raises:
        SettingError: if the U-Net's input channels are neither.
    """

    def __init__(self, unet: UNet2DConditionModel, text: Tensor) -> None:
        super().__init__(text)
        ratio, rest = divmod(int(unet.config.in_channels), int(unet.config.out_channels))
        if rest or ratio not in (1, 2):
            raise SettingError(
                f"U-Net of {unet.config.in_channels} input channels: expected {unet.config.out_channels} "
                "(the image latent alone) or twice as many (noisy latent beside it)"
            )
        self.unet = unet
        self.sees_noisy_latent = ratio == 2

    def encode_condition(
        self, image_latent: Tensor, timestep: int | Tensor, text: Tensor | None = None
    ) -> Tensor:
        """The image latent itself."""
        return image_latent

    def encode_semantic(self, semantic: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Nothing: no semantics enter."""
        return ()

    def denoise(
        self,
        x_t: Tensor,
        timestep: int | Tensor,
        condition: Tensor,
        semantic_residuals: Sequence[Tensor] = (),
        text: Tensor | None = None,
    ) -> Tensor:
        """Run the U-Net on the image latent `condition` (B, c, h, w), with or without `x_t` (B, c, h, w)."""
        sample = torch.cat([condition, x_t], dim=1) if self.sees_noisy_latent else condition
        prediction: Tensor = self.unet(
            sample, timestep, encoder_hidden_states=self._text(condition, text), return_dict=False
        )[0]
        return prediction
