"""The solver against a direct one, on graphs of pixels with jumps in their weights."""

import numpy as np
import pytest
from scipy.sparse.linalg import spsolve

from stablenormal.applications.laplacian_solver import LaplacianSolver, Multigrid
from stablenormal.applications.pixel_graph import PixelGraph


def system(side: int, drift: float = 1e-5):
    """A Laplacian with weights from 0.1 to 1 on a picture with a hole, and a right side."""
    mask = np.ones((side, side), dtype=np.bool_)
    mask[side // 3 : side // 2, side // 4 : side // 2] = False
    graph = PixelGraph.of(mask)
    rng = np.random.default_rng(side)
    weights = 10.0 ** rng.uniform(-1, 0, len(graph.tail))
    matrix = graph.laplacian(weights, np.full(graph.nodes, drift))
    return matrix, graph.divergence(weights * rng.normal(size=len(weights)))


@pytest.mark.parametrize("side", [5, 40, 120])
def test_finds_the_solution(side: int) -> None:
    matrix, right = system(side)
    solver = LaplacianSolver(tolerance=1e-9)
    found = solver.solve(matrix, right, np.zeros_like(right))
    exact = spsolve(matrix.tocsc(), right)
    assert np.abs(found - exact).max() < 1e-5 * np.abs(exact).max()
    assert solver.steps < 20


def test_the_cycle_is_linear_symmetric_and_positive() -> None:
    matrix, right = system(50)
    cycle = Multigrid(matrix)
    other = np.random.default_rng(1).normal(size=len(right))
    a, b = cycle(right), cycle(other)
    assert np.allclose(cycle(right + 2 * other), a + 2 * b, rtol=1e-9, atol=1e-9 * np.abs(b).max())
    assert right @ b == pytest.approx(other @ a, rel=1e-9)
    assert right @ a > 0 and other @ b > 0


def test_pixels_that_hang_on_nothing_are_solved_too() -> None:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[::2, ::2] = True
    graph = PixelGraph.of(mask)
    matrix = graph.laplacian(np.zeros(0), np.linspace(1, 2, graph.nodes))
    right = np.arange(graph.nodes, dtype=np.float64)
    found = LaplacianSolver(1e-12).solve(matrix, right, np.zeros_like(right))
    assert np.allclose(found, right / np.linspace(1, 2, graph.nodes))


def test_a_similar_system_keeps_the_preconditioner_and_a_hard_one_gets_its_own() -> None:
    matrix, right = system(60)
    solver = LaplacianSolver(tolerance=1e-6)
    start = np.zeros_like(right)
    solver.solve(matrix, right, start)
    solver.solve(matrix * 1.1, right, start)
    assert solver.setups == 1
    mask = np.ones((60, 60), dtype=np.bool_)
    mask[20:30, 15:30] = False
    graph = PixelGraph.of(mask)
    for seed in range(2):  # the first takes many steps with the old one
        weights = 10.0 ** np.random.default_rng(seed).uniform(-6, 2, len(graph.tail))
        solver.solve(graph.laplacian(weights, np.full(graph.nodes, 1e-5)), right, start)
    assert solver.setups > 1
