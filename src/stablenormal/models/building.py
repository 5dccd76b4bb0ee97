"""Build models of any `Architecture` from scratch: `small`, `sd21` and the tests' `toy` alike."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from stablenormal.errors import SettingError
from stablenormal.models.architecture import (
    Architecture,
    AutoencoderShape,
    DenoiserShape,
    ImageEncoderShape,
    SemanticShape,
)
from stablenormal.models.attention import use_fast_attention, use_fast_transformer
from stablenormal.models.autoencoder import encode, patch_size
from stablenormal.models.condition_encoder import ConditionEncoder
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.feature_upsampler import FeatureUpsampler
from stablenormal.models.field_of_view import FieldOfViewHead, seen_features
from stablenormal.models.image_encoder import EncodedImage, ImageEncoder
from stablenormal.models.library import (
    AutoencoderKL,
    ControlNetModel,
    Dinov2Config,
    Dinov2Model,
    UNet2DConditionModel,
)
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.models.semantic_injector import InputInjector, StageInjector
from stablenormal.models.spec import ModelSpec, TextCondition
from stablenormal.models.text import text_constant
from stablenormal.models.token_image_encoder import TokenImageEncoder
from stablenormal.models.unet_stages import stage_channels

_IMAGE_ENCODER_GROUPS = 8
"""Of each normalisation of a fresh image encoder, where its channels divide."""


@dataclass
class ModelComponents:
    """The parts of a model, complete and ready to run."""

    spec: ModelSpec
    """How the weights must be run."""
    autoencoder: AutoencoderKL
    """En and De."""
    yoso: GuidedDenoiser
    """The one-step start: mu_theta and f_phi."""
    refiner: GuidedDenoiser
    """The refinement: mu_zeta, f_chi and g_psi."""
    semantic_encoder: nn.Module
    """Features of the image: [-1, 1] (B, 3, H, W) to (B, C, g, g)."""
    feature_upsampler: FeatureUpsampler | None = None
    """Brings those features to the latent's size where the spec's alignment says so."""
    image_encoder: ImageEncoder | TokenImageEncoder | None = None
    """Encodes photographs; En does where there is none."""
    field_of_view: FieldOfViewHead | None = None
    """Estimates the camera's field of view; not every model can."""

    def parts(self) -> dict[str, nn.Module]:
        """The trained parts by name."""
        parts: dict[str, nn.Module] = {
            "autoencoder": self.autoencoder,
            "yoso": self.yoso,
            "refiner": self.refiner,
            "semantic_encoder": self.semantic_encoder,
        }
        if self.feature_upsampler is not None:
            parts["feature_upsampler"] = self.feature_upsampler
        if self.image_encoder is not None:
            parts["image_encoder"] = self.image_encoder
        if self.field_of_view is not None:
            parts["field_of_view"] = self.field_of_view
        return parts

    @property
    def guides_decoder(self) -> bool:
        """Whether photographs guide De."""
        return isinstance(self.image_encoder, TokenImageEncoder)

    @property
    def condition_channels(self) -> int:
        """Channels of what the condition encoders f eat."""
        if isinstance(self.image_encoder, TokenImageEncoder):
            return int(self.image_encoder.config["condition_channels"])
        return int(self.autoencoder.config.latent_channels)

    def encode_image(self, image: Tensor) -> EncodedImage:
        """What the networks take of photographs (B, 3, H, W) in [-1, 1].

        Raises:
            ImageShapeError: if there are no three channels, or sides that do not divide.
        """
        if isinstance(self.image_encoder, TokenImageEncoder):
            side = max(image.shape[2:])
            transformer = cast(SemanticEncoder, self.semantic_encoder)
            layers, semantic = transformer.layers(image, self.image_encoder.layers, side)
            encoded: EncodedImage = self.image_encoder(image, layers)
            return encoded._replace(semantic=semantic)
        encoder = self.image_encoder
        latent = encode(self.autoencoder, image) if encoder is None else encoder(image)
        return EncodedImage(latent, latent)

    def focal_length(self, image: Tensor) -> Tensor:
        """Focal lengths (B,) over the longer side, estimated of whole photographs (B, 3, H, W) in [-1, 1].

        Raises:
            SettingError: if the model has no such part.
        """
        if self.field_of_view is None or not isinstance(self.semantic_encoder, SemanticEncoder):
            raise SettingError(f"model {self.spec.name!r} cannot estimate the field of view; give it")
        logarithms: Tensor = self.field_of_view(seen_features(self.semantic_encoder, image))
        return logarithms.exp()

    def semantic_features(self, image: Tensor, encoded: EncodedImage) -> Tensor:
        """Features of an image (B, 3, H, W) in [-1, 1], as the refiner takes them.

        Args:
            image: what the semantic encoder sees.
            encoded: the same image from `encode_image`; where its features came with it, they are these. The
                upsampler's features are brought to the latent's size, others stay (B, C, g, k), as the
                injector aligns them.
        """
        features: Tensor = self.semantic_encoder(image) if encoded.semantic is None else encoded.semantic
        if self.spec.alignment == "bilinear" or self.feature_upsampler is None:
            return features
        upsampled = self.feature_upsampler(features, image)
        size = encoded.latent.shape[2:]
        return functional.interpolate(upsampled.float(), size=size, mode="bilinear", antialias=True).to(
            features.dtype
        )

    def arrange_encoders(self, memory_format: torch.memory_format) -> None:
        """Lay the weights of the autoencoder and the image encoder out in memory."""
        for part in (self.autoencoder, self.image_encoder):
            if part is not None:
                part.to(memory_format=memory_format)  # type: ignore[call-overload]

    def use_fast_attention(self) -> None:
        """Let every network attend as fast as the machine can; see `models.attention`."""
        networks = [pair.unet for pair in (self.yoso, self.refiner)]
        networks += [pair.condition_encoder.network for pair in (self.yoso, self.refiner)]
        for network in (self.autoencoder, *networks):
            use_fast_attention(network)
        if isinstance(self.semantic_encoder, SemanticEncoder):
            use_fast_transformer(self.semantic_encoder.network)

    def to(self, device: torch.device, dtype: torch.dtype) -> "ModelComponents":
        """The same components, moved; modules move in place, as in torch."""
        for part in self.parts().values():
            nn.Module.to(part, device=device, dtype=dtype)  # diffusers' own `to` logs an empty warning
        return self


