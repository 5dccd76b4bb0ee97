import math

import pytest
import torch

from stablenormal.pipelines.ensemble import average_normals, spread_deg


def at(degrees: float) -> torch.Tensor:
    angle = math.radians(degrees)
    return torch.tensor([math.sin(angle), 0, math.cos(angle)]).view(1, 3, 1, 1)


def test_average_is_the_middle_direction_whatever_the_lengths():
    torch.testing.assert_close(average_normals([at(10) * 5, at(50)]), at(30))
    assert not average_normals([at(0), at(180)]).any()


def test_spread_is_the_mean_angle_to_the_mean():
    members = [at(10), at(30), at(50)]
    spread = spread_deg(members, average_normals(members))
    assert spread.shape == (1, 1, 1)
    assert spread.item() == pytest.approx(40 / 3, abs=1e-3)
    assert spread_deg([at(10), at(10)], at(10)).item() == pytest.approx(0, abs=1e-3)
