import pytest
import torch
from torch import Tensor

from stablenormal.applications.mesh_reconstruction.losses import depth_normals
from stablenormal.applications.mesh_reconstruction.node_grid import NodeGrid
from stablenormal.applications.mesh_reconstruction.rendering import Field, Rendered, occupancy, render

RADIUS = 0.6


def ball(resolution: int = 40, degree: int = 0, dtype: torch.dtype = torch.float32) -> Field:
    grid = NodeGrid.around(torch.ones(resolution, resolution, resolution, dtype=torch.bool))
    places = grid.places().to(dtype)
    colours = torch.zeros(len(places), 3 + 9 * degree, dtype=dtype)
    colours[:, 0] = 2 * places[:, 2]
    return Field(grid, places.norm(dim=1, keepdim=True) - RADIUS, colours)


def looking_down(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Rays from above at (x, y) offsets (B, 2)."""
    origins = torch.cat([offsets, torch.full_like(offsets[:, :1], 3.0)], dim=1)
    return origins, torch.tensor([0.0, 0, -1]).to(offsets).expand(len(offsets), 3)


def seen(field: Field, offsets: Tensor, sharpness: float = 150.0, band: float = 2.5) -> Rendered:
    origins, directions = looking_down(offsets)
    return render(
        field, occupancy(field, band), origins, directions, torch.rand(len(offsets)), 0.5, sharpness
    )


def test_a_ball_is_where_it_is() -> None:
    offsets = (torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.8
    found = seen(ball(), offsets)
    height = (RADIUS**2 - offsets.square().sum(1)).sqrt()
    assert torch.allclose(found.opacity, torch.ones(()), atol=1e-2)
    assert torch.allclose(found.distance, 3 - height, atol=0.1 * 2 / 39)
    expected = torch.cat([offsets, height[:, None]], dim=1) / RADIUS
    assert torch.allclose(torch.nn.functional.normalize(found.normals, dim=1), expected, atol=0.02)
    assert torch.allclose(found.rgb[:, 0], torch.sigmoid(2 * height), atol=0.02)
    assert torch.allclose(found.rgb[:, 1], torch.tensor(0.5), atol=0.01)


def test_rays_that_miss_see_nothing() -> None:
    found = seen(ball(), torch.tensor([[0.75, 0.0], [5.0, 5.0]]))
    assert found.opacity.max() < 1e-3
    assert not found.normals[1].any() and not found.distance[1].any()


@pytest.mark.parametrize("band", [2.0, 4.0])
def test_skipping_empty_space_changes_nothing(band: float) -> None:
    offsets = (torch.rand(100, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 1.4
    torch.manual_seed(0)
    skipped = seen(ball(), offsets, band=band)
    torch.manual_seed(0)
    everywhere = seen(ball(), offsets, band=1000.0)
    assert torch.allclose(skipped.opacity, everywhere.opacity, atol=2e-3)
    assert torch.allclose(skipped.distance, everywhere.distance, atol=5e-3)


def test_a_lobe_depends_on_the_viewing_direction() -> None:
    field = ball(degree=1)
    field.colours[:, 3 + 6 + 1] = 3.0  # z, green
    found = seen(field, torch.zeros(1, 2))
    assert float(found.rgb[0, 1]) == pytest.approx(float(torch.sigmoid(torch.tensor(-3 * 0.4886))), abs=0.01)
    assert float(found.rgb[0, 2]) == pytest.approx(0.5, abs=0.01)


def test_gradients_of_a_rendering() -> None:
    made = ball(8, 1, torch.float64)
    generator = torch.Generator().manual_seed(0)
    distances = made.distances + 0.02 * torch.randn(
        made.distances.shape, generator=generator, dtype=torch.float64
    )
    colours = torch.randn(made.colours.shape, generator=generator, dtype=torch.float64)
    offsets = torch.tensor([[0.1, 0.05], [-0.3, 0.2], [0.5, 0.1]], dtype=torch.float64)
    occupied = occupancy(made, 1000.0)
    origins, directions = looking_down(offsets)
    jitter = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)

    def rendered(values: Tensor, tints: Tensor, what: str) -> Tensor:
        found = render(Field(made.grid, values, tints), occupied, origins, directions, jitter, 0.5, 8.0)
        return getattr(found, what)

    for what in ("opacity", "distance", "rgb"):
        inputs = distances.clone().requires_grad_(), colours.clone().requires_grad_()
        moving = (
            (0,) if what != "rgb" else (1,)
        )  # colours are taken where the surface is now: no gradient there
        fixed = [value if place in moving else value.detach() for place, value in enumerate(inputs)]
        assert torch.autograd.gradcheck(
            lambda *v, what=what: rendered(v[0], v[1], what), fixed, fast_mode=True, atol=2e-4, rtol=2e-2
        )


@pytest.mark.parametrize("tilt", [0.0, 0.8])
def test_normals_of_patches_face_the_camera(tilt: float) -> None:
    """A plane z = tilt * x under pixels ordered right, then down."""
    corners = torch.tensor([[0.0, 1], [1, 1], [0, 0], [1, 0]])
    points = torch.cat([corners, tilt * corners[:, :1]], dim=1)[None]
    found = torch.nn.functional.normalize(depth_normals(points), dim=1)[0]
    expected = torch.nn.functional.normalize(torch.tensor([-tilt, 0, 1.0]), dim=0)
    assert torch.allclose(found, expected)
