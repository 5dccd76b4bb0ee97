"""The interface between the training loop and a part: a loss, a validation and weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from stablenormal.models.building import ModelComponents
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage


@dataclass(frozen=True)
class Validation:
    """What a validation found, on a choice of held-out images that never changes."""

    figures: dict[str, float]
    """Figures by name, units in the name."""
    picture: Tensor | None = None
    """Image, prediction and truth of the first of them, (3, H, W) uint8."""


class PartTraining(ABC):
    """What the loop needs to know of a part.

    Args:
        components: the whole model, ready to be trained.
        module: everything that is trained, and what else must be in a checkpoint.
    """

    def __init__(self, components: ModelComponents, module: nn.Module) -> None:
        self.components = components
        self.module = module

    @abstractmethod
    def samples(self, stage: Stage) -> int:
        """Prepare a stage and return how many samples an epoch of it has."""

    @abstractmethod
    def loss(self, stage: Stage, samples: StepSamples) -> tuple[Tensor, dict[str, float]]:
        """The mean of the samples' own losses, and what else is worth logging.

        Each sample's loss must not depend on which others are in its share: then the shares' mean is that of
        the whole batch, however it is divided.
        """

    def announce(self, stage: Stage, samples: StepSamples) -> None:  # noqa: B027
        """Told early which samples `loss` will soon be given, so that others can read them meanwhile."""

    def study(self, stage: Stage, samples: StepSamples) -> dict[str, Tensor]:
        """What the loss read of samples, by name, each (B, ...): for a person who asks why it failed."""
        return {}

    @abstractmethod
    def validate(self) -> Validation:
        """Figures and pictures of held-out scenes, with the weights that are in the module now."""

    def slower(self) -> tuple[tuple[nn.Module, float], ...]:
        """Parts that AdamW trains at a peak learning rate of their own, as pretrained ones need."""
        return ()

    def after_step(self, step: int, total_steps: int) -> None:  # noqa: B027
        """What must follow the optimiser's step, before the next one."""

    def finish(self) -> ModelComponents:
        """The model to save, once the averaged weights are in the module."""
        return self.components
