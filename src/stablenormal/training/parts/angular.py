"""The one-step network, tuned through the decoder by the angle of the normals that it gives.

E2E-FT's recipe (arXiv 2409.11355) on our networks: one step at the clean timestep, from noise, from zeros or
from the image latent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents, build_image_encoder
from stablenormal.models.image_encoder import ImageEncoder
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.models.token_image_encoder import TokenImageEncoder
from stablenormal.sampling.one_step import Start, one_step
from stablenormal.training.base import frozen_copy, trainable
from stablenormal.training.fresh_weights import quieten_blocks
from stablenormal.training.latent_cache import Extra, LatentCache
from stablenormal.training.objectives import masked_mean_square
from stablenormal.training.parts.decoded_angle import DecodedAngleSettings, decoded_angle, decoding
from stablenormal.training.parts.denoiser import DenoiserTraining, trainable_denoiser
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import (
    Stage,
    refuse_below,
    refuse_negative,
    refuse_outside_unit_interval,
    refuse_unknown,
)


@dataclass(frozen=True)
class AngularSettings(DecodedAngleSettings):
    """The settings that decide the weights of the one-step network, trained through the decoder."""

    keys: ClassVar[Mapping[str, str]] = {"part": "angular"}

    start: Start = "image_latent"
    """What the network is fed: noise (zeros with probability `shrinkage`), zeros, or the image latent; the
    trained model's spec says the same."""
    shrinkage: float = 0.4
    """Probability that input noise is replaced by zeros."""
    train_decoder: bool = False
    """Tune the decoder too; the encoder and so the latents stay, but what a refiner's latents decode to
    changes with it."""
    train_image_encoder: bool = False
    """Give photographs an encoder of their own, which begins as En, and tune it too; needs stages without a
    cache (variants: 0). Normal maps keep En, so latents and decoder stay as they are."""
    image_encoder_channels: tuple[int, ...] = ()
    """With `train_image_encoder`: channels of each level of a fresh encoder, finest first, as many levels as
    En has; with none the base's goes on, or one that begins as En."""
    image_encoder_layers: int = 1
    """Residual blocks of each level of a fresh image encoder."""
    transformer_blocks: int = 0
    """With `train_image_encoder`: last blocks of the transformer that are tuned too, where its tokens encode
    photographs; as many as it has, or more, tune all of it. Needs stages with variants: 0, as stored tokens
    are those of the frozen one."""
    transformer_learning_rate: float = 5e-5
    """Peak learning rate of those blocks, by AdamW: pretrained weights bear small steps only."""
    latent_weight: float = 0.1
    """Weight of the mean square error of the latent, which keeps it where the decoder works."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside_unit_interval(self, "shrinkage")
        refuse_negative(self, "latent_weight")
        refuse_negative(self, "transformer_blocks")
        refuse_below(self, 1, "image_encoder_layers")
        refuse_unknown(self, start=Start)
        if self.train_image_encoder and not self.tokens and any(stage.variants for stage in self.stages):
            raise SettingError(
                "train_image_encoder: give every stage variants: 0, as a cache keeps old latents"
            )
        if self.transformer_blocks and (self.tokens or not self.train_image_encoder):
            raise SettingError(
                "transformer_blocks: set train_image_encoder, and give data or sources in place of tokens, "
                "which a frozen transformer made"
            )
        if self.transformer_learning_rate <= 0:
            raise SettingError(
                f"transformer_learning_rate is {self.transformer_learning_rate}; it must be positive"
            )
        channels = self.image_encoder_channels
        if any(not isinstance(count, int) or count < 1 for count in channels):
            raise SettingError(f"image_encoder_channels are {list(channels)}; give positive whole numbers")
        if channels and not self.train_image_encoder:
            raise SettingError("image_encoder_channels: set train_image_encoder too")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with a one-step network that takes gradients, as do other parts where asked."""
        autoencoder = decoding(components.autoencoder, self)
        if self.train_decoder:
            autoencoder = trainable(autoencoder)
            autoencoder.encoder.requires_grad_(False)
            autoencoder.quant_conv.requires_grad_(False)
        image_encoder = components.image_encoder
        if self.train_image_encoder:
            image_encoder = self._image_encoder(components)
            if self.gradient_checkpointing and isinstance(image_encoder, ImageEncoder):
                image_encoder.enable_gradient_checkpointing()
        return replace(
            components,
            spec=replace(components.spec, start=self.start),
            autoencoder=autoencoder,
            image_encoder=image_encoder,
            semantic_encoder=self._transformer(components),
            yoso=trainable_denoiser(components.yoso, self.gradient_checkpointing),
        )

    def extras(self) -> tuple[Extra, ...]:
        """Beside latents, the normals: what decoded ones are compared with."""
        return ("normals",)

    def _image_encoder(self, components: ModelComponents) -> ImageEncoder | TokenImageEncoder:
        """A fresh one, a copy of the base's, or one that begins as En."""
        if not self.image_encoder_channels:
            if components.image_encoder is None:
                return ImageEncoder.from_autoencoder(components.autoencoder)
            return trainable(components.image_encoder)
        encoder = build_image_encoder(
            components.autoencoder,
            self.image_encoder_channels,
            self.image_encoder_layers,
            Generator().manual_seed(self.seed),
        )
        quieten_blocks(encoder)
        return encoder

    def _transformer(self, components: ModelComponents) -> nn.Module:
        """The semantic encoder, whose last blocks take gradients where asked."""
        encoder = components.semantic_encoder
        if not self.transformer_blocks:
            return encoder
        if not isinstance(encoder, SemanticEncoder) or not components.guides_decoder:
            raise SettingError(f"transformer_blocks: {self.base} encodes photographs without a transformer")
        tuned = frozen_copy(encoder)
        tuned.tune(self.transformer_blocks)
        return tuned

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "AngularTraining":
        """The angle of decoded normals."""
        return AngularTraining(self, components, corpus, heldout, folder / "latents")


