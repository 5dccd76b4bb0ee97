"""Conjugate gradients with an algebraic multigrid preconditioner that is kept while it is good enough.

pyamg gives the aggregation and the smoother. Its solver as a whole sets up anew for each matrix, which costs
ten steps; the weights of an integration change a little from solve to solve, so the set-up is kept here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from pyamg.aggregation import standard_aggregation
from pyamg.relaxation.relaxation import gauss_seidel
from scipy.linalg import cho_factor, cho_solve

from stablenormal.errors import SettingError

Floats = npt.NDArray[np.float64]

STALE_AFTER = 14
"""Steps of conjugate gradients in one solve from which on the next one gets a new preconditioner.

A set-up costs about as much as ten steps; a fresh one needs 6 to 8 steps on a picture.
"""

COARSEST = 300
"""Unknowns of the level that is solved directly, at most."""

MAX_STEPS = 200
"""Steps after which a solve returns what it has; the outer iteration goes on from there."""


@dataclass(frozen=True, eq=False)
class _Level:
    matrix: sparse.csr_matrix
    along: sparse.csr_matrix
    """From the next, coarser level to this one."""
    back: sparse.csr_matrix


class Multigrid:
    """One V-cycle of smoothed aggregation (Vanek, Mandel, Brezina: Computing 56, 1996) as preconditioner.

    Unlike in `pyamg.smoothed_aggregation_solver` all levels stay in compressed rows, whose set-up needs no
    loop in Python, and no norms are taken. No random numbers: same bits every time.
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        """Make the levels of a symmetric positive definite (N, N) with sorted rows."""
        self._levels: list[_Level] = []
        while matrix.shape[0] > COARSEST:
            groups = standard_aggregation(matrix)[0].astype(np.float64)  # (N, n) of 0 and 1, or empty rows
            if groups.nnz == 0 or groups.shape[1] > 0.9 * matrix.shape[0]:
                break
            # Jacobi's step at 2/3: half of a row's sum of magnitudes is the diagonal of a Laplacian.
            scale = -4 / 3 / np.asarray(abs(matrix).sum(axis=1)).ravel()
            along = (groups + sparse.diags(scale) @ (matrix @ groups)).tocsr()
            back = along.T.tocsr()
            self._levels.append(_Level(matrix, along, back))
            matrix = (back @ matrix @ along).tocsr()
            matrix.sort_indices()
        self._coarsest = matrix
        small = matrix.shape[0] <= COARSEST
        self._factor = cho_factor(matrix.toarray(), check_finite=False) if small else None

    def __call__(self, right: Floats) -> Floats:
        """An estimate (N,) of the solution of A x = right; linear, symmetric and positive in it."""
        return self._cycle(0, right)

    def _cycle(self, depth: int, right: Floats) -> Floats:
        if depth == len(self._levels):
            return self._solve_coarsest(right)
        level = self._levels[depth]
        solution = np.zeros_like(right)
        gauss_seidel(level.matrix, solution, right, sweep="forward")
        solution += level.along @ self._cycle(depth + 1, level.back @ (right - level.matrix @ solution))
        gauss_seidel(level.matrix, solution, right, sweep="backward")
        return solution

    def _solve_coarsest(self, right: Floats) -> Floats:
        if self._factor is not None:
            solved: Floats = cho_solve(self._factor, right, check_finite=False)
            return solved
        solution = np.zeros_like(right)  # pixels that hang on nothing: exact after one sweep
        gauss_seidel(self._coarsest, solution, right, sweep="symmetric")
        return solution


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
        self._preconditioner: Multigrid | None = None
        self.steps = 0
        """Steps of conjugate gradients so far."""
        self.setups = 0
        """Preconditioners made so far."""

    def solve(self, matrix: sparse.csr_matrix, right: Floats, start: Floats) -> Floats:
        """The solution, (N,), from the estimate `start`, (N,)."""
        precondition = self._preconditioner_for(matrix)
        solution = start.copy()
        residual = right - matrix @ solution
        improved = precondition(residual)
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
            improved = precondition(residual)
            previous, energy = energy, float(residual @ improved)
            direction *= energy / previous
            direction += improved
        self.steps += taken
        if taken > STALE_AFTER:
            self._preconditioner = None
        return solution

    def _preconditioner_for(self, matrix: sparse.csr_matrix) -> Multigrid:
        if self._preconditioner is None:
            self._preconditioner = Multigrid(matrix)
            self.setups += 1
        return self._preconditioner
