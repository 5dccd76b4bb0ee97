import math

import torch

from stablenormal.geometry.normals import angular_error_deg, unit_length
from stablenormal.geometry.tangents import along_arcs, arcs_to


def directions(seed: int, count: int = 400) -> torch.Tensor:
    return unit_length(torch.randn(1, 3, 1, count, generator=torch.Generator().manual_seed(seed)))[0]


def test_arcs_lead_back_to_where_they_came_from():
    reference, normals = directions(0), directions(1)
    back = along_arcs(reference, arcs_to(reference, normals))
    assert float(angular_error_deg(back[None], normals[None]).max()) < 0.05
    torch.testing.assert_close(back.norm(dim=0), torch.ones(1, 400))


def test_an_arc_is_as_long_as_the_angle_and_at_right_angles_to_the_reference():
    reference, normals = directions(0), directions(1)
    arcs = arcs_to(reference, normals)
    angle = torch.deg2rad(angular_error_deg(reference[None], normals[None])[0])
    torch.testing.assert_close(arcs.norm(dim=0), angle, atol=1e-4, rtol=0)
    torch.testing.assert_close((arcs * reference).sum(dim=0), torch.zeros(1, 400), atol=1e-5, rtol=0)


def test_the_same_and_opposite_directions_give_no_arc_and_no_nan():
    reference = directions(0)
    assert float(arcs_to(reference, reference).abs().max()) < 1e-6
    opposite = arcs_to(reference, -reference)
    assert bool(torch.isfinite(opposite).all())
    assert float(opposite.abs().max()) < 1e-5


def test_normals_that_point_apart_meet_on_the_side_of_the_reference():
    """Their plain mean has no direction at all."""
    reference = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)
    left, right = (torch.tensor([side, 0.0, 0.0]).view(3, 1, 1) for side in (-1.0, 1.0))
    assert float((left + right).norm()) == 0
    mean = along_arcs(reference, (arcs_to(reference, left) + arcs_to(reference, right)) / 2)
    torch.testing.assert_close(mean, reference)
    third = along_arcs(reference, 0.25 * arcs_to(reference, left) + 0.75 * arcs_to(reference, right))
    assert abs(float(third[0]) - math.sin(math.radians(45))) < 1e-6
