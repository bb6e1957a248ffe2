"""Rows that leave the objective, one at a time or together, and what is left of it."""

import abc
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    masked,
    take_rows,
    to_numpy,
)
from skinfluence._kernels import densified
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers import (
    AbstractFactor,
    AbstractSolver,
    Point,
    has_no_minimum,
    own_outputs,
)


def without_rows(objective: Objective, rows: Array) -> Objective:
    """The objective when rows, and their share of the penalty, have left."""
    xp, kept = array_namespace(objective.weight), np.ones(objective.n_rows, dtype=bool)
    kept[to_numpy(rows)] = False
    keep = xp.asarray(kept, device=device_of(objective.weight))
    wider = objective.wider
    return replace(
        objective,
        weight=xp.where(keep, objective.weight, 0.0 * objective.weight),
        penalty=objective.penalty.without(_counted(objective, rows)),
        wider=None if wider is None else without_rows(wider, rows),
    )


def _only_rows(objective: Objective, rows: Array) -> Objective:
    """What leaves with rows: the sum of their losses, and their share of the penalty."""
    design, penalty = objective.design, objective.penalty
    share = penalty.share * _counted(objective, rows)
    return replace(
        objective,
        design=design.take(rows),
        targets=take_rows(objective.targets, rows),
        offset=None if objective.offset is None else take_rows(objective.offset, rows),
        weight=take_rows(objective.weight, rows),
        penalty=Penalty(share * penalty.strength, share * penalty.slope),
        wider=None,
        counts=None,
    )


def _counted(objective: Objective, rows: Array) -> float:
    xp = array_namespace(objective.weight)
    return float(xp.sum(take_rows(objective.counted, rows)))


# --- what leaves ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AbstractLeaving(abc.ABC):
    """Rows that leave in b groups, and the vectors (b, G, D) of these groups."""

    point: Point  # the minimum of all rows
    rows: Any  # m of them, a slice or indices
    block: Any  # (m, q) working rows

    @abc.abstractmethod
    def moves(self, vectors: Array) -> Any:
        """Outputs of the rows by the vector of their group, (m, G, Kb)."""

    @abc.abstractmethod
    def lifted(self, slopes: Array) -> Any:
        """``sum X~_i' slope_i`` over the rows of each group, (m, G, Kb) to (b, G, D)."""

    @abc.abstractmethod
    def downdated(self) -> "Downdated":
        """The curvature without each group, by a system of its rows times outputs."""

    @abc.abstractmethod
    def within(self, inverse: Array, vectors: Array) -> Any:
        """The inverse of that system times (m, G, Kb)."""

    @property
    @abc.abstractmethod
    def share(self) -> Any:
        """What leaves of the penalty with each group, (b,); None in sum form."""

    @abc.abstractmethod
    def objective_without(self, i: int) -> Objective:
        """The objective without group i."""

    @abc.abstractmethod
    def at(self, mask: Array) -> "AbstractLeaving":
        """Those of the groups where the mask (b,) holds."""

    @cached_property
    def weight(self) -> Any:
        """Weights of the rows, (m,)."""
        return take_rows(self.point.objective.weight, self.rows)

    @cached_property
    def targets(self) -> Any:
        """Targets of the rows, (m, K_y)."""
        return take_rows(self.point.objective.targets, self.rows)

    @cached_property
    def outputs(self) -> Any:
        """Linear outputs of the rows, (m, K)."""
        return take_rows(self.point.outputs, self.rows)

    @cached_property
    def bend(self) -> Any:
        """Weighted second derivatives of the rows' losses, (m, G or 1, Kb, Kb)."""
        hessian = self.point.objective.loss.hessian(self.targets, self.outputs)
        return self.weight[:, None, None, None] * hessian

    @property
    def gradient(self) -> Any:
        """What leaves the gradient at the minimum of all rows, (b, G, D)."""
        rows = self.loss_gradient()
        if self.share is None:
            return rows
        penalty = self.point.objective.penalty.gradient(self.point.theta)
        return rows + self.share[:, None, None] * penalty

    def loss_gradient(self, theta: Array | None = None) -> Any:
        """That of the rows' losses alone, at deltas theta (b, G, D) if given."""
        objective, u = self.point.objective, self.outputs
        if theta is not None:
            u = u + objective.layout.ungrouped(self.moves(theta))
        slopes = self.weight[:, None] * objective.loss.gradient(self.targets, u)
        return self.lifted(objective.layout.grouped(slopes))

    def third_product(self, left: Array, right: Array) -> Any:
        """Third derivatives of the rows' losses times vectors, all (b, G, D)."""
        objective = self.point.objective
        layout = objective.layout
        moves = (layout.ungrouped(self.moves(v))[..., None] for v in (left, right))
        bent = objective.loss.third_product(self.targets, self.outputs, *moves)
        return self.lifted(layout.grouped(self.weight[:, None] * bent[..., 0]))

    def _shares(self) -> Any:
        """What leaves of the penalty with each row, (m,); None in sum form."""
        objective = self.point.objective
        share = objective.penalty.share
        return share * take_rows(objective.counted, self.rows) if share else None


