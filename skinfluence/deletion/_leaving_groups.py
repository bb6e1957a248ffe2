"""Groups of rows that leave together: by a small system, or by a factor of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from skinfluence._array import (
    Array,
    array_namespace,
    device_of,
    like,
    take_rows,
)
from skinfluence._kernels import densified
from skinfluence._objective import Objective
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.curvature import RowwiseCurvature
from skinfluence.deletion._leaving import AbstractLeaving, Step
from skinfluence.deletion._small_systems import inverse_of, pair_blocks, stretch_of
from skinfluence.solvers import (
    AbstractFactor,
    AbstractSolver,
    Nearby,
    Point,
    has_no_minimum,
    row_terms,
)

# Of the power method, to see whether a group's curvature is all but gone.
_POWER_STEPS = 3
# What that estimate may lack.
_LACKING = 1.1


@dataclass(frozen=True, eq=False)
class AbstractGroup(AbstractLeaving):
    """Rows (indices) that are one group, b = 1."""

    how: ClassVar[str] = "without_group"
    gone: Objective  # of these rows alone

    def moves(self, vectors: Array) -> Any:
        xp = array_namespace(vectors)
        moves = self.gone.moves(xp.permute_dims(vectors, (1, 2, 0)))  # (m, K, 1)
        return self.gone.layout.grouped(moves[..., 0])

    def lifted(self, slopes: Array) -> Any:
        xp = array_namespace(slopes)
        lifted = self.gone.lifted_sum(self.gone.layout.ungrouped(slopes)[..., None])
        return xp.permute_dims(lifted, (2, 0, 1))

    def gradient_without(self, theta: Array, change: Callable[[], Any]) -> Any:
        rest = self.objective_without(0)
        return rest.first_order(self.point.theta + theta[0, ...]).gradient[None, ...]

    def objective_without(self, i: int) -> Objective:
        return self.point.without(self.rows)

    @cached_property
    def factors(self) -> Any:
        return self.point.objective.group_factors(self.rows)

    def at(self, mask: Array) -> "AbstractGroup":
        return self

    def nearby(self) -> Nearby | None:
        vicinity, around = self.point.vicinity, self.rows
        return None if vicinity is None else vicinity.around_group(around, self.stretch)

    @property
    def unbounded(self) -> bool:
        """Whether the rows left are known to have no finite optimum."""
        rest, quadratic = self.objective_without(0), self.gone.loss.quadratic
        return not quadratic and has_no_minimum(rest, self.point.outputs)


@final
@dataclass(frozen=True, eq=False)
class SmallGroup(AbstractGroup):
    """A group whose rows times outputs are fewer than the entries of the curvature."""

    inverse: Any  # (G, m Kb, m Kb) of I - M A

    @classmethod
    def of(cls, point: Point, rows: Array) -> "SmallGroup":
        """By a system of the group's rows times outputs. Cost: ``m**2 d + m**3``."""
        terms, share = row_terms(point, rows), group_share(point.objective, rows)
        A = pair_blocks(point, densified(terms.block), share)
        xp, (G, m, Kb) = array_namespace(A), A.shape[:3]
        bend = xp.permute_dims(terms.bend, (1, 0, 2, 3))
        MA = xp.matmul(bend, xp.reshape(A, (G, m, Kb, m * Kb)))
        eye = xp.eye(m * Kb, dtype=A.dtype, device=device_of(A))
        inverse, lost = inverse_of(eye - xp.reshape(MA, (G, m * Kb, m * Kb)))
        lost = xp.any(lost, axis=0, keepdims=True)
        changes, gone = point.objective.group_changes(rows), point.objective.only(rows)
        return cls(point, rows, share, changes, lost, gone, inverse)

    @cached_property
    def held_stretch(self) -> Any:
        return stretch_of(self.inverse[None, ...], self.share)

    def pushed(self, vectors: Array) -> Any:
        return self._downdated(vectors, self._within)

    def _within(self, inner: Array) -> Any:
        xp, (m, G, Kb) = array_namespace(inner), inner.shape
        flat = xp.reshape(xp.permute_dims(inner, (1, 0, 2)), (G, m * Kb, 1))
        flat = xp.reshape(xp.matmul(self.inverse, flat), (G, m, Kb))
        return xp.permute_dims(flat, (1, 0, 2))


