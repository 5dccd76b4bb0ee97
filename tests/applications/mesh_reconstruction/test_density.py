import pytest
import torch

from stablenormal.applications.mesh_reconstruction.density import crossing, log_transparency, render_weights


def test_alpha_is_that_of_neus() -> None:
    generator = torch.Generator().manual_seed(0)
    near, far = torch.randn(2, 200, generator=generator, dtype=torch.float64) * 0.2
    sharpness = 15.0
    phi = [1 / (1 + torch.exp(-sharpness * f)) for f in (near, far)]
    alpha = ((phi[0] - phi[1]) / phi[0]).clamp(min=0)
    assert torch.allclose(1 - log_transparency(near, far, sharpness).exp(), alpha, atol=1e-12)


def test_weights_are_alpha_times_what_is_left() -> None:
    alpha = torch.rand(3, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.zeros_like(alpha)
    for ray in range(3):
        left = 1.0
        for place in range(7):
            expected[ray, place] = left * alpha[ray, place]
            left *= 1 - float(alpha[ray, place])
    assert torch.allclose(render_weights(torch.log1p(-alpha)), expected)


@pytest.mark.parametrize("slope", [0.3, 1.0])
def test_the_weight_is_unbiased_and_its_sum_is_the_opacity(slope: float) -> None:
    """Along a ray through a plane the weights are symmetric about the surface, however flat it is hit."""
    t = torch.linspace(0, 2, 2001, dtype=torch.float64)
    distance = slope * (1 - t)
    weights = render_weights(log_transparency(distance[:-1], distance[1:], 40.0)[None])[0]
    middle = (t[:-1] + t[1:]) / 2
    assert float(weights.sum()) == pytest.approx(1, abs=1e-4)
    assert float((weights * middle).sum()) == pytest.approx(1, abs=1e-4)
    assert float(middle[weights.argmax()]) == pytest.approx(1, abs=2e-3)


def test_deep_inside_nothing_overflows() -> None:
    near = torch.tensor([-1e4, -50.0, 50.0, 1e4], requires_grad=True)
    found = log_transparency(near, near.detach() - 1e4, 10.0)
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(near.grad).all()


def test_the_surface_is_where_the_line_is_zero() -> None:
    near, far = torch.tensor([0.3, 0.3, -0.1, 0.1]), torch.tensor([-0.1, 0.1, -0.2, 0.1])
    assert crossing(near, far).tolist() == pytest.approx([0.75, 1.0, 0.0, 0.5])


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(2)
    near = (torch.rand(4, 5, generator=generator, dtype=torch.float64) * 0.1 + 0.05).requires_grad_()
    far = (
        near.detach() - 0.08 - 0.02 * torch.rand(4, 5, generator=generator, dtype=torch.float64)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: render_weights(log_transparency(a, b, 20.0)), (near, far))
    inside = (near.detach().clamp(max=0.07)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: crossing(a, b), (inside, far))