@final
@dataclass(frozen=True, eq=False)
class OneByOne(AbstractLeaving):
    """Rows that are groups of one each, b = m."""

    @classmethod
    def of(cls, point: Point, rows: Rows) -> "OneByOne":
        """These rows (a slice or indices) at a point."""
        return cls(point, rows, densified(point.objective.design.block(rows)))

    def moves(self, vectors: Array) -> Any:
        return own_outputs(self.block, vectors, self.point.objective.layout)

    def lifted(self, slopes: Array) -> Any:
        return self.point.objective.layout.lifted(self.block, slopes)

    def downdated(self) -> "Downdated":
        A = self.point.factor.row_blocks_of_inverse(self.block, self.share, self.rows)
        return Downdated(self, *downdated_inverse(self.bend, A))

    def within(self, inverse: Array, vectors: Array) -> Any:
        return product(inverse, vectors)

    @cached_property
    def share(self) -> Any:
        return self._shares()

    def objective_without(self, i: int) -> Objective:
        return without_rows(self.point.objective, self.rows[i : i + 1])

    def at(self, mask: Array) -> "OneByOne":
        return OneByOne(self.point, masked(self.rows, mask), masked(self.block, mask))


@final
@dataclass(frozen=True, eq=False)
class Together(AbstractLeaving):
    """Rows that are one group, b = 1."""

    @classmethod
    def of(cls, point: Point, rows: Array) -> "Together":
        """These rows (indices) at a point."""
        return cls(point, rows, point.objective.design.block(rows))

    def moves(self, vectors: Array) -> Any:
        layout = self.point.objective.layout
        return layout.grouped(self.block @ layout.unpack(vectors[0, ...]).T)

    def lifted(self, slopes: Array) -> Any:
        layout = self.point.objective.layout
        return layout.pack((layout.ungrouped(slopes).T @ self.block).T)[None, ...]

    def downdated(self) -> "Downdated":
        A = pair_blocks(self.point, densified(self.block), self.share)
        xp, (G, m, Kb) = array_namespace(A), A.shape[:3]
        bend = xp.permute_dims(self.bend, (1, 0, 2, 3))
        MA = xp.matmul(bend, xp.reshape(A, (G, m, Kb, m * Kb)))
        eye = xp.eye(m * Kb, dtype=A.dtype, device=device_of(A))
        remainder = eye - xp.reshape(MA, (G, m * Kb, m * Kb))
        inverse, lost = inverse_of(remainder)
        return Downdated(self, inverse, xp.any(lost, axis=0, keepdims=True))

    def within(self, inverse: Array, vectors: Array) -> Any:
        xp, (m, G, Kb) = array_namespace(vectors), vectors.shape
        flat = xp.reshape(xp.permute_dims(vectors, (1, 0, 2)), (G, m * Kb, 1))
        flat = xp.matmul(inverse, flat)
        return xp.permute_dims(xp.reshape(flat, (G, m, Kb)), (1, 0, 2))

    @cached_property
    def share(self) -> Any:
        shares = self._shares()
        if shares is None:
            return None
        return array_namespace(shares).sum(shares, axis=0, keepdims=True)

    def objective_without(self, i: int) -> Objective:
        return without_rows(self.point.objective, self.rows)

    def at(self, mask: Array) -> "Together":
        return self

    @property
    def unbounded(self) -> bool:
        """Whether the rows left are known to have no finite optimum."""
        if self.point.objective.loss.quadratic:
            return False
        return has_no_minimum(self.objective_without(0), self.point.outputs)


