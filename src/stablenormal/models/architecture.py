"""Every number of every model size, in one place."""

from dataclasses import dataclass, replace

from stablenormal.models.spec import ModelSpec


@dataclass(frozen=True)
class AutoencoderShape:
    """Shape of the autoencoder; each block but the last halves height and width."""

    latent_channels: int
    """Channels of the latent."""
    patch: int
    """Blocks of patch x patch pixels enter and leave as channels: 1 is Stable Diffusion's way, 4 skips the
    two costliest levels."""
    block_out_channels: tuple[int, ...]
    """Channels of each level, finest first."""
    layers_per_block: int
    """Residual blocks of each encoder level; the decoder has one more."""
    mid_attention: bool
    """Whether the middle block attends over all latent pixels."""
    norm_groups: int
    """Groups of each group normalisation."""
    scaling_factor: float
    """What the encoder's output is multiplied with, so that latents have about unit variance."""


@dataclass(frozen=True)
class DenoiserShape:
    """Shape of a denoiser and of its condition encoder."""

    block_out_channels: tuple[int, ...]
    """Channels of each level, finest first; each level but the last halves height and width."""
    cross_attention: tuple[bool, ...]
    """Which levels attend, to themselves and to the text condition."""
    attention_heads: tuple[int, ...]
    """Heads of each level's attention."""
    layers_per_block: int
    """Residual blocks of each encoder level; the decoder has one more."""
    cross_attention_dim: int
    """Width of the text condition."""
    norm_groups: int
    """Groups of each group normalisation."""
    text_tokens: int
    """Length of the stored text condition."""
    rgb_embedding_channels: tuple[int, ...]
    """The RGB embedding of diffusers' ControlNet; it never runs, so small sizes keep one channel."""


@dataclass(frozen=True)
class SemanticShape:
    """Shape of the semantic encoder, a vision transformer of the DINOv2 architecture."""

    width: int
    """Channels of each token."""
    depth: int
    """Transformer layers."""
    heads: int
    """Attention heads of each layer."""
    patch_size: int
    """Pixels of the side of a patch."""
    position_size: int
    """Pixels of the image side for which positions are stored; other sizes interpolate them."""


@dataclass(frozen=True)
class ImageEncoderShape:
    """Shape of an encoder of photographs on the semantic encoder's tokens; see `TokenImageEncoder`."""

    layers: tuple[int, ...]
    """Numbers of the semantic encoder's layers whose tokens it takes, from 1."""
    token_width: int
    """Channels of the blocks on the tokens' grid."""
    stem_channels: tuple[int, int, int]
    """Channels of the convolutional stem at 1/2, 1/4 and 1/8."""
    condition_channels: int
    """Channels of what the condition encoders f eat."""
    norm_groups: int
    """Groups of each group normalisation."""


@dataclass(frozen=True)
class Architecture:
    """All shapes of a model."""

    autoencoder: AutoencoderShape
    """Image and normal map to latents and back."""
    yoso: DenoiserShape
    """The one-step start."""
    refiner: DenoiserShape
    """The refinement."""
    semantic: SemanticShape
    """The semantic encoder."""
    injector_channels: tuple[int, ...] = (16, 32, 64, 128)
    """Channels of the semantic injector's convolutions (the paper's four)."""
    image_encoder: ImageEncoderShape | None = None
    """The encoder of photographs; with none, they share the autoencoder's En."""

    @property
    def condition_channels(self) -> int:
        """Channels of what the condition encoders f eat: the latent's, or those of the image encoder."""
        if self.image_encoder is None:
            return self.autoencoder.latent_channels
        return self.image_encoder.condition_channels


_SMALL_DENOISER = DenoiserShape(
    block_out_channels=(64, 96, 160),
    cross_attention=(False, False, True),
    attention_heads=(2, 3, 5),
    layers_per_block=1,
    cross_attention_dim=64,
    norm_groups=16,
    text_tokens=2,
    rgb_embedding_channels=(1,),
)

SMALL = Architecture(
    autoencoder=AutoencoderShape(
        latent_channels=16,
        patch=2,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        mid_attention=False,
        norm_groups=8,
        scaling_factor=1.0,
    ),
    yoso=_SMALL_DENOISER,
    refiner=_SMALL_DENOISER,
    semantic=SemanticShape(width=384, depth=12, heads=6, patch_size=14, position_size=518),
    image_encoder=ImageEncoderShape(
        layers=(3, 6, 9, 12),
        token_width=160,
        stem_channels=(24, 48, 96),
        condition_channels=128,
        norm_groups=8,
    ),
)
"""DINOv2 ViT-S/14 with a few million parameters around it."""

_SD21_DENOISER = DenoiserShape(
    block_out_channels=(320, 640, 1280, 1280),
    cross_attention=(True, True, True, False),
    attention_heads=(5, 10, 20, 20),
    layers_per_block=2,
    cross_attention_dim=1024,
    norm_groups=32,
    text_tokens=77,
    rgb_embedding_channels=(16, 32, 96, 256),
)

SD21 = Architecture(
    autoencoder=AutoencoderShape(
        latent_channels=4,
        patch=1,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        mid_attention=True,
        norm_groups=32,
        scaling_factor=0.18215,
    ),
    yoso=_SD21_DENOISER,
    refiner=_SD21_DENOISER,
    semantic=SemanticShape(width=1024, depth=24, heads=16, patch_size=14, position_size=518),
)

_TOY_DENOISER = DenoiserShape(
    block_out_channels=(8, 16),
    cross_attention=(True, False),
    attention_heads=(1, 2),
    layers_per_block=1,
    cross_attention_dim=8,
    norm_groups=4,
    text_tokens=2,
    rgb_embedding_channels=(1,),
)

TOY = Architecture(
    autoencoder=AutoencoderShape(
        latent_channels=4,
        patch=1,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        mid_attention=False,
        norm_groups=4,
        scaling_factor=0.5,
    ),
    yoso=_TOY_DENOISER,
    refiner=_TOY_DENOISER,
    semantic=SemanticShape(width=12, depth=1, heads=2, patch_size=14, position_size=28),
    injector_channels=(4, 4, 8, 8),
)
"""Every part of the real thing in a few thousand parameters, for tests."""

TOY_WITH_TOKENS = replace(
    TOY,
    autoencoder=replace(TOY.autoencoder, patch=2, block_out_channels=(4, 4, 8)),
    semantic=replace(TOY.semantic, depth=2),
    image_encoder=ImageEncoderShape(
        layers=(1, 2), token_width=8, stem_channels=(4, 4, 8), condition_channels=8, norm_groups=2
    ),
)
"""The same, with an encoder of photographs on the semantic encoder's tokens, as `small` has."""

SMALL_SPEC = ModelSpec(
    name="small",
    start="image_latent",
    native_frame="opengl",
    processing_resolution=448,
    t_plus=101,
    steps=1,
    predicts_change=True,
    mirror_ensemble=True,
)

SD21_SPEC = ModelSpec(name="sd21", start="noise", native_frame="dsine", processing_resolution=768)

TOY_SPEC = ModelSpec(name="toy", processing_resolution=32, semantic_input_size=28)
