"""The semantic encoder: patch features of a vision transformer of the DINOv2 architecture."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.models.library import Dinov2Model

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# DINOv2's attention, as stored on the hub and as transformers 5 calls it in memory.
STORED_NAMES = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def to_stored_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a `Dinov2Model`'s weights the names that they have on the hub."""
    return _rename(weights, {ours: stored for stored, ours in STORED_NAMES.items()})


def from_stored_names(weights: Mapping[str, Tensor], network: Dinov2Model) -> dict[str, Tensor]:
    """Give weights from a file the names of this transformers version's `Dinov2Model`."""
    in_memory = network.state_dict()
    known = any(".attention.q_proj." in key for key in in_memory)
    return _rename(weights, STORED_NAMES) if known else dict(weights)


def _rename(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in weights.items():
        for old, new in names.items():
            key = key.replace(f".{old}.", f".{new}.")
        renamed[key] = value
    return renamed


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

    @property
    def patch_size(self) -> int:
        """Pixels of the side of a patch."""
        return int(self.network.config.patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """Encode an image (B, 3, H, W) in [-1, 1] to features (B, C, g, g), g = input size / patch size.

        The image is resized to a square, bicubic with antialias and aligned corners, as released.
        """
        return self.features(image, self.input_size)

    def features(self, image: Tensor, size: int) -> Tensor:
        """As `forward`, with the image resized to another square than the encoder's own."""
        side = size // self.patch_size
        tokens = self.tokens(image, size)[:, 1:]
        return tokens.transpose(1, 2).reshape(len(image), -1, side, side)  # (B, C, g, g)

    def tokens(self, image: Tensor, size: int, masked: Tensor | None = None) -> Tensor:
        """The class token and the patches' tokens (B, 1 + g * g, C) of an image resized to `size`.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            size: side of the square that the network sees; the patch size divides it.
            masked: (B, g * g) bool, patches in whose place the network sees its mask token.
        """
        resized = functional.interpolate(
            image.float(), size=(size, size), mode="bicubic", align_corners=True, antialias=True
        ).to(image.dtype)
        tokens: Tensor = self.network(
            pixel_values=self._pixels(resized), bool_masked_pos=masked
        ).last_hidden_state
        return tokens  # (B, 1 + g * g, C), normed

    def grid(self, height: int, width: int, side: int | None = None) -> tuple[int, int]:
        """Rows and columns of patches for an image in its own shape, `side` pixels along the longer one.

        `side` is the encoder's `input_size` where it is not given.
        """
        scale = (side or self.input_size) / max(height, width) / self.patch_size
        return max(1, round(height * scale)), max(1, round(width * scale))

    def layers(
        self, image: Tensor, numbers: Sequence[int], side: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Features of several layers in one pass, of an image in its own shape.

        The image is resized bilinearly, with antialias, to whole patches: its sides change by half a patch
        at most against each other.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            numbers: of the layers, from 1; each layer's tokens are brought to zero mean and unit variance.
            side: pixels of the longer side that the network sees; by default the encoder's `input_size`.

        Returns:
            The features (B, C, g, k) of those layers, and those of the last one after the final norm.
        """
        rows, columns = self.grid(image.shape[2], image.shape[3], side)
        size = (rows * self.patch_size, columns * self.patch_size)
        resized = functional.interpolate(image.float(), size=size, mode="bilinear", antialias=True)
        output = self.network(pixel_values=self._pixels(resized.to(image.dtype)), output_hidden_states=True)

        def as_map(tokens: Tensor) -> Tensor:
            return tokens[:, 1:].transpose(1, 2).reshape(len(image), -1, rows, columns)

        chosen = [output.hidden_states[number] for number in numbers]
        normed = [as_map(functional.layer_norm(tokens, tokens.shape[-1:])) for tokens in chosen]
        return normed, as_map(output.last_hidden_state)

    def tune(self, blocks: int) -> None:
        """Let the last `blocks` layers take gradients; with all of them, the patches' embedding too.

        The final norm stays, as `layers` gives the last layer's features without it too.
        """
        layers = list(self.network.encoder.layer)
        for layer in layers[max(0, len(layers) - blocks) :]:
            layer.requires_grad_(True)
        if blocks >= len(layers):
            for name, parameter in self.network.embeddings.named_parameters():
                parameter.requires_grad_(name != "mask_token")  # which stands for patches that are hidden

    def weight_hash(self) -> str:
        """SHA-256 of the network's weights."""
        digest = hashlib.sha256()
        for value in self.network.state_dict().values():
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _pixels(self, image: Tensor) -> Tensor:
        return (image / 2 + 0.5 - self.mean) / self.std