# --- the curvature that is left -------------------------------------------------------


class Step(NamedTuple):
    """``inv(H_-G) v`` of b groups."""

    value: Any  # (b, G, D)
    pushed: Any  # (b, G, D), and ``value = inv(B) pushed``

    @property
    def length(self) -> Any:
        """Length as B measures it, (b,)."""
        return length(self.pushed, self.value)


class AbstractRest(abc.ABC):
    """``inv(H_-G)`` at the minimum of all rows for b groups, by a factor of some ``B``."""

    unidentified: Any  # (b,) bool: the rows left do not determine the model

    @abc.abstractmethod
    def pushed(self, vectors: Array) -> Any:
        """What ``inv(B)`` has to be applied to for ``inv(H_-G) v``, (b, G, D)."""

    @abc.abstractmethod
    def steps(self, pushed: Array) -> Any:
        """``inv(B)`` applied to it, (b, G, D)."""

    @abc.abstractmethod
    def at(self, mask: Array) -> "AbstractRest":
        """Those of the groups where the mask (b,) holds."""

    def solve(self, vectors: Array) -> Step:
        """``inv(H_-G) v`` for a vector of each group, (b, G, D)."""
        pushed = self.pushed(vectors)
        return Step(self.steps(pushed), pushed)


def length(pushed: Array, steps: Array) -> Any:
    """Length of steps ``inv(B) pushed`` as B measures it, (b,)."""
    xp = array_namespace(steps)
    squared = xp.sum(pushed * steps, axis=(1, 2))
    return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))


@final
@dataclass(frozen=True, eq=False)
class Downdated(AbstractRest):
    """Woodbury's identity in the groups' rows, in its push-through form.

    ``inv(H - X'MX) = inv(H) (I + X' inv(I - M A) M X inv(H))`` with ``A = X inv(H) X'``
    over all pairs of a group's rows: no inverse of M, which softmax does not have. In
    mean form H is that of all rows less the group's share of the penalty.

    References
    ----------
    .. [1] Koh, Ang, Teo & Liang (2019). On the accuracy of influence functions for
       measuring group effects. NeurIPS. Section 2, the one-step Newton approximation.
    """

    leaving: AbstractLeaving
    inverse: Any  # of I - M A: (b, G, Kb, Kb), or (G, m Kb, m Kb) of one group
    unidentified: Any

    def pushed(self, vectors: Array) -> Any:
        leaving = self.leaving
        moves = leaving.moves(self.steps(vectors))
        inner = leaving.within(self.inverse, product(leaving.bend, moves))
        return vectors + leaving.lifted(inner)

    def steps(self, pushed: Array) -> Any:
        return self.leaving.point.factor.steps(pushed, self.leaving.share)

    def at(self, mask: Array) -> "Downdated":
        leaving = self.leaving.at(mask)
        if leaving is self.leaving:
            return self
        inverse, unidentified = self.inverse, self.unidentified
        return Downdated(leaving, masked(inverse, mask), masked(unidentified, mask))


@final
@dataclass(frozen=True, eq=False)
class Factored(AbstractRest):
    """A factor of its own for one group."""

    factor: AbstractFactor
    unidentified: Any

    def pushed(self, vectors: Array) -> Any:
        return vectors

    def steps(self, pushed: Array) -> Any:
        return self.factor.steps(pushed)

    def at(self, mask: Array) -> "Factored":
        return self


