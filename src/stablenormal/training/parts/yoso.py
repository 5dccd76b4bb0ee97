"""YOSO: the one-step start, with the shrinkage regulariser."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.models.building import ModelComponents
from stablenormal.models.spec import Start
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.training.objectives import yoso_loss
from stablenormal.training.parts.denoiser import DenoiserSettings, DenoiserTraining, trainable_denoiser
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage, refuse_outside_unit_interval


@dataclass(frozen=True)
class YosoSettings(DenoiserSettings):
    """The settings that decide the weights of the one-step network, trained as in the paper."""

    keys: ClassVar[Mapping[str, str]] = {"part": "yoso"}

    shrinkage: float = 0.4
    """Probability lambda that the input noise is replaced by zeros."""
    clean_fraction: float = 0.3
    """Probability that t+ is 0 (turbo's case); otherwise it is uniform in (0, 1000)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside_unit_interval(self, "shrinkage", "clean_fraction")

    def prepare(self, components: ModelComponents) -> ModelComponents:
        """The model with a one-step network that takes gradients.

        It will be fed what it sees in training: noise, or zeros where `shrinkage` leaves nothing else.
        """
        start: Start = "zeros" if self.shrinkage == 1 else "noise"
        return replace(
            components,
            spec=replace(components.spec, start=start, turbo_t=0),
            yoso=trainable_denoiser(components.yoso, self.gradient_checkpointing),
        )

    def training(
        self, components: ModelComponents, corpus: Corpus, heldout: PackedCorpus, folder: Path
    ) -> "YosoTraining":
        """Regression of x_{t+}."""
        caches = folder / "latents"
        return YosoTraining(self, components, components.yoso, corpus, heldout, caches)


class YosoTraining(DenoiserTraining[YosoSettings]):
    """The one-step network with the loss of the paper's first stage."""

    mode = "turbo"

    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """x_{t+} regression with t+ random."""
        batch = self.read(stage, samples)
        t_plus = samples.integers(1, 1000)
        t_plus[samples.uniform() < self.settings.clean_fraction] = 0
        z = samples.normal(*batch.x0.shape[1:])
        shrink = samples.uniform() < self.settings.shrinkage
        alphas = NoiseSchedule().alphas_cumprod.float().to(samples.device)

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return self.components.yoso.predict(x, t, batch.encoded.condition)

        return yoso_loss(denoise, batch.x0, batch.weight, alphas, z, t_plus, shrink).mean(), {}
