"""The contract of a solver: prepare once, solve for many columns."""

import abc
from typing import Any, NamedTuple

from skinfluence._array import array_namespace
from skinfluence._layout import Layout
from skinfluence.curvature import RowwiseCurvature


class Solution(NamedTuple):
    """Columns x of ``H x = rhs`` with an honest word on how they were reached."""

    value: Any  # (G, D, m)
    n_iter: int
    converged: Any  # (m,) bool


class AbstractFactor(abc.ABC):
    """What a solver has prepared: ``inv(H)`` as an operator, on the quotient by the gauge.

    Where H is singular, a symmetric generalised inverse stands for the inverse.
    """

    condition: float  # of H with unit diagonal, gauge apart
    effective_dof: float  # sum of the leverages, trace of inv(H) (H - penalty'')
    rank_deficient: bool  # unpenalised directions that the rows do not determine

    @abc.abstractmethod
    def solve(self, rhs: Any) -> Solution:
        """``inv(H) @ rhs`` for right-hand sides (G, D, m)."""

    @abc.abstractmethod
    def norm(self, vectors: Any) -> Any:
        """Length ``sqrt(g' inv(H) g)`` of gradients (G, D, m) as Newton steps, (m,)."""

    @abc.abstractmethod
    def row_blocks_of_inverse(
        self, block: Any, layout: Layout, share: Any = None
    ) -> Any:
        """``A_i = X~_i inv(H) X~_i'`` for working rows (b, q), (b, G, Kb, Kb).

        With a ``share`` (b,) of the penalty that leaves with each row, H is
        ``H - share_i penalty''`` here and in ``steps``.
        """

    def steps(self, rows: Any, share: Any = None) -> Any:
        """``inv(H)`` applied to one vector per row: (b, G, D) to (b, G, D)."""
        xp = array_namespace(rows)
        columns = xp.permute_dims(rows, (1, 2, 0))
        return xp.permute_dims(self._shared_solve(columns, share), (2, 0, 1))

    def _shared_solve(self, columns: Any, share: Any) -> Any:
        """``solve`` for (G, D, b), the shares of the penalty taken out if it can."""
        return self.solve(columns).value


class AbstractSolver(abc.ABC):
    """Solver in two halves, so that one factorisation serves many solves."""

    @abc.abstractmethod
    def prepare(self, curvature: RowwiseCurvature) -> AbstractFactor:
        """Do all work that needs only the curvature."""