@final
@dataclass(frozen=True, eq=False)
class LargeGroup(AbstractGroup):
    """A group whose curvature without it has a factor of its own."""

    factor: AbstractFactor
    remainder: float  # least eigenvalue of inv(H) H_-G; 0 where it is not known

    @classmethod
    def of(
        cls, point: Point, rows: Array, solver: AbstractSolver, matrix: Any
    ) -> "LargeGroup":
        """By ``H - H_G``, of which H is known. Cost: ``m d**2 + d**3``."""
        objective, damping = point.objective, point.curvature.damping
        rest, gone = objective.without(rows), objective.only(rows)
        changes = objective.group_changes(rows)
        curvature = RowwiseCurvature(rest, point.theta, damping)
        if not solver.reads_matrix:
            factor = solver.prepare(curvature)
            hidden, remainder = not determines(factor, point.factor), 0.0
        else:  # all folds together read the rows once
            whole, sums = matrix(), point.class_sums
            if sums is None or sums.hessians is not None:
                left = whole - _leaving_matrix(point, rows, gone)
                if changes is not None:
                    left = left + _diagonal(_gained(objective, gone, changes))
                curvature = curvature.with_matrix(left)
            factor = solver.prepare(curvature)
            hidden = not determines(factor, point.factor)
            remainder = _least_remainder(factor, whole)
            hidden = hidden or remainder < LEAST_REMAINDER
        xp, device = array_namespace(point.theta), device_of(point.theta)
        lost = xp.full(1, hidden, dtype=xp.bool, device=device)
        share = group_share(objective, rows)
        return cls(point, rows, share, changes, lost, gone, factor, remainder)

    @cached_property
    def held_stretch(self) -> Any:
        xp, theta = array_namespace(self.point.theta), self.point.theta
        value = _LACKING / max(self.remainder, LEAST_REMAINDER**2)
        return xp.full(1, value, dtype=theta.dtype, device=device_of(theta))

    # The factor is in the units without the group.

    @property
    def unidentified(self) -> Any:
        return self.undetermined

    @property
    def stretch(self) -> Any:
        return self._spread * self.held_stretch

    def solve(self, vectors: Array) -> Step:
        return self._solved(vectors)

    def pushed(self, vectors: Array) -> Any:
        return vectors

    def steps(self, pushed: Array) -> Any:
        return self.factor.loss_steps(pushed)


def _leaving_matrix(point: Point, rows: Array, gone: Objective) -> Any:
    """What leaves H with a group, what its absence changes of other rows included."""
    sums, damping = point.class_sums, point.curvature.damping
    if sums is None:
        return RowwiseCurvature(gone, point.theta, damping).as_matrix()
    factors = point.objective.group_factors(rows)
    gone = gone.weighted(sums.weights.of_rows(factors, rows))
    own = RowwiseCurvature(gone, point.theta, damping).as_matrix()
    return own - sums.matrix(factors)


def _gained(objective: Objective, gone: Objective, changes: Array) -> Any:
    """What the penalty left by a group gains by other units, (G or 1, D)."""
    strength = objective.penalty.strength - gone.penalty.strength
    return (changes * strength)[0, ...]


def _diagonal(values: Array) -> Any:
    """Matrices (G or 1, D, D) of their diagonals (G or 1, D)."""
    xp, D = array_namespace(values), values.shape[-1]
    return xp.eye(D, dtype=values.dtype, device=device_of(values)) * values[:, None, :]


def _least_remainder(rest: AbstractFactor, whole: Array) -> float:
    """Least eigenvalue of ``inv(H) H_-G`` for H as a matrix, from above: a few per cent.

    By the power method for its inverse, which a small eigenvalue ends in a step or two.
    """
    xp, layout = array_namespace(whole), rest.layout
    random = np.random.default_rng(0).normal(size=(layout.n_groups, layout.size, 1))
    vector = rest.curvature.seen(like(random, whole))
    least = 1.0
    for _ in range(_POWER_STEPS):
        pushed = xp.matmul(whole, vector)
        vector = rest.curvature.seen(rest.solve(pushed).value)
        length = float(xp.sum(vector * xp.matmul(whole, vector))) ** 0.5
        if length == 0:  # nothing may move
            break
        before = float(xp.sum(pushed * vector)) / length  # 1 / the growth
        least = min(least, before / length)
        vector = vector / length
    return least


def determines(rest: AbstractFactor, whole: AbstractFactor) -> bool:
    """Whether the rows left determine as much of the model as all rows do."""
    if not rest.rank_deficient:
        return True
    # A model that was undetermined before may lose further directions.
    lost = whole.effective_dof - rest.effective_dof
    return whole.rank_deficient and lost < 0.5


def group_share(objective: Objective, rows: Array) -> Any:
    """What leaves of the penalty with a group, (1,); None in sum form."""
    if not objective.penalty.share:
        return None
    xp = array_namespace(objective.weight)
    counted = xp.sum(take_rows(objective.counted, rows), axis=0, keepdims=True)
    return objective.penalty.share * counted
