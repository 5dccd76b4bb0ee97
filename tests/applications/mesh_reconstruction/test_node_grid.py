import torch

from stablenormal.applications.mesh_reconstruction.node_grid import (
    NodeGrid,
    bends,
    blend,
    cells_touching,
    gradients,
    moved,
    neighbour_values,
)


def full(resolution: int = 9) -> NodeGrid:
    return NodeGrid.around(torch.ones(resolution, resolution, resolution, dtype=torch.bool))


def some(resolution: int = 9) -> NodeGrid:
    drawn = torch.rand(resolution, resolution, resolution, generator=torch.Generator().manual_seed(0))
    return NodeGrid.around(drawn > 0.9)


def inside(grid: NodeGrid, count: int = 400) -> torch.Tensor:
    places = torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    return places[grid.cells[grid.cell_of(places)]]


def test_a_linear_function_is_exact_in_and_between_nodes() -> None:
    for grid in (full(), some()):
        slope = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
        table = (grid.places().double() @ slope + 0.2)[:, None]
        places = inside(grid)
        assert len(places) > 10
        assert torch.allclose(blend(table, *grid.corners(places))[:, 0], places @ slope + 0.2)
        found = gradients(grid, neighbour_values(grid, table[:, 0]))
        rim = grid.neighbours == torch.arange(len(grid.nodes))[:, None]
        known = ~(rim[:, 0::2] & rim[:, 1::2])
        assert torch.allclose(found, slope.expand_as(found) * known, atol=1e-6)
        assert torch.allclose(
            bends(grid, table[:, 0], neighbour_values(grid, table[:, 0])), torch.zeros(1).double(), atol=1e-5
        )


def test_bends_are_the_laplacian_times_the_spacing() -> None:
    grid = full()
    values = grid.places().square().sum(1)
    found = bends(grid, values, neighbour_values(grid, values))
    assert torch.allclose(found[grid.inner], torch.tensor(6 * grid.spacing), atol=1e-4)
    assert not found[~grid.inner].any()
    assert int(grid.inner.sum()) == 7**3


def test_only_wanted_cells_exist() -> None:
    wanted = torch.zeros(9, 9, 9, dtype=torch.bool)
    wanted[2, 3, 4] = wanted[8, 8, 8] = True
    grid = NodeGrid.around(wanted)
    assert len(grid.nodes) == 8
    assert grid.cells.nonzero().tolist() == [[2 * 81 + 3 * 9 + 4]]
    assert torch.equal(grid.rows[grid.nodes], torch.arange(8))


def test_cells_touching() -> None:
    nodes = torch.zeros(4, 4, 4, dtype=torch.bool)
    nodes[1, 2, 3] = True
    found = cells_touching(nodes).nonzero().tolist()
    assert found == [[0, 1, 2], [0, 2, 2], [1, 1, 2], [1, 2, 2]]
    assert moved(nodes, 0, 1).nonzero().tolist() == [[2, 2, 3]]
    assert not moved(nodes, 2, 1).any()


def test_gradients_of_a_blend() -> None:
    grid = some(5)
    table = torch.randn(len(grid.nodes), 3, dtype=torch.float64, requires_grad=True)
    rows, shares = grid.corners(inside(grid, 60))
    assert torch.autograd.gradcheck(lambda values: blend(values, rows, shares), table)
    values = torch.randn(len(grid.nodes), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gradients(grid, neighbour_values(grid, v)), values)
