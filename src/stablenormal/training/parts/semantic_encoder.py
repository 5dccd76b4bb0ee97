"""What the two ways to train the semantic encoder share."""

from dataclasses import replace

from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.training.base import trainable


def prepare_encoder(components: ModelComponents, gradient_checkpointing: bool) -> ModelComponents:
    """The model with a semantic encoder that takes gradients, and keeps few features for them where asked.

    Raises:
        SettingError: if it is of another architecture than DINOv2.
    """
    encoder = trainable(trained_encoder(components))
    if gradient_checkpointing:
        network = encoder.network  # transformers renamed the method in the course of version 5
        name = "activation_checkpointing_enable"
        enable = getattr(network, name, None) or network.gradient_checkpointing_enable
        enable()
    return replace(components, semantic_encoder=encoder)


def trained_encoder(components: ModelComponents) -> SemanticEncoder:
    """The model's semantic encoder, if it is one of ours.

    Raises:
        SettingError: if it is of another architecture than DINOv2.
    """
    encoder = components.semantic_encoder
    if not isinstance(encoder, SemanticEncoder):
        raise SettingError("semantic: only a semantic encoder of the DINOv2 architecture can be trained")
    return encoder


def whole_patches(encoder: SemanticEncoder, size: int) -> int:
    """The largest multiple of the patch size that is not above `size`, at least one patch."""
    return max(1, size // encoder.patch_size) * encoder.patch_size
