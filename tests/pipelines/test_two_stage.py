from dataclasses import replace

import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.spec import ModelSpec
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.pipelines.two_stage import RefinementPlan, TwoStageSampler, plan_refinement
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.refine import fixed_level, hold_then_descend, plain_ddim


class TestPlan:
    def test_rules_are_the_tables(self):
        assert RefinementPlan("hold_then_descend", 6, 300, 0.0).table == hold_then_descend(6, 300)
        assert RefinementPlan("fixed_level", 3, 300, 0.0).table == fixed_level(3, 300)
        assert RefinementPlan("ddim", 6, 300, 0.0).table == plain_ddim(6, 300)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            (("other", 10, 401, 0.0), "refinement"),
            (("ddim", 0, 401, 0.0), "steps"),
            (("ddim", 10, 0, 0.0), "t_plus"),
            (("ddim", 10, 401, 2.0), "tau"),
        ],
    )
    def test_refuses(self, fields, message):
        with pytest.raises(SettingError, match=message):
            RefinementPlan(*fields)


class TestPlanOfSpec:
    """What becomes of a spec's own plan when a caller changes part of it."""

    released = ModelSpec(name="released")
    own_level = ModelSpec(name="own", t_plus=101, steps=1)

    @pytest.mark.parametrize("steps", range(1, 51))
    def test_steps_alone_move_the_hold_as_released(self, steps):
        plan = plan_refinement(self.released, steps=steps)
        assert plan.table == hold_then_descend(steps)
        assert plan.yoso_t == 401

    def test_a_given_level_stays(self):
        plan = plan_refinement(self.released, steps=6, t_plus=401)
        assert plan.table == hold_then_descend(6, 401)
        assert [step.t_network for step in plan.table] == [401, 401, 401, 401, 201, 1]
        assert plan_refinement(self.released, steps=6, t_plus=300).yoso_t == 300

    def test_a_spec_with_a_level_of_its_own_keeps_it(self):
        plan = plan_refinement(self.own_level, steps=6)
        assert (plan.t_plus, plan.yoso_t, plan.table) == (101, 101, hold_then_descend(6, 101))

    def test_other_rules_start_at_the_specs_level(self):
        late = replace(self.released, refinement="fixed_level", steps=2)
        assert plan_refinement(late, steps=3).table == fixed_level(3, 401)
        assert plan_refinement(late, steps=6, refinement="hold_then_descend").t_plus == 401
        assert plan_refinement(self.released, steps=6, refinement="ddim").table == plain_ddim(6, 401)

    def test_nothing_asked_is_the_specs_own(self):
        assert plan_refinement(self.released) == RefinementPlan("hold_then_descend", 10, 401, 0.0, 401)


class Start:
    """What the refiner is given first, and what YOSO was given, with every combination of start and rule."""

    def __init__(self, components, start, rule, coarse=None, yoso_t=None):
        components.spec = replace(components.spec, start=start)
        generator = torch.Generator().manual_seed(3)
        self.latent = torch.randn(1, 4, 2, 2, generator=generator)
        semantic = torch.randn(1, 12, 2, 2, generator=generator)
        encoded = EncodedImage(self.latent, self.latent)
        plan = RefinementPlan(rule, 1, 401, 0.0, yoso_t)
        sampler = TwoStageSampler(components, encoded, semantic, plan, coarse)
        self.yoso_calls, self.refiner_calls, yoso, refiner = [], [], sampler.yoso, sampler.refiner

        def watched_yoso(x, t):
            self.yoso_calls.append((x, t))
            return yoso(x, t)

        sampler.yoso = watched_yoso
        sampler.refiner = lambda x, t: self.refiner_calls.append((x, t)) or refiner(x, t)
        sampler(seeded_noise(5, self.latent))
        draw = seeded_noise(5, self.latent)
        self.first, self.second = draw(), draw()
        self.at = lambda x0: NoiseSchedule().add_noise(x0, self.second, 401)
        self.yoso = yoso


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


class TestStart:
    def test_noise_gives_the_noisy_latent_itself(self, components):
        run = Start(components, "noise", "hold_then_descend")
        assert [t for _, t in run.yoso_calls] == [401]
        assert torch.equal(run.yoso_calls[0][0], run.first)
        assert torch.equal(run.refiner_calls[0][0], run.yoso(run.first, 401))

    def test_noise_is_asked_for_the_plans_level(self, components):
        run = Start(components, "noise", "hold_then_descend", yoso_t=333)
        assert [t for _, t in run.yoso_calls] == [333]
        assert [t for _, t in run.refiner_calls] == [401]

    @pytest.mark.parametrize("rule", ["hold_then_descend", "fixed_level", "ddim"])
    def test_image_latent_gives_x0_which_is_noised(self, components, rule):
        run = Start(components, "image_latent", rule)
        assert [t for _, t in run.yoso_calls] == [0]
        assert torch.equal(run.yoso_calls[0][0], run.latent)
        assert torch.equal(run.refiner_calls[0][0], run.at(run.yoso(run.latent, 0)))

    def test_fixed_level_from_noise_goes_through_x0(self, components):
        run = Start(components, "noise", "fixed_level")
        assert torch.equal(run.refiner_calls[0][0], run.at(run.yoso(run.first, 0)))

    @pytest.mark.parametrize("rule", ["hold_then_descend", "fixed_level"])
    def test_a_coarse_map_takes_yosos_place(self, components, rule):
        coarse = torch.randn(1, 4, 2, 2)
        run = Start(components, "noise", rule, coarse)
        assert run.yoso_calls == []
        assert torch.equal(run.refiner_calls[0][0], run.at(coarse))


@pytest.mark.parametrize(("rule", "most"), [("hold_then_descend", 6), ("ddim", 3)])
def test_more_steps_than_levels_below_t_plus_are_refused(rule: str, most: int) -> None:
    assert len(RefinementPlan(rule, most, 3, 0.0).table) == most
    with pytest.raises(SettingError, match="4 of .* descend from t. = 3"):
        RefinementPlan(rule, most + 1, 3, 0.0)


def test_a_fixed_level_takes_any_number_of_rounds() -> None:
    assert len(RefinementPlan("fixed_level", 9, 3, 0.0).table) == 9
