"""The guided denoiser: a diffusers U-Net with a condition encoder f and, in the refiner, the injector g."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stablenormal.models.compiling import Compiler
from stablenormal.models.condition_encoder import ConditionEncoder, ConditionResiduals
from stablenormal.models.library import UNet2DConditionModel
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
        words = {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
        hidden = block(hidden, taken, time, upsample_size=size, **words)
    prediction: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    return prediction


def _encode(
    encoder: ConditionEncoder, image_latent: Tensor, timestep: Tensor, text: Tensor
) -> ConditionResiduals:
    residuals: ConditionResiduals = encoder(image_latent, timestep, text)
    return residuals


class GuidedDenoiser(nn.Module):
    """A denoiser mu with its condition encoder f, its text condition and, in the refiner, the injector g.

    Args:
        unet: the denoiser.
        condition_encoder: f.
        text: the stored text condition (1, tokens, width).
        injector: g, or None where no semantics enter (YOSO).
        predicts_change: whether the network gives what is added to its noisy latent, not the latent itself.
    """

    text: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        condition_encoder: ConditionEncoder,
        text: Tensor,
        injector: nn.Module | None = None,
        predicts_change: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("text", text)
        self.unet = unet
        self.condition_encoder = condition_encoder
        self.injector = injector
        self.predicts_change = predicts_change
        self.compiler: Compiler | None = None
        """Compiles both networks, if it is set."""

    def encode_condition(self, image_latent: Tensor, timestep: int | Tensor) -> ConditionResiduals:
        """Run f on an image latent (B, c, h, w); depends on the timestep, not on the noisy latent."""
        text = self._text_like(image_latent)
        residuals: ConditionResiduals
        if self.compiler is None:
            residuals = self.condition_encoder(image_latent, timestep, text)
        else:
            step = torch.as_tensor(timestep)  # a number would be compiled into the code
            residuals = self.compiler.run(_encode, self.condition_encoder, image_latent, step, text)
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
    ) -> Tensor:
        """Run mu on a noisy latent (B, c, h, w) with residuals already computed."""
        text = self._text_like(x_t)
        if self.compiler is None:
            given = guided_forward(self.unet, x_t, timestep, text, condition, semantic_residuals)
        else:
            step = torch.as_tensor(timestep)
            given = self.compiler.run(
                guided_forward, self.unet, x_t, step, text, condition, tuple(semantic_residuals)
            )
        return x_t + given if self.predicts_change else given

    def predict(
        self,
        x_t: Tensor,
        timestep: int | Tensor,
        image_latent: Tensor,
        semantic: Tensor | None = None,
    ) -> Tensor:
        """Run everything at once, with gradients, as training does.

        Args:
            x_t: noisy latent (B, c, h, w).
            timestep: a number, or one for each sample, (B,).
            image_latent: En(I), (B, c, h, w).
            semantic: features of the semantic encoder (B, C, g, g); none leaves g out.

        Returns:
            The prediction (B, c, h, w): x_0 for the refiner, x_{t+} for YOSO.
        """
        condition = self.encode_condition(image_latent, timestep)
        residuals = self.encode_semantic(semantic, (x_t.shape[2], x_t.shape[3]))
        return self.denoise(x_t, timestep, condition, residuals)

    def _text_like(self, latent: Tensor) -> Tensor:
        return self.text.to(latent.dtype).expand(latent.shape[0], -1, -1)
