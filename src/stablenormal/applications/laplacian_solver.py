"""Conjugate gradients with an algebraic multigrid preconditioner that is kept while it is good enough."""

import numpy as np
import numpy.typing as npt
import pyamg
import scipy.sparse as sparse

from stablenormal.errors import SettingError

Floats = npt.NDArray[np.float64]

STALE_AFTER = 14
"""Steps of conjugate gradients in one solve from which on the next one gets a new preconditioner.

A set-up costs about as much as ten steps; a fresh one needs 6 to 8 steps on a picture.
"""

MAX_STEPS = 200
"""Steps after which a solve returns what it has; the outer iteration goes on from there."""


class LaplacianSolver:
    """Solves a sequence of similar systems A x = b, A symmetric positive definite."""

    def __init__(self, tolerance: float = 3e-4) -> None:
        """Make a solver.

        Args:
            tolerance: largest error in the energy norm, as the preconditioner sees it, relative to that
                of the first start. The residual's own norm is blind to a part that floats as a whole.

        Raises:
            SettingError: if it is not positive.
        """
        if tolerance <= 0:
            raise SettingError(f"tolerance = {tolerance} can never be reached; choose a positive number")
        self._tolerance = tolerance
        self._scale: float | None = None
        self._preconditioner: sparse.linalg.LinearOperator | None = None
        self.steps = 0
        """Steps of conjugate gradients so far."""
        self.setups = 0
        """Preconditioners made so far."""

    def solve(self, matrix: sparse.csr_matrix, right: Floats, start: Floats) -> Floats:
        """The solution, (N,), from the estimate `start`, (N,)."""
        precondition = self._preconditioner_for(matrix)
        solution = start.copy()
        residual = right - matrix @ solution
        improved = precondition @ residual
        energy = float(residual @ improved)
        if self._scale is None:
            self._scale = energy
        goal = self._tolerance**2 * self._scale
        direction = improved.copy()
        taken = 0
        while energy > goal and taken < MAX_STEPS:
            image = matrix @ direction
            length = energy / float(direction @ image)
            solution += length * direction
            residual -= length * image
            taken += 1
            improved = precondition @ residual
            previous, energy = energy, float(residual @ improved)
            direction *= energy / previous
            direction += improved
        self.steps += taken
        if taken > STALE_AFTER:
            self._preconditioner = None
        return solution

    def _preconditioner_for(self, matrix: sparse.csr_matrix) -> sparse.linalg.LinearOperator:
        if self._preconditioner is None:
            self._preconditioner = _hierarchy(matrix).aspreconditioner(cycle="V")
            self.setups += 1
        return self._preconditioner


def _hierarchy(matrix: sparse.csr_matrix) -> pyamg.multilevel.MultilevelSolver:
    hierarchy = pyamg.smoothed_aggregation_solver(
        matrix,
        strength=("symmetric", {"theta": 0.0}),
        # Row sums bound the spectrum of a Laplacian well, and draw no random numbers: same bits every time.
        smooth=("jacobi", {"weighting": "local"}),
        # One sweep forward before and one backward after is symmetric, at half the default's cost.
        presmoother=("gauss_seidel", {"sweep": "forward"}),
        postsmoother=("gauss_seidel", {"sweep": "backward"}),
        max_coarse=300,
    )
    for level in hierarchy.levels:  # blocks of 1 x 1, as they come, are three times slower than rows
        level.A = level.A.tocsr()
    for level in hierarchy.levels[:-1]:
        level.P, level.R = level.P.tocsr(), level.R.tocsr()
    return hierarchy