def build_components(
    architecture: Architecture, spec: ModelSpec, generator: Generator | None = None
) -> ModelComponents:
    """Build a model with fresh weights.

    Args:
        architecture: all shapes.
        spec: how the model will be run; decides on zero convolutions and the injector's form.
        generator: the source of every initial weight; the global random state stays untouched.

    Returns:
        Components in float32, training mode, on the current default device.
    """
    with _seeded(generator):
        channels = (architecture.autoencoder.latent_channels, architecture.condition_channels)
        return ModelComponents(
            spec=spec,
            autoencoder=build_autoencoder(architecture.autoencoder),
            image_encoder=_build_token_image_encoder(architecture),
            semantic_encoder=build_semantic_encoder(architecture.semantic, spec.semantic_input_size),
            yoso=_build_pair(architecture.yoso, channels, spec, spec.text, injector=None),
            refiner=_build_pair(
                architecture.refiner,
                channels,
                spec,
                "prompt",
                injector=(architecture.semantic.width, architecture.injector_channels),
            ),
        )


def build_autoencoder(shape: AutoencoderShape) -> AutoencoderKL:
    """Build an autoencoder with fresh weights from the global random state."""
    levels = len(shape.block_out_channels)
    return AutoencoderKL(
        in_channels=3 * shape.patch**2,
        out_channels=3 * shape.patch**2,
        latent_channels=shape.latent_channels,
        block_out_channels=shape.block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=shape.layers_per_block,
        mid_block_add_attention=shape.mid_attention,
        norm_num_groups=shape.norm_groups,
        scaling_factor=shape.scaling_factor,
    )


def build_unet(shape: DenoiserShape, latent_channels: int) -> UNet2DConditionModel:
    """Build a denoiser with fresh weights from the global random state."""
    return UNet2DConditionModel(
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=_block_types(shape, "Down"),
        up_block_types=_block_types(shape, "Up")[::-1],
        block_out_channels=shape.block_out_channels,
        layers_per_block=shape.layers_per_block,
        cross_attention_dim=shape.cross_attention_dim,
        attention_head_dim=shape.attention_heads,  # diffusers calls the number of heads so
        norm_num_groups=shape.norm_groups,
        use_linear_projection=True,
    )


def build_condition_encoder(
    shape: DenoiserShape, in_channels: int, zero_convolutions: bool
) -> ConditionEncoder:
    """Build a condition encoder f with fresh weights from the global random state."""
    network = ControlNetModel(
        in_channels=in_channels,
        down_block_types=_block_types(shape, "Down"),
        block_out_channels=shape.block_out_channels,
        layers_per_block=shape.layers_per_block,
        cross_attention_dim=shape.cross_attention_dim,
        attention_head_dim=shape.attention_heads,
        norm_num_groups=shape.norm_groups,
        use_linear_projection=True,
        conditioning_embedding_out_channels=shape.rgb_embedding_channels,
    )
    return ConditionEncoder(network, zero_convolutions)


