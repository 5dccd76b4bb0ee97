"""Bars, steps and leaves."""

import numpy as np
import pytest

from stablenormal.data.synthetic import thin
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.meshes import Mesh


def covered(mesh: Mesh, count: int = 64) -> float:
    """Share of a grille's frame that its bars cover, seen from the front, by rays through the centres."""
    low, high = mesh.bounds()
    x, z = (np.linspace(low[k], high[k], count + 2)[1:-1] for k in (0, 2))
    hit = np.zeros((count, count), bool)
    corners = mesh.positions[mesh.faces].astype(float)[:, :, [0, 2]]
    for triangle in corners:
        box_low, box_high = triangle.min(0), triangle.max(0)
        hit |= ((x > box_low[0]) & (x < box_high[0]))[:, None] & ((z > box_low[1]) & (z < box_high[1]))
    return float(hit.mean())


def test_a_grille_is_mostly_gaps() -> None:
    shares = [covered(thin.grille(generator(seed))) for seed in range(8)]
    assert 0.05 < min(shares) and max(shares) < 0.75 and np.mean(shares) < 0.55


def test_a_basket_is_open_above() -> None:
    mesh = thin.basket(generator(2))
    low, high = mesh.bounds()
    middle = np.abs(mesh.positions[:, :2] - (low + high)[:2] / 2) < 0.4 * (high - low)[:2]
    assert mesh.positions[middle.all(1), 2].max(initial=0) < 0.2 * high[2]


def test_steps_climb() -> None:
    for seed in range(6):
        mesh = thin.steps(generator(seed), 1.0, 5, 0.3, 0.15)
        low, high = mesh.bounds()
        assert high[2] == pytest.approx(5 * 0.15, abs=0.06) and high[1] == pytest.approx(1.5, abs=0.06)
        up = mesh.vertices[mesh.vertices[:, 5] > 0.99]
        heights = [up[(up[:, 1] > k * 0.3 - 0.06) & (up[:, 1] < k * 0.3 + 0.25), 2].max() for k in range(5)]
        assert (np.diff(heights) == pytest.approx(0.15, abs=0.02)) and low[0] < -0.35


def test_a_railing_follows_its_slope() -> None:
    mesh = thin.balusters(generator(1), 2.0, 0.9, 1.0)
    low, high = mesh.bounds()
    assert high[2] == pytest.approx(1.9, abs=0.06) and high[0] == pytest.approx(2.0, abs=0.06)
    start = mesh.positions[mesh.positions[:, 0] < 0.1]
    assert start[:, 2].max() < 1.05


def test_leaf_normals_are_perpendicular_to_the_leaf() -> None:
    rng = generator(1)
    mesh = thin.leaf_quads(rng, rng.normal(size=(40, 3)), rng.uniform(0.1, 0.3, 40), 0.3, 0.5)
    assert len(mesh.faces) == 4 * 40 and len(mesh.vertices) == 6 * 40
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices[:, 3:6], axis=1), 1, atol=1e-5)
    corners = mesh.positions[mesh.faces].astype(float)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    cosine = np.abs((flat * mesh.vertices[mesh.faces, 3:6].mean(1)).sum(1))
    assert np.median(cosine) > 0.97 and cosine.min() > 0.8


def test_grass_stands_and_bushes_are_round() -> None:
    grass, bush = thin.tuft(generator(2)), thin.bush(generator(2))
    assert np.percentile(grass.positions[:, 2], 5) > -0.2
    assert np.ptp(bush.positions, axis=0).min() > 0.8
    assert np.abs(bush.vertices[:, 3:6].mean(0)).max() < 0.4  # leaves lie every way
