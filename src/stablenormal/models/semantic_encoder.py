"""The semantic encoder: patch features of a vision transformer of the DINOv2 architecture."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Dinov2Model

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SemanticEncoder(nn.Module):
    """DINOv2 patch tokens, after the final norm, as a feature map.

    Args:
        network: a transformers `Dinov2Model`.
        input_size: side in pixels of the square image that the network sees (released: 672).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Dinov2Model, input_size: int) -> None:
        super().__init__()
        self.network = network
        self.input_size = input_size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """Channels of the features."""
        return int(self.network.config.hidden_size)

    def forward(self, image: Tensor) -> Tensor:
        """Encode an image (B, 3, H, W) in [-1, 1] to features (B, C, g, g), g = input size / patch size.

        The image is resized to a square, bicubic with antialias and aligned corners, as released.
        """
        size = (self.input_size, self.input_size)
        resized = functional.interpolate(
            image.float(), size=size, mode="bicubic", align_corners=True, antialias=True
        ).to(image.dtype)
        pixels = (resized / 2 + 0.5 - self.mean) / self.std
        tokens: Tensor = self.network(pixel_values=pixels).last_hidden_state  # (B, 1 + g * g, C), normed
        side = self.input_size // int(self.network.config.patch_size)
        return tokens[:, 1:].transpose(1, 2).reshape(len(image), -1, side, side)  # (B, C, g, g)