class AngularTraining(DenoiserTraining[AngularSettings]):
    """The one-step network with the angle of decoded normals as its loss."""

    mode = "turbo"

    def __init__(
        self,
        settings: AngularSettings,
        components: ModelComponents,
        corpus: Corpus,
        heldout: PackedCorpus,
        caches: Path | LatentCache,
    ) -> None:
        module: nn.Module = components.yoso
        tuned: dict[str, nn.Module] = {}
        if settings.train_decoder:
            tuned["decoder"] = components.autoencoder.decoder
            tuned["post_quant_conv"] = components.autoencoder.post_quant_conv
        if settings.train_image_encoder and components.image_encoder is not None:
            tuned["image_encoder"] = components.image_encoder
        if settings.transformer_blocks:
            tuned["transformer"] = components.semantic_encoder
        if tuned:
            module = nn.ModuleDict({"denoiser": module, **tuned})
        super().__init__(settings, components, module, corpus, heldout, caches)
        self.tunes_image = settings.train_image_encoder
        self.needs_x0 = settings.latent_weight > 0

    def slower(self) -> tuple[tuple[nn.Module, float], ...]:
        """The transformer's tuned blocks."""
        if not self.settings.transformer_blocks:
            return ()
        return ((self.components.semantic_encoder, self.settings.transformer_learning_rate),)

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """Mean angle, plus a little of the latent's mean square error."""
        batch, settings = self.read(stage, samples), self.settings
        z = samples.normal(*batch.encoded.latent.shape[1:])
        shrink = samples.uniform() < settings.shrinkage
        z = torch.where(shrink[:, None, None, None], torch.zeros_like(z), z)

        def denoise(x: Tensor, timestep: int) -> Tensor:
            return self.components.yoso.predict(x, timestep, batch.encoded.condition)

        predicted = one_step(denoise, batch.encoded.latent, z, settings.start, self.components.spec.turbo_t)
        autoencoder = self.components.autoencoder
        angle = decoded_angle(autoencoder, predicted, batch, samples, settings).mean()
        figures = {"angle_deg": float(torch.rad2deg(angle.detach()))}
        if not settings.latent_weight:
            return angle, figures
        latent = masked_mean_square(predicted - batch.x0, batch.weight).mean()
        return angle + settings.latent_weight * latent, figures | {"latent": float(latent.detach())}