def build_image_encoder(
    autoencoder: AutoencoderKL,
    block_out_channels: tuple[int, ...],
    layers_per_block: int,
    generator: Generator | None = None,
) -> ImageEncoder:
    """Build an encoder of photographs with fresh weights, of En's patch, latent channels and reduction.

    Networks trained on En's latents of photographs cannot go on from it.

    Args:
        autoencoder: En and De.
        block_out_channels: channels of each level, finest first, as many levels as En has.
        layers_per_block: residual blocks of each level.
        generator: the source of every initial weight; the global random state stays untouched.

    Raises:
        SettingError: if there are not as many levels as En has.
    """
    config = autoencoder.config
    levels = len(config.block_out_channels)
    if len(block_out_channels) != levels:
        raise SettingError(
            f"an image encoder for this autoencoder needs channels of {levels} levels, got "
            f"{list(block_out_channels)}"
        )
    with _seeded(generator):
        return ImageEncoder(
            latent_channels=int(config.latent_channels),
            patch=patch_size(autoencoder),
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            norm_num_groups=gcd(_IMAGE_ENCODER_GROUPS, *block_out_channels),
            mid_block_add_attention=bool(config.mid_block_add_attention),
        )


def decoder_inputs(block_out_channels: Sequence[int]) -> tuple[int, ...]:
    """Channels of what enters each of a decoder's levels, finest first: those of the next coarser level."""
    return (*block_out_channels[1:], block_out_channels[-1])


def build_token_image_encoder(
    shape: ImageEncoderShape, autoencoder: AutoencoderShape, token_channels: int
) -> TokenImageEncoder:
    """Build an encoder of photographs on tokens, with fresh weights from the global random state.

    Args:
        shape: its own shape.
        autoencoder: whose latents it gives and whose decoder it guides.
        token_channels: width of the semantic encoder.
    """
    return TokenImageEncoder(
        latent_channels=autoencoder.latent_channels,
        condition_channels=shape.condition_channels,
        token_channels=token_channels,
        layers=shape.layers,
        token_width=shape.token_width,
        stem_channels=shape.stem_channels,
        guide_channels=decoder_inputs(autoencoder.block_out_channels),
        norm_num_groups=shape.norm_groups,
    )


def _build_token_image_encoder(architecture: Architecture) -> TokenImageEncoder | None:
    if architecture.image_encoder is None:
        return None
    return build_token_image_encoder(
        architecture.image_encoder, architecture.autoencoder, architecture.semantic.width
    )


def build_semantic_encoder(shape: SemanticShape, input_size: int) -> SemanticEncoder:
    """Build a semantic encoder with fresh weights from the global random state."""
    config = Dinov2Config(
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        patch_size=shape.patch_size,
        image_size=shape.position_size,
    )
    return SemanticEncoder(Dinov2Model(config), input_size)


@contextmanager
def _seeded(generator: Generator | None) -> Iterator[None]:
    """The global random state, seeded from a generator, and as it was afterwards."""
    seed = int(torch.randint(2**31, (), generator=generator, device="cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _build_pair(
    shape: DenoiserShape,
    channels: tuple[int, int],
    spec: ModelSpec,
    text: TextCondition,
    injector: tuple[int, tuple[int, ...]] | None,
) -> GuidedDenoiser:
    latent_channels, condition_channels = channels
    unet = build_unet(shape, latent_channels)
    return GuidedDenoiser(
        unet=unet,
        condition_encoder=build_condition_encoder(shape, condition_channels, spec.zero_convolutions),
        text=_text(shape, text),
        injector=None if injector is None else build_injector(unet, spec, *injector),
        predicts_change=spec.predicts_change,
    )


def _text(shape: DenoiserShape, text: TextCondition) -> Tensor:
    return text_constant(text, shape.text_tokens, shape.cross_attention_dim)


def build_injector(
    unet: UNet2DConditionModel, spec: ModelSpec, semantic_channels: int, hidden_channels: tuple[int, ...]
) -> nn.Module:
    """Build the injector g that the spec names, with fresh weights from the global random state."""
    stages = stage_channels(unet)
    if spec.injection == "input":
        return InputInjector(semantic_channels, hidden_channels, stages[0][0])
    return StageInjector(semantic_channels, hidden_channels, stages, zero_projections=True)


def _block_types(shape: DenoiserShape, half: str) -> tuple[str, ...]:
    return tuple(
        f"CrossAttn{half}Block2D" if attends else f"{half}Block2D" for attends in shape.cross_attention
    )
