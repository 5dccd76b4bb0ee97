"""The rules of the refinement, each a table of steps on a callable `denoise(x_t, t) -> x0`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.sampling.noise_schedule import NoiseSchedule

Denoise = Callable[[Tensor, int], Tensor]
DrawNoise = Callable[[], Tensor]

SCHEDULE = NoiseSchedule()
"""Stable Diffusion's, which every table of steps is made for."""
TOTAL = SCHEDULE.timesteps


class Step(NamedTuple):
    """One network call and what becomes of its x0."""

    t_network: int
    """The timestep that the network is told."""
    t_from: int
    """The noise level from which the noise direction is inferred."""
    t_to: int
    """The noise level of the next x."""
    kind: Literal["renoise", "ddim", "last"]
    """`renoise`: x0 with noise anew; `ddim`: keep the inferred noise; `last`: x0 is the result."""


def hold_then_descend(steps: int, t_plus: int | None = None) -> tuple[Step, ...]:
    """The paper's heuristic sampling: half of the steps hold at t+, the others descend to t = 1.

    For 10 steps the network sees 401 six times, then 301, 201, 101, 1 (StableNormal, section 4.2).
    The last step of the hold is a DDIM step taken as if from one spacing above t+.

    Args:
        steps: network calls, at least 1.
        t_plus: the level of the hold, from which the descent is spaced evenly; by default `hold_level`.

    Raises:
        SettingError: if `steps` or `t_plus` is out of range.
    """
    check_steps(steps)
    held = steps // 2
    descending = steps - held
    if t_plus is None:
        t_plus = hold_level(steps)
    _check_t_plus(t_plus)
    levels = _descend(t_plus, descending)
    spacing = t_plus - levels[1] if descending > 1 else TOTAL // steps
    above = min(t_plus + spacing, TOTAL - 1)
    table = [Step(t_plus, t_plus, t_plus, "renoise")] * max(held - 1, 0)
    if held:
        table.append(Step(t_plus, above, t_plus, "ddim"))
    return (*table, *descent_steps(levels))


