"""The classes of diffusers and transformers that models are built of, imported in one place and quickly."""

from stablenormal.models.lean_imports import lean_imports

with lean_imports():
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution, Encoder
    from transformers import Dinov2Config, Dinov2Model
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = [
    "ALL_ATTENTION_FUNCTIONS",
    "AutoencoderKL",
    "ControlNetModel",
    "DiagonalGaussianDistribution",
    "Dinov2Config",
    "Dinov2Model",
    "Encoder",
    "UNet2DConditionModel",
]
