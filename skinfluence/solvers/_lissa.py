"""LiSSA: a truncated Neumann series on sampled rows, as published, for comparison."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from skinfluence._array import Array, array_namespace, device_of, take_rows, to_numpy
from skinfluence._kernels import densified
from skinfluence._rows import map_over_rows
from skinfluence.curvature import AbstractCurvature
from skinfluence.solvers._base import (
    AbstractFactor,
    AbstractSolver,
    Residuals,
    Solution,
)
from skinfluence.solvers._conjugate_gradient import ConjugateGradient

# Rows sampled, and made dense, at a time.
_DRAWN = 256


@final
@dataclass(frozen=True, eq=False)
class Lissa(AbstractSolver):
    """``v <- b + (I - H_i / scale) v`` over randomly drawn rows i, averaged over repeats.

    ``scale`` is an upper bound on the norm of every ``H_i``, without which the series
    need not converge: the largest ``|M_i| |x~_i|**2`` plus the largest penalty over S.
    Its error is random, of a size that ``residual_`` reports; columns that end above
    ``tol`` count as not converged. Steps to the minimum are not taken with it.

    References
    ----------
    .. [1] Agarwal, Bullins & Hazan (2017). Second-order stochastic optimization for
       machine learning in linear time. JMLR 18. Algorithm 1.
    .. [2] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. ICML. Section 3, stochastic estimation.
    """

    depth: int = 5000
    repeats: int = 10
    random_state: Any = None
    tol: float = 0.1
    residuals: Residuals = field(default_factory=Residuals)
    name: ClassVar[str] = "lissa"
    polishes: ClassVar[bool] = False

    def prepare(self, curvature: AbstractCurvature) -> "LissaFactor":
        return LissaFactor(curvature, self)


@final
@dataclass(frozen=True, eq=False)
class LissaFactor(AbstractFactor):
    """``inv(H)`` as the mean of random series."""

    affordable: ClassVar[int] = 32
    solver: Lissa

    @cached_property
    def condition(self) -> float:
        return self._iterated.condition

    @cached_property
    def effective_dof(self) -> float:
        return self._iterated.effective_dof

    @cached_property
    def rank_deficient(self) -> bool:
        """Not known."""
        return False

    @cached_property
    def _iterated(self) -> AbstractFactor:
        return ConjugateGradient().prepare(self.curvature)

    def solve(self, rhs: Array) -> Solution:
        xp, rhs = array_namespace(rhs), self.curvature.on_moving(rhs)
        value = self._series(rhs)
        left = rhs - self.curvature.matvec(value)
        size = xp.sqrt(xp.sum(rhs**2, axis=(0, 1)))
        residual = xp.sqrt(xp.sum(left**2, axis=(0, 1)))
        residual = xp.where(
            size > 0, residual / xp.where(size > 0, size, 1.0), residual
        )
        converged = residual <= self.solver.tol
        self.solver.residuals.add(residual, converged)
        return Solution(value, self.solver.depth, converged)

    def norm(self, vectors: Array) -> Any:  # at least 0, whatever the draws were
        xp = array_namespace(vectors)
        squared = xp.sum(vectors * self.solve(vectors).value, axis=(0, 1))
        return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))

    @cached_property
    def scale(self) -> float:
        """Upper bound on the norm of the curvature of any one row, penalty included."""
        objective = self.curvature.objective
        outputs, loss = self.curvature.first_order.outputs, objective.loss
        M, xp = loss.hessian(objective.targets, outputs), array_namespace(outputs)
        traces = xp.max(xp.sum(xp.linalg.diagonal(M), axis=-1), axis=-1)  # >= |M_i|
        norms = map_over_rows(
            lambda block: xp.sum(densified(block) ** 2, axis=1), objective.design
        )
        ridge = xp.max(self.curvature.diagonal_part) / objective.weight_sum
        return float(xp.max(traces * norms) + ridge)

    def _series(self, rhs: Array) -> Any:
        """``H x = rhs`` as ``H_bar x = rhs / S``, by the mean of the repeats."""
        layout, solver = self.layout, self.solver
        xp = array_namespace(rhs)
        rng = _generator(solver.random_state)
        start = layout.side_by_side(rhs) / self.curvature.objective.weight_sum
        total = xp.zeros_like(start)
        for _ in range(solver.repeats):
            total = total + self._one_series(start, rhs.shape[-1], rng)
        value = layout.stacked(total.T) / (self.scale * solver.repeats)
        return self.curvature.within(value)

    def _one_series(self, start: Array, m: int, rng: np.random.Generator) -> Any:
        objective, layout = self.curvature.objective, self.layout
        xp = array_namespace(start)
        ridge = self.curvature.diagonal_part[..., None] / objective.weight_sum
        shape = (layout.n_groups, layout.size, m)
        ridge = layout.side_by_side(xp.broadcast_to(ridge, shape))
        ones = xp.ones(shape, dtype=start.dtype, device=device_of(start))
        step = layout.side_by_side(self.curvature.on_moving(ones)) / self.scale
        v, depth = start, self.solver.depth
        for first in range(0, depth, _DRAWN):
            block, y, u = self._drawn(min(_DRAWN, depth - first), rng)
            for i in range(block.shape[0]):
                row = slice(i, i + 1)
                x = block[row, :]
                moves = xp.reshape(x @ v, (1, layout.n_outputs, m))
                slopes = objective.loss.hessian_product(y[row, :], u[row, :], moves)
                Hv = x.T @ xp.reshape(slopes, (1, -1)) + ridge * v
                v = start + v - step * Hv
        return v

    def _drawn(self, count: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
        """Rows drawn in proportion to their weights: block, targets and outputs."""
        objective = self.curvature.objective
        xp = array_namespace(self.curvature.theta)
        weight = to_numpy(objective.weight)
        rows = rng.choice(len(weight), size=count, p=weight / weight.sum())
        rows = xp.asarray(rows, device=device_of(self.curvature.theta))
        outputs = self.curvature.first_order.outputs
        y, u = take_rows(objective.targets, rows), take_rows(outputs, rows)
        return densified(objective.design.block(rows)), y, u


def _generator(random_state: Any) -> np.random.Generator:
    """A generator from a seed, None or a RandomState, which it does not advance twice."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(random_state)
