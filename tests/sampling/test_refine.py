import pytest
import torch
from diffusers import DDIMScheduler

from stablenormal.errors import SettingError
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.refine import (
    Step,
    fixed_level,
    hold_level,
    hold_then_descend,
    plain_ddim,
    relative_change,
    run_steps,
    run_until_settled,
)

SCHEDULE = NoiseSchedule()


def released_timesteps(steps: int) -> list[int]:
    """The released rule, in its own words: `timesteps[: n // 2] = timesteps[n // 2]`, all + 1."""
    timesteps = [index * (1000 // steps) + 1 for index in reversed(range(steps))]
    timesteps[: steps // 2] = [timesteps[steps // 2]] * (steps // 2)
    return timesteps


def released_table(steps: int) -> tuple[Step, ...]:
    """The released scheduler's steps, from the timesteps of diffusers' own DDIM."""
    scheduler = DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(steps)
    seen, held = scheduler.timesteps.tolist(), steps // 2
    seen[:held] = [seen[held]] * held
    gap = scheduler.config.num_train_timesteps // steps
    table = []
    for index, (level, following) in enumerate(zip(seen, [*seen[1:], 0], strict=True)):
        if index + 1 < held:
            table.append(Step(level, level, following, "renoise"))
        elif index + 1 == held:
            table.append(Step(level, level + gap, following, "ddim"))
        else:
            table.append(Step(level, level, following, "ddim" if following else "last"))
    return tuple(table)


class TestHoldThenDescend:
    def test_ten_steps_are_the_published_table(self):
        assert hold_then_descend(10) == (
            *[Step(401, 401, 401, "renoise")] * 4,
            Step(401, 501, 401, "ddim"),
            Step(401, 401, 301, "ddim"),
            Step(301, 301, 201, "ddim"),
            Step(201, 201, 101, "ddim"),
            Step(101, 101, 1, "ddim"),
            Step(1, 1, 0, "last"),
        )
        assert hold_then_descend(10, t_plus=401) == hold_then_descend(10)

    @pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 10, 16, 20, 25, 50, 100])
    def test_any_number_of_steps_is_the_released_rule(self, steps):
        table = hold_then_descend(steps)
        assert [step.t_network for step in table] == released_timesteps(steps)
        assert sum(step.kind == "renoise" for step in table) == max(steps // 2 - 1, 0)
        held = [step for step in table if step.t_from > step.t_network]
        assert held == ([Step(table[0][0], table[0][0] + 1000 // steps, table[0][0], "ddim")] * (steps > 1))

    @pytest.mark.parametrize("steps", range(1, 51))
    def test_one_to_fifty_steps_are_diffusers_timesteps_held(self, steps):
        assert hold_then_descend(steps) == released_table(steps)
        assert hold_then_descend(steps, hold_level(steps)) == hold_then_descend(steps)

    def test_six_steps_by_hand(self):
        assert hold_then_descend(6) == (
            *[Step(333, 333, 333, "renoise")] * 2,
            Step(333, 499, 333, "ddim"),
            Step(333, 333, 167, "ddim"),
            Step(167, 167, 1, "ddim"),
            Step(1, 1, 0, "last"),
        )

    @pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 10, 13])
    @pytest.mark.parametrize("t_plus", [1, 100, 401, 999])
    def test_any_t_plus(self, steps, t_plus):
        table = hold_then_descend(steps, t_plus)
        assert len(table) == steps
        assert all(step.t_network == t_plus for step in table[: steps // 2 + 1])
        assert table[-1].t_network == (1 if steps > 2 else t_plus)
        assert all(1 <= step.t_network <= 999 and step.t_from <= 999 for step in table)
        for step, following in zip(table, table[1:], strict=False):
            assert step.t_to == following.t_network


class TestFixedLevel:
    def test_two_rounds(self):
        assert fixed_level(2) == (Step(401, 401, 401, "renoise"), Step(401, 401, 0, "last"))
        assert [step.t_network for step in fixed_level(3, t_plus=200)] == [200, 200, 200]


class TestPlainDdim:
    def test_goes_down_evenly(self):
        assert [step.t_network for step in plain_ddim(10)] == list(range(901, 0, -100))
        assert [step.t_network for step in plain_ddim(5, t_start=401)] == [401, 301, 201, 101, 1]
        assert [step.kind for step in plain_ddim(3)] == ["ddim", "ddim", "last"]

    def test_equals_diffusers_scheduler(self):
        """The same trajectory as diffusers' DDIM with x0 prediction, leading spacing and an offset of 1."""
        scheduler = DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            prediction_type="sample",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        scheduler.set_timesteps(10)
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        ours = run_steps(denoise, x, plain_ddim(10), refuse_noise)
        for timestep in scheduler.timesteps:
            x0 = denoise(x, int(timestep))
            x = scheduler.step(x0, timestep, x).prev_sample
        torch.testing.assert_close(ours, x0)


@pytest.mark.parametrize("rule", [hold_then_descend, fixed_level, plain_ddim, hold_level])
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_rules_refuse_step_counts(rule, steps):
    with pytest.raises(SettingError, match="steps: expected 1 to 1000"):
        rule(steps)


@pytest.mark.parametrize("rule", [hold_then_descend, fixed_level, plain_ddim])
@pytest.mark.parametrize("t_plus", [0, 1000])
def test_rules_refuse_levels(rule, t_plus):
    with pytest.raises(SettingError, match="expected 1 to 999"):
        rule(4, t_plus)


def denoise(x, t):
    return torch.tanh(x * (1 + t / 1000))


def refuse_noise():
    raise AssertionError("no noise is to be drawn")


def draws(seed=0, shape=(1, 4, 8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


class TestRunSteps:
    def test_ten_steps_by_hand(self):
        """The method's ten lines, written out."""
        noise, x = draws(), draws(1)()
        a = SCHEDULE.alphas_cumprod
        expected = x
        for _ in range(4):
            expected = a[401].sqrt() * denoise(expected, 401) + (1 - a[401]).sqrt() * noise()
        for level, above, below in (
            (401, 501, 401),
            (401, 401, 301),
            (301, 301, 201),
            (201, 201, 101),
            (101, 101, 1),
        ):
            x0 = denoise(expected, level)
            epsilon = (expected - a[above].sqrt() * x0) / (1 - a[above]).sqrt()
            expected = a[below].sqrt() * x0 + (1 - a[below]).sqrt() * epsilon
        expected = denoise(expected, 1)
        torch.testing.assert_close(run_steps(denoise, x, hold_then_descend(10), draws()), expected)

    def test_a_perfect_network_gives_its_answer(self):
        x0 = torch.randn(1, 4, 8, 8)
        for table in (hold_then_descend(10), fixed_level(2), plain_ddim(4)):
            assert run_steps(lambda x, t: x0, torch.randn(1, 4, 8, 8), table, draws()) is x0

    def test_draws_once_a_renoising(self):
        count = 0

        def noise():
            nonlocal count
            count += 1
            return torch.zeros(1, 4, 8, 8)

        run_steps(denoise, torch.zeros(1, 4, 8, 8), hold_then_descend(10), noise)
        assert count == 4
        run_steps(denoise, torch.zeros(1, 4, 8, 8), hold_then_descend(10), noise, tau=0.5)
        assert count == 4 + 9

    def test_tau_is_ddims_eta(self):
        """With tau = 1 and the true noise inferred, a DDIM step keeps the level's variance."""
        scheduler = DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            prediction_type="sample",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        scheduler.set_timesteps(10)
        x, noise = draws(1)(), draws(2)()
        table = (Step(301, 301, 201, "ddim"), Step(201, 201, 0, "last"))
        seen = []

        def watched(x, t):
            seen.append(x)
            return denoise(x, t)

        run_steps(watched, x, table, lambda: noise, tau=0.7)
        expected = scheduler.step(denoise(x, 301), 301, x, eta=0.7, variance_noise=noise).prev_sample
        torch.testing.assert_close(seen[1], expected)

    @pytest.mark.parametrize("table", [(), hold_then_descend(4)[:-1], fixed_level(1) * 2])
    def test_refuses_a_table_without_one_end(self, table):
        with pytest.raises(SettingError, match="'last'"):
            run_steps(denoise, torch.zeros(1, 4, 8, 8), table, draws())

    @pytest.mark.parametrize("tau", [-0.1, 1.1])
    def test_refuses_tau(self, tau):
        with pytest.raises(SettingError, match="tau"):
            run_steps(denoise, torch.zeros(1, 4, 8, 8), fixed_level(1), draws(), tau=tau)


class TestSettled:
    """A denoiser whose x0 of image k halves its distance to the end in every call, k + 1 times as far off."""

    TABLE = hold_then_descend(10)

    def denoiser(self, scales):
        self.seen = 0

        def denoise(x, t):
            self.seen += 1
            far = torch.tensor(scales).view(-1, 1, 1, 1) * 0.5**self.seen
            return 1 + far.expand(len(scales), 4, 2, 2)

        return denoise

    def run(self, scales, largest_change, start=None):
        x = torch.zeros(len(scales), 4, 2, 2)
        return run_until_settled(
            self.denoiser(scales), x, self.TABLE, lambda: torch.zeros_like(x), 0.0, largest_change, start
        )

    def test_ends_when_x0_hardly_changes(self):
        found = self.run([1.0], 0.1)
        # changes of x0: 0.25, 0.125, 0.0625 at calls 2, 3, 4, over an x0 of 1.25, 1.125, 1.0625
        assert found.calls == (4,) and self.seen == 4
        assert torch.equal(found.x0, torch.full((1, 4, 2, 2), 1.0625))

    def test_never_settled_is_the_whole_table(self):
        found = self.run([1.0], 0.0)
        assert found.calls == (10,) and self.seen == 10

    def test_a_start_is_what_the_first_x0_is_compared_to(self):
        assert self.run([1.0], 0.1, start=torch.full((1, 4, 2, 2), 1.5)).calls == (1,)
        assert self.run([1.0], 0.1, start=torch.full((1, 4, 2, 2), 9.0)).calls == (4,)

    def test_each_image_ends_as_alone(self):
        together = self.run([1.0, 8.0], 0.1)
        for index, scale in enumerate((1.0, 8.0)):
            alone = self.run([scale], 0.1)
            assert together.calls[index] == alone.calls[0]
            assert torch.equal(together.x0[index], alone.x0[0])
        assert together.calls[0] < together.calls[1]

    def test_change_is_relative_and_of_each_image(self):
        after = torch.stack([torch.full((4, 2, 2), 1.0), torch.full((4, 2, 2), 4.0)])
        before = after + torch.tensor([0.5, 0.5]).view(2, 1, 1, 1)
        torch.testing.assert_close(relative_change(before, after), torch.tensor([0.5, 0.125]))

    def test_refuses_a_negative_change(self):
        with pytest.raises(SettingError, match="largest change"):
            self.run([1.0], -0.1)
