"""The whole method: YOSO's start, then the semantic-guided refinement."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.spec import ModelSpec
from stablenormal.pipelines.conditioning import ConditionedDenoiser
from stablenormal.pipelines.noise import NoiseSource
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.one_step import one_step
from stablenormal.sampling.refine import (
    Step,
    fixed_level,
    hold_level,
    hold_then_descend,
    plain_ddim,
    run_steps,
    run_until_settled,
)

Refinement = Literal["hold_then_descend", "fixed_level", "ddim"]
Steps = int | Literal["auto"]
"""Network calls of the refinement; `auto`: until the prediction has settled."""

MOST_STEPS = 10
"""Of `auto`; the paper's number."""


@dataclass(frozen=True)
class RefinementPlan:
    """How the second stage runs: a spec's own way, or what the caller asked for instead.

    Raises:
        SettingError: if the rule does not exist, or a number is out of range.
    """

    rule: str
    """`hold_then_descend`, `fixed_level`, or `ddim` (no hold; for comparison)."""
    steps: int
    """Network calls, at most."""
    t_plus: int
    """The noise level at which it starts."""
    tau: float
    """Fresh noise in DDIM steps, a share of DDPM's, 0 to 1."""
    yoso_t: int | None = None
    """The level that YOSO is asked for where it starts from noise; None is `t_plus`."""
    largest_change: float | None = None
    """Between two x0 that ends the refinement early; None: never. See `sampling.refine.relative_change`."""

    def __post_init__(self) -> None:
        """Check every field, by making the table."""
        if not 0 <= self.tau <= 1:
            raise SettingError(f"tau: expected a number between 0 and 1, got {self.tau}")
        descending = sum(step.kind != "renoise" and step.t_from <= self.t_plus for step in self.table)
        if descending > self.t_plus:
            raise SettingError(
                f"steps: {descending} of {self.steps} descend from t+ = {self.t_plus}, below which there are "
                "not so many levels; use fewer steps or a higher t+"
            )

    @property
    def table(self) -> tuple[Step, ...]:
        """The rule as a table of steps."""
        if self.rule == "hold_then_descend":
            return hold_then_descend(self.steps, self.t_plus)
        if self.rule == "fixed_level":
            return fixed_level(self.steps, self.t_plus)
        if self.rule == "ddim":
            return plain_ddim(self.steps, self.t_plus)
        raise SettingError(
            f"refinement: {self.rule!r} does not exist; choose one of {', '.join(get_args(Refinement))}"
        )


def plan_refinement(
    spec: ModelSpec,
    steps: Steps | None = None,
    t_plus: int | None = None,
    tau: float | None = None,
    refinement: Refinement | None = None,
) -> RefinementPlan:
    """A spec's own plan, with what the caller asked for in its place.

    Where a spec's t+ is the level at which the released scheduler holds for the spec's steps (401 for 10),
    another number of steps moves the hold as it does there, and YOSO is still asked for the spec's t+. A t+
    that the caller gave, or a spec chose for itself, stays where it is, whatever the number of steps. `auto`
    plans `MOST_STEPS`, and ends when x0 changes by no more than the spec's `settled_change`.

    Raises:
        SettingError: as `RefinementPlan`.
    """
    rule = spec.refinement if refinement is None else refinement
    if isinstance(steps, str) and steps != "auto":
        raise SettingError(f"steps: {steps!r} is no number; give one, or auto")
    settles = steps == "auto"
    count = spec.steps if steps is None else MOST_STEPS if steps == "auto" else steps
    level = spec.t_plus if t_plus is None else t_plus
    holds_as_released = spec.refinement == "hold_then_descend" and spec.t_plus == hold_level(spec.steps)
    moved = holds_as_released and rule == "hold_then_descend" and t_plus is None
    return RefinementPlan(
        rule=rule,
        steps=count,
        t_plus=hold_level(count) if moved else level,
        tau=spec.tau if tau is None else tau,
        yoso_t=level,
        largest_change=spec.settled_change if settles else None,
    )


class Begun(NamedTuple):
    """Where the refinement begins."""

    x: Tensor
    """The noisy latent (B, c, h, w) at the level t+."""
    x0: Tensor | None
    """What the first stage gave, where that is a clean latent."""
    noise: NoiseSource
    """Of the refinement."""


class TwoStageSampler:
    """Both stages, bound to encoded images; each call is one draw.

    Args:
        components: the model.
        encoded: the images, as `ModelComponents.encode_image` gives them.
        semantic: features of the semantic encoder (B, C, g, k).
        plan: how the second stage runs.
        coarse_latent: En(N) of given normal maps, which then take YOSO's place.
    """

    deterministic = False
    """Whether every draw is the same: here the level t+ always brings its noise."""

    def __init__(
        self,
        components: ModelComponents,
        encoded: EncodedImage,
        semantic: Tensor,
        plan: RefinementPlan,
        coarse_latent: Tensor | None = None,
    ) -> None:
        self.spec: ModelSpec = components.spec
        self.plan = plan
        self.table = plan.table
        self.coarse_latent = coarse_latent
        self.schedule = NoiseSchedule()
        self.encoded = encoded
        self.yoso = ConditionedDenoiser(components.yoso, encoded.condition)
        self.refiner = ConditionedDenoiser(components.refiner, encoded.condition, semantic)
        self.calls = (plan.steps,) * len(encoded.latent)
        """Network calls of the last draw's refinement, of each image."""

    def __call__(self, noise: NoiseSource) -> Tensor:
        """Draw the refined latent x0 (B, c, h, w).

        The order of draws is the released code's: the initial latent first, even where the start does not
        use it, then the noise of the level t+, then each re-noising.
        """
        begun = self.begin(noise)
        if self.plan.largest_change is None:
            return run_steps(self.refiner, begun.x, self.table, begun.noise, self.plan.tau)
        settled = run_until_settled(
            self.refiner, begun.x, self.table, begun.noise, self.plan.tau, self.plan.largest_change, begun.x0
        )
        self.calls = settled.calls
        return settled.x0

    def begin(self, noise: NoiseSource) -> Begun:
        """Run the first stage, and noise what it gives to the level t+."""
        initial = noise()
        if self.spec.start == "noise" and self.coarse_latent is None and self.plan.rule != "fixed_level":
            level = self.plan.t_plus if self.plan.yoso_t is None else self.plan.yoso_t
            return Begun(self._start(level, initial), None, noise)  # YOSO gives x_{t+} itself
        x0, level_noise = self._start(self.spec.turbo_t, initial), noise()
        again = (lambda: level_noise) if self.plan.rule == "fixed_level" else noise
        return Begun(self.schedule.add_noise(x0, level_noise, self.plan.t_plus), x0, again)

    def _start(self, timestep: int, initial: Tensor) -> Tensor:
        if self.coarse_latent is not None:
            return self.coarse_latent
        return one_step(self.yoso, self.encoded.latent, initial, self.spec.start, timestep)