@final
@dataclass(frozen=True, eq=False)
class Rests:
    """Makes the curvature without any group, by whichever way costs less.

    A small group downdates the factor of all rows: a system of its rows times outputs.
    One with more of these than the curvature has entries gets a factor of its own. A
    solver that reads H as a matrix gets ``H - H_G``, so that all folds together read the
    rows once.
    """

    point: Point
    solver: AbstractSolver

    def of(self, rows: Array) -> tuple[Together, AbstractRest]:
        """The group of these rows (indices), and the curvature without it."""
        leaving, layout = Together.of(self.point, rows), self.point.objective.layout
        if rows.shape[0] * layout.group_size <= layout.size:
            return leaving, leaving.downdated()
        return leaving, self._factored(rows)

    @cached_property
    def _matrix(self) -> Any:
        return self.point.curvature.as_matrix()

    def _factored(self, rows: Array) -> Factored:
        point = self.point
        rest = without_rows(point.objective, rows)
        damping = point.curvature.damping
        curvature = RowwiseCurvature(rest, point.theta, damping)
        if self.solver.reads_matrix:
            own = _only_rows(point.objective, rows)
            gone = RowwiseCurvature(own, point.theta, damping)
            curvature = curvature.with_matrix(self._matrix - gone.as_matrix())
        factor = self.solver.prepare(curvature)
        # A model that was undetermined before may lose further directions.
        deficient = factor.rank_deficient
        if deficient and point.factor.rank_deficient:
            deficient = factor.effective_dof < point.factor.effective_dof - 0.5
        xp, device = array_namespace(point.theta), device_of(point.theta)
        return Factored(factor, xp.full(1, deficient, dtype=xp.bool, device=device))


# --- small systems --------------------------------------------------------------------


def downdated_inverse(bend: Array, A: Array) -> tuple[Any, Any]:
    """``inv(I - s_i M_i A_i)`` (b, G, Kb, Kb), NaN and True where it does not exist."""
    xp = array_namespace(A)
    if A.shape[-1] == 1:  # plain division then, many times faster
        remainder = 1 - bend * A
        lost = xp.abs(remainder) < LEAST_REMAINDER
        nothing = xp.asarray(xp.nan, dtype=A.dtype, device=device_of(A))
        inverse = 1 / xp.where(lost, nothing, remainder)
        return inverse, xp.any(lost[..., 0, 0], axis=1)
    eye = xp.eye(A.shape[-1], dtype=A.dtype, device=device_of(A))
    inverse, lost = inverse_of(eye - xp.matmul(bend, A))
    return inverse, xp.any(lost, axis=1)


def inverse_of(matrices: Array) -> tuple[Any, Any]:
    """Inverses (..., m, m), and where they are lost to rounding: NaN there, and True."""
    xp = array_namespace(matrices)
    eye = xp.eye(matrices.shape[-1], dtype=matrices.dtype, device=device_of(matrices))
    nothing = xp.asarray(xp.nan, dtype=matrices.dtype, device=device_of(matrices))
    singular = xp.linalg.slogdet(matrices)[0] == 0
    inverse = xp.linalg.inv(xp.where(singular[..., None, None], eye, matrices))
    largest = xp.max(xp.abs(inverse), axis=(-2, -1))
    lost = singular | ~(largest * LEAST_REMAINDER <= 1)
    return xp.where(lost[..., None, None], nothing, inverse), lost


def pair_blocks(point: Point, block: Array, share: Array | None = None) -> Any:
    """``X~_i inv(H) X~_j'`` of all pairs of rows (m, q), (G, m, Kb, m, Kb)."""
    layout, xp = point.objective.layout, array_namespace(block)
    m, G, Kb = block.shape[0], layout.n_groups, layout.group_size
    eye = xp.eye(Kb, dtype=block.dtype, device=device_of(block))
    shares = None if share is None else xp.broadcast_to(share, (m,))
    columns = []
    for k in range(Kb):  # output k of all groups at once
        unit = xp.broadcast_to(eye[k, :], (m, G, Kb))
        steps = point.factor.steps(layout.lifted(block, unit), shares)  # (m, G, D)
        parts = xp.reshape(steps, (m, G, Kb, layout.width))
        columns.append(xp.matmul(parts, block.T))  # (m, G, Kb, m)
    return xp.permute_dims(xp.stack(columns), (2, 4, 3, 1, 0))


def product(matrices: Array, vectors: Array) -> Any:
    """``matrices @ vectors`` for (b, G or 1, Kb, Kb) and (b, G, Kb)."""
    if vectors.shape[-1] == 1:  # many times faster
        return matrices[..., 0] * vectors
    return array_namespace(vectors).matmul(matrices, vectors[..., None])[..., 0]
