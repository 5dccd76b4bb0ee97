"""How photographs are encoded for the networks: by En, or by an image encoder of their own."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stablenormal.errors import ImageShapeError
from stablenormal.models.autoencoder import patch_size
from stablenormal.models.library import AutoencoderKL, Encoder


class EncodedImage(NamedTuple):
    """What the networks need of a photograph."""

    latent: Tensor
    """The image latent (B, c, H / 8, W / 8): what the one-step network may start from."""
    condition: Tensor
    """What the condition encoders f take, (B, C, H / 8, W / 8); the latent itself in the paper."""
    guides: tuple[Tensor, ...] = ()
    """What De adds to what enters its levels, finest first: (B, c, H / 2, W / 2) to (B, d, H / 8, W / 8); or
    none."""
    semantic: Tensor | None = None
    """Features of the semantic encoder (B, C, g, k), where the same pass gave them."""


class ImageEncoder(nn.Module):
    """An encoder of photographs that is used instead of En: of the same kind, tuned for normals.

    Its input is each pixel's colour and its place, from -1 to 1 along the longer side.
    En must also rebuild photographs, so a small one spends its few channels on colour and texture.
    Normal maps still go through En.

    Args:
        latent_channels: channels of the image latent, as many as En gives.
        patch: blocks of patch x patch pixels enter as channels.
        block_out_channels: channels of each level, finest first; each but the last halves height and width.
        layers_per_block: residual blocks of each level.
        norm_num_groups: groups of each group normalisation.
        mid_block_add_attention: whether the middle block attends over all cells.
    """

    def __init__(
        self,
        latent_channels: int,
        patch: int,
        block_out_channels: tuple[int, ...],
        layers_per_block: int,
        norm_num_groups: int,
        mid_block_add_attention: bool,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "patch": patch,
            "block_out_channels": list(block_out_channels),
            "layers_per_block": layers_per_block,
            "norm_num_groups": norm_num_groups,
            "mid_block_add_attention": mid_block_add_attention,
        }
        self.patch = patch
        self.reduction = int(2 ** (len(block_out_channels) - 1)) * patch
        self.network = Encoder(
            in_channels=5 * patch**2,
            out_channels=latent_channels,
            down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            double_z=False,
            mid_block_add_attention=mid_block_add_attention,
        )

    @classmethod
    def from_autoencoder(cls, autoencoder: AutoencoderKL) -> "ImageEncoder":
        """An encoder that gives what En gives, so that networks trained on En's latents go on from there.

        En's last two convolutions and its scaling factor become one convolution; places have no weight yet.
        """
        config = autoencoder.config
        channels = int(config.latent_channels)
        encoder = cls(
            latent_channels=channels,
            patch=patch_size(autoencoder),
            block_out_channels=tuple(config.block_out_channels),
            layers_per_block=int(config.layers_per_block),
            norm_num_groups=int(config.norm_num_groups),
            mid_block_add_attention=bool(config.mid_block_add_attention),
        )
        state = {key: value.detach().clone() for key, value in autoencoder.encoder.state_dict().items()}
        with torch.no_grad():
            scale = float(config.scaling_factor)
            weight, bias = state["conv_out.weight"], state["conv_out.bias"]
            if autoencoder.quant_conv is None:
                weight, bias = weight[:channels], bias[:channels]
            else:
                mixing = autoencoder.quant_conv.weight[:channels, :, 0, 0]
                weight = torch.einsum("oi,ichw->ochw", mixing, weight)
                bias = mixing @ bias + autoencoder.quant_conv.bias[:channels]
            state["conv_out.weight"], state["conv_out.bias"] = weight * scale, bias * scale
            colour = state["conv_in.weight"]
            places = colour.new_zeros(colour.shape[0], 2 * encoder.patch**2, *colour.shape[2:])
            state["conv_in.weight"] = torch.cat([colour, places], dim=1)
        encoder.network.load_state_dict(state)
        return encoder

    def enable_gradient_checkpointing(self) -> None:
        """Keep the features between levels alone, and compute the others again in the backward pass."""
        self.network.gradient_checkpointing = True
        self.network._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def forward(self, image: Tensor) -> Tensor:
        """Encode photographs (B, 3, H, W) in [-1, 1] to (B, c, H / 8, W / 8).

        Raises:
            ImageShapeError: if there are no three channels, or sides that do not divide.
        """
        side = self.reduction
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % side or image.shape[3] % side:
            raise ImageShapeError(
                f"expected an image (B, 3, H, W) with sides that {side} divides, got {tuple(image.shape)}; "
                "pad it first"
            )
        pixels = torch.cat([image, places(image)], dim=1)
        latent: Tensor = self.network(functional.pixel_unshuffle(pixels, self.patch))
        return latent


def places(image: Tensor) -> Tensor:
    """Where pixel centres lie, right and down, for images (B, 3, H, W): (B, 2, H, W)."""
    height, width = image.shape[2:]
    longer = max(height, width)
    down, right = (
        ((2 * torch.arange(side, device=image.device) + 1 - side) / longer).to(image.dtype)
        for side in (height, width)
    )
    return torch.stack([right.expand(height, width), down[:, None].expand(height, width)]).expand(
        image.shape[0], -1, -1, -1
    )
