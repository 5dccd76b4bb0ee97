"""What the benchmark of inference compares with computes the same, and what it counts is right."""

from dataclasses import replace

import pytest
import torch
from benchmarks.floor import Machine, Work, bytes_of, count_work
from benchmarks.reference import reference_normals

from stablenormal.geometry.normals import angular_error_deg
from stablenormal.models.architecture import TOY, TOY_SPEC, TOY_WITH_TOKENS
from stablenormal.models.building import build_components
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.pipelines.two_stage import plan_refinement


@pytest.mark.parametrize("architecture", [TOY, TOY_WITH_TOKENS])
@pytest.mark.parametrize("start", ["noise", "image_latent"])
@pytest.mark.parametrize("mode", ["turbo", "full"])
def test_the_port_gives_the_same_normals(architecture, start, mode):
    spec = replace(TOY_SPEC, start=start)
    made = [build_components(architecture, spec, torch.Generator().manual_seed(0)) for _ in range(2)]
    for components in made:
        with torch.no_grad():  # vectors of about unit length: normalising tiny ones would amplify rounding
            components.autoencoder.decoder.conv_out.bias += 1.0
        for part in components.parts().values():
            part.eval()
    images = list(torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(1)))
    plan = plan_refinement(spec, 4)
    ported = reference_normals(made[0], images, mode, plan, 32)
    pipeline = StableNormal(made[1]).for_inference()
    ours = pipeline(images, mode=mode, steps=4 if mode == "full" else None, batch_size=2).normals
    for one, other in zip(ported, ours, strict=True):
        assert angular_error_deg(one[None], other[None]).max() < 0.1


class TestFloor:
    @pytest.fixture
    def meta(self):
        with torch.device("meta"):
            return build_components(TOY, TOY_SPEC)

    def test_a_batch_and_more_steps_are_more_work(self, meta):
        ten, four = plan_refinement(TOY_SPEC, 10), plan_refinement(TOY_SPEC, 4)
        turbo = count_work(meta, "turbo", ten, 32, 1, every_step=False)
        whole = count_work(meta, "full", ten, 32, 1, every_step=False)
        every = count_work(meta, "full", ten, 32, 1, every_step=True)
        short = count_work(meta, "full", four, 32, 1, every_step=False)
        assert turbo.operations < short.operations < whole.operations < every.operations
        two = count_work(meta, "turbo", ten, 32, 2, every_step=False)
        assert two.operations == 2 * turbo.operations
        assert turbo.bytes < two.bytes < 2 * turbo.bytes  # weights are read once

    def test_the_longer_of_computing_and_moving(self):
        assert Work(100, 10).seconds(Machine(10, 10)) == 10
        assert Work(10, 100).seconds(Machine(10, 10)) == 10

    def test_shared_weights_count_once(self):
        layer = torch.nn.Linear(2, 3)
        assert bytes_of({"one": layer, "two": layer}) == 4 * (2 * 3 + 3)