def hold_level(steps: int) -> int:
    """The level at which the released scheduler holds: `timesteps[steps // 2]` of a "leading" spacing, + 1.

    It depends on the number of steps alone: 401 for 10, 333 for 6.

    Args:
        steps: network calls, at least 1.

    Raises:
        SettingError: if `steps` is out of range.
    """
    check_steps(steps)
    return (steps - steps // 2 - 1) * (TOTAL // steps) + 1


def fixed_level(rounds: int, t_plus: int = 401) -> tuple[Step, ...]:
    """The released rule of v1.5 and later: noise x0 to t+ anew in every round, with one fixed noise.

    Args:
        rounds: network calls, at least 1 (released: 2).
        t_plus: the noise level.

    Raises:
        SettingError: if `rounds` or `t_plus` is out of range.
    """
    check_steps(rounds)
    _check_t_plus(t_plus)
    again = Step(t_plus, t_plus, t_plus, "renoise")
    return (*[again] * (rounds - 1), Step(t_plus, t_plus, 0, "last"))


def plain_ddim(steps: int, t_start: int | None = None) -> tuple[Step, ...]:
    """DDIM without a hold, evenly down to t = 1, for comparison.

    Args:
        steps: network calls, at least 1.
        t_start: the first timestep; by default the highest of a "leading" spacing, 901 for 10 steps.

    Raises:
        SettingError: if `steps` or `t_start` is out of range.
    """
    check_steps(steps)
    if t_start is None:
        t_start = (steps - 1) * (TOTAL // steps) + 1
    _check_t_plus(t_start)
    return tuple(descent_steps(_descend(t_start, steps)))


def run_steps(
    denoise: Denoise,
    x: Tensor,
    table: Sequence[Step],
    draw_noise: DrawNoise,
    tau: float = 0.0,
) -> Tensor:
    """Refine a noisy latent by a table of steps.

    Args:
        denoise: the network: (x_t, t) to x0.
        x: the start, noised to the first step's level, (B, c, h, w).
        table: from one of the functions above; the last step's x0 is the result.
        draw_noise: gives a noise like `x`; called once a `renoise` step, and once a `ddim` step when tau > 0.
        tau: share of DDPM's own noise in each `ddim` step, 0 (deterministic, as released) to 1 (DDIM's eta).

    Returns:
        x0 of the last step, (B, c, h, w).

    Raises:
        SettingError: if the table does not end in its only `last` step, or tau is outside [0, 1].
    """
    *_, x0 = predictions(denoise, x, table, draw_noise, tau)
    return x0


class Settled(NamedTuple):
    """What `run_until_settled` gives."""

    x0: Tensor
    """Each image's last prediction (B, c, h, w)."""
    calls: tuple[int, ...]
    """Network calls that each image took."""


def run_until_settled(
    denoise: Denoise,
    x: Tensor,
    table: Sequence[Step],
    draw_noise: DrawNoise,
    tau: float,
    largest_change: float,
    start: Tensor | None = None,
) -> Settled:
    """As `run_steps`, but an image is done when its x0 hardly differs from the one before.

    Each image of a batch is judged alone, so that it gives what it would give alone.

    Args:
        denoise, x, table, draw_noise, tau: as in `run_steps`; the table is the longest way there is.
        largest_change: between two x0 that counts as settled; see `relative_change`.
        start: an x0 (B, c, h, w) from before the refinement, to which the first one is compared.

    Raises:
        SettingError: as `run_steps`, or if the change is negative.
    """
    if largest_change < 0:
        raise SettingError(f"largest change: expected 0 or more, got {largest_change}")
    kept, calls, before = x, [0] * len(x), start
    for call, x0 in enumerate(predictions(denoise, x, table, draw_noise, tau), 1):
        open_ = torch.tensor([not count for count in calls], device=x.device).view(-1, 1, 1, 1)
        kept = torch.where(open_, x0, kept)
        if before is not None:
            change = relative_change(before, x0).tolist()
            calls = [
                count or call * (one <= largest_change) for count, one in zip(calls, change, strict=True)
            ]
            if all(calls):
                break
        before = x0
    return Settled(kept, tuple(count or call for count in calls))


def relative_change(before: Tensor, after: Tensor) -> Tensor:
    """Root mean square (B,) of the difference of two latents (B, c, h, w), over that of the later one."""
    difference, size = (one.float().square().mean(dim=(1, 2, 3)) for one in (after - before, after))
    return (difference / size.clamp(min=1e-12)).sqrt()


def predictions(
    denoise: Denoise, x: Tensor, table: Sequence[Step], draw_noise: DrawNoise, tau: float = 0.0
) -> Iterator[Tensor]:
    """The x0 (B, c, h, w) of each step of `run_steps`, as it becomes known.

    Raises:
        SettingError: as `run_steps`.
    """
    if [index for index, step in enumerate(table) if step.kind == "last"] != [len(table) - 1]:
        raise SettingError("table: expected steps of which the last one, and no other, has kind 'last'")
    if not 0 <= tau <= 1:
        raise SettingError(f"tau: expected a number between 0 and 1, got {tau}")
    for step in table:
        x0 = denoise(x, step.t_network)
        yield x0
        if step.kind == "renoise":
            x = SCHEDULE.add_noise(x0, draw_noise(), step.t_to)
        elif step.kind == "ddim":
            x = _ddim_step(x, x0, step, tau, draw_noise)


def _ddim_step(x: Tensor, x0: Tensor, step: Step, tau: float, draw_noise: DrawNoise) -> Tensor:
    """DDIM (arXiv 2010.02502, eq. 12 with eta = tau), x0 prediction, no clipping."""
    a_from, a_to = SCHEDULE.alpha(step.t_from), SCHEDULE.alpha(step.t_to)
    epsilon = (x - a_from**0.5 * x0) / (1 - a_from) ** 0.5
    sigma = tau * ((1 - a_to) / (1 - a_from) * (1 - a_from / a_to)) ** 0.5
    x = a_to**0.5 * x0 + (1 - a_to - sigma**2) ** 0.5 * epsilon
    return x + sigma * draw_noise() if tau else x


def _descend(t_start: int, count: int) -> list[int]:
    """`count` timesteps evenly from `t_start` to 1; one alone stays at `t_start`."""
    if count == 1:
        return [t_start]
    return [1 + round((t_start - 1) * (count - 1 - index) / (count - 1)) for index in range(count)]


def descent_steps(levels: Sequence[int]) -> list[Step]:
    """DDIM steps from each timestep to the next, and from the last to x0."""
    descents = [Step(t, t, lower, "ddim") for t, lower in zip(levels[:-1], levels[1:], strict=True)]
    return [*descents, Step(levels[-1], levels[-1], 0, "last")]


def check_steps(steps: int) -> None:
    """Refuse a number of network calls that no table has.

    Raises:
        SettingError: if it is not from 1 to the number of timesteps.
    """
    if not 1 <= steps <= TOTAL:
        raise SettingError(f"steps: expected 1 to {TOTAL}, got {steps}")


def _check_t_plus(t_plus: int) -> None:
    if not 1 <= t_plus < TOTAL:
        raise SettingError(f"t_plus: expected 1 to {TOTAL - 1}, got {t_plus}")
