"""`runs/carry_over.py` on the toy model."""

import sys
from pathlib import Path

import pytest
import torch

from stablenormal.models.loading import load_components, save_components

RUNS = Path(__file__).parents[2] / "runs"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(RUNS))
    import carry_over

    yield carry_over
    sys.modules.pop("carry_over", None)


def test_the_refiner_gains_what_the_one_step_network_gained_and_nothing_else(
    script, toy_model, tmp_path, monkeypatch
):
    trained = load_components(toy_model)
    with torch.no_grad():
        trained.yoso.unet.conv_out.weight += 0.5
    after, out = save_components(trained, tmp_path / "after", torch.float32), tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["carry_over.py", str(toy_model), str(after), str(out)])
    script.main()
    before, found = load_components(toy_model), load_components(out)
    old, new = dict(before.refiner.named_parameters()), dict(found.refiner.named_parameters())
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"unet.conv_out.weight"}
    torch.testing.assert_close(new["unet.conv_out.weight"], old["unet.conv_out.weight"] + 0.5)
    assert torch.equal(found.yoso.unet.conv_out.weight, trained.yoso.unet.conv_out.weight)
