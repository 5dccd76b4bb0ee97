import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from stablenormal.applications.multi_view_prior import PAPER_WEIGHT, normal_prior_loss
from stablenormal.errors import ImageShapeError, SettingError


def normals(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.nn.functional.normalize(drawn, dim=1)


def test_the_papers_formula() -> None:
    prior, rendered, of_depth = normals(0), normals(1), normals(2)
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(3)) > 0.4
    expected = 0.0
    for b, v, u in mask.nonzero().tolist():
        p = prior[b, :, v, u]
        expected += float((1 - p @ rendered[b, :, v, u]) + (1 - p @ of_depth[b, :, v, u]))
    expected *= 0.05 / int(mask.sum())
    assert PAPER_WEIGHT == 0.05
    assert float(normal_prior_loss(prior, rendered, of_depth, mask)) == pytest.approx(expected, rel=1e-9)


def test_zero_where_all_agree_and_four_lambda_where_all_oppose() -> None:
    prior = normals(0)
    assert float(normal_prior_loss(prior, prior * 7, prior * 0.1, weight=1)) == pytest.approx(0, abs=1e-12)
    assert float(normal_prior_loss(prior, -prior, -prior, weight=1)) == pytest.approx(4)
    assert float(normal_prior_loss(prior, -prior, weight=1)) == pytest.approx(2)


def test_turning_everything_changes_nothing() -> None:
    turn = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
    maps = [normals(seed) for seed in range(3)]
    turned = [torch.einsum("ij,bjhw->bihw", turn, one) for one in maps]
    assert float(normal_prior_loss(*turned)) == pytest.approx(float(normal_prior_loss(*maps)), rel=1e-9)


def test_weights_have_no_scale_and_hide_what_they_hide() -> None:
    prior, rendered = normals(0), normals(1)
    weights = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weights[0, 1, 2] = 0
    found = float(normal_prior_loss(prior, rendered, None, weights))
    assert float(normal_prior_loss(prior, rendered, None, 5 * weights)) == pytest.approx(found, rel=1e-9)
    rendered[0, :, 1, 2] *= -1
    assert float(normal_prior_loss(prior, rendered, None, weights)) == pytest.approx(found, rel=1e-12)
    rendered[0, :, 1, 3] *= -1
    assert float(normal_prior_loss(prior, rendered, None, weights)) != pytest.approx(found, rel=1e-6)


def test_unknown_priors_count_nothing() -> None:
    prior, rendered = normals(0), normals(1)
    expected = float(normal_prior_loss(prior[:1], rendered[:1]))
    prior[1] = 0
    assert float(normal_prior_loss(prior, rendered)) == pytest.approx(expected, rel=1e-9)
    assert float(normal_prior_loss(torch.zeros_like(prior), rendered)) == 0


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(masked: bool) -> None:
    prior = normals(0)
    weights = torch.rand(2, 4, 5, dtype=torch.float64) if masked else None
    rendered, of_depth = (normals(seed) * 0.7 for seed in (1, 2))
    inputs = rendered.requires_grad_(), of_depth.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: normal_prior_loss(prior, a, b, weights), inputs)


def test_descending_it_finds_the_prior() -> None:
    prior = normals(0, torch.float32)
    rendered = normals(1, torch.float32).requires_grad_()
    optimiser = torch.optim.Adam([rendered], lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        normal_prior_loss(prior, rendered, weight=1).backward()
        optimiser.step()
    assert float(normal_prior_loss(prior, rendered.detach(), weight=1)) < 1e-3


def test_bad_input() -> None:
    prior = normals(0)
    with pytest.raises(ImageShapeError, match="rendered"):
        normal_prior_loss(prior, prior[:1])
    with pytest.raises(ImageShapeError, match="weights"):
        normal_prior_loss(prior, prior, None, torch.ones(2, 1, 4, 5))
    with pytest.raises(ImageShapeError):
        normal_prior_loss(prior[:, :2], prior[:, :2])
    with pytest.raises(SettingError, match="weight"):
        normal_prior_loss(prior, prior, weight=-1)
