"""The objective without a group of rows: what leaves, what is left, and its curvature."""

import abc
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from skinfluence._array import Array, Rows, array_namespace, device_of, to_numpy
from skinfluence._kernels import densified
from skinfluence._objective import Objective
from skinfluence._penalty import Penalty
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.curvature import AbstractCurvature, RowwiseCurvature
from skinfluence.solvers import (
    AbstractFactor,
    AbstractSolver,
    Cholesky,
    Point,
    row_terms,
    taken,
)


def without_rows(objective: Objective, rows: Rows) -> Objective:
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


def leaving(objective: Objective, rows: Rows) -> Objective:
    """What leaves with rows: the sum of their losses, and their share of the penalty."""
    design, penalty = objective.design, objective.penalty
    share = penalty.share * _counted(objective, rows)
    return replace(
        objective,
        design=design.picked(rows),
        targets=taken(objective.targets, rows),
        weight=taken(objective.weight, rows),
        penalty=Penalty(share * penalty.strength, share * penalty.slope),
        wider=None,
        counts=None,
        offset=None if objective.offset is None else taken(objective.offset, rows),
    )


def _counted(objective: Objective, rows: Rows) -> float:
    xp = array_namespace(objective.weight)
    return float(xp.sum(taken(objective.counted, rows)))


class AbstractRest(abc.ABC):
    """``inv(H_-G)``: the inverse curvature, at the minimum of all rows, without some."""

    unidentified: bool  # the other rows do not determine the model

    @abc.abstractmethod
    def solve(self, rhs: Array) -> Any:
        """``inv(H_-G) rhs`` for one vector (G, D)."""


class Rests:
    """Makes the curvature without any group, by whichever way costs less.

    A small group downdates the factor of all rows: a system of its rows times outputs.
    One with more of these than the curvature has entries gets a factor of its own: by
    ``Cholesky`` from ``H - H_G``, so that all folds together read the rows once.
    """

    def __init__(self, point: Point, solver: AbstractSolver) -> None:
        self.point, self.solver = point, solver

    def without(self, rows: Array) -> AbstractRest:
        """The curvature without these rows (indices)."""
        layout = self.point.objective.layout
        if rows.shape[0] * layout.group_size <= layout.size:
            return Downdated.of(self.point, rows)
        return self._factored(rows)

    @cached_property
    def _matrix(self) -> Any:
        return self.point.curvature.as_matrix()

    def _factored(self, rows: Rows) -> "Factored":
        point = self.point
        rest = without_rows(point.objective, rows)
        damping = point.curvature.damping
        curvature: Any = RowwiseCurvature(rest, point.theta, damping)
        if isinstance(self.solver, Cholesky):
            gone = RowwiseCurvature(
                leaving(point.objective, rows), point.theta, damping
            )
            curvature = _Difference(curvature, self._matrix, gone)
        factor = self.solver.prepare(curvature)
        # A model that was undetermined before may lose further directions.
        deficient = factor.rank_deficient
        if deficient and point.factor.rank_deficient:
            deficient = factor.effective_dof < point.factor.effective_dof - 0.5
        return Factored(factor, deficient)


@final
@dataclass(frozen=True, eq=False)
class _Difference(AbstractCurvature):
    """``H - H_G`` from the matrix of all rows; anything else from the rows left."""

    rest: RowwiseCurvature
    matrix: Any  # (G or 1, D, D) of all rows
    gone: RowwiseCurvature

    @property
    def size(self) -> int:
        return self.rest.size

    @property
    def objective(self) -> Objective:
        """The objective of the rows left."""
        return self.rest.objective

    @property
    def gauge(self) -> Any:
        """Directions that it does not see."""
        return self.rest.gauge

    @property
    def diagonal_part(self) -> Any:
        """Penalty and damping of the rows left."""
        return self.rest.diagonal_part

    def matvec(self, vectors: Array) -> Any:
        return self.rest.matvec(vectors)

    def as_matrix(self) -> Any:
        return self.matrix - self.gone.as_matrix()

    def upper_root(self) -> Any:
        """``R'R = H_-G``, from the rows: a difference has lost the digits."""
        return self.rest.upper_root()


@final
@dataclass(frozen=True, eq=False)
class Factored(AbstractRest):
    """A factor of its own."""

    factor: AbstractFactor
    unidentified: bool

    def solve(self, rhs: Array) -> Any:
        return self.factor.solve(rhs[..., None]).value[..., 0]


@final
@dataclass(frozen=True, eq=False)
class Downdated(AbstractRest):
    """Woodbury's identity in the group's rows, in its push-through form.

    ``inv(H - X'MX) = inv(H) (I + X' inv(I - M A) M X inv(H))`` with ``A = X inv(H) X'``
    over all pairs of the group's rows: no inverse of M, which softmax does not have. In
    mean form H is that of all rows less the group's share of the penalty.

    References
    ----------
    .. [1] Koh, Ang, Teo & Liang (2019). On the accuracy of influence functions for
       measuring group effects. NeurIPS. Section 2, the one-step Newton approximation.
    """

    point: Point
    block: Any  # (m, q) working rows of the group
    bend: Any  # (m, G or 1, Kb, Kb)
    share: Any  # (1,) of the penalty that leaves; None in sum form
    inverse: Any  # (G, m Kb, m Kb) of I - M A
    unidentified: bool

    @classmethod
    def of(cls, point: Point, rows: Rows) -> "Downdated":
        """The curvature at a point without rows (indices)."""
        terms = row_terms(point, rows)
        xp, share, block = array_namespace(rows), None, densified(terms.block)
        if terms.share is not None:
            share = xp.sum(terms.share, axis=0, keepdims=True)
        A = pair_blocks(point, block, share)
        G, m, Kb = A.shape[:3]
        MA = bent(terms.bend, xp.reshape(A, (G, m, Kb, m * Kb)))
        eye = xp.eye(m * Kb, dtype=A.dtype, device=device_of(A))
        inverse, lost = _inverse(eye - xp.reshape(MA, (G, m * Kb, m * Kb)))
        return cls(point, block, terms.bend, share, inverse, lost)

    def solve(self, rhs: Array) -> Any:
        layout, xp = self.point.objective.layout, array_namespace(rhs)
        first = self.point.factor.steps(rhs[None, ...], self.share)[0, ...]
        inner = layout.grouped(self.block @ layout.unpack(first).T)  # (m, G, Kb)
        inner = bent(self.bend, xp.permute_dims(inner, (1, 0, 2))[..., None])
        G, m, Kb = inner.shape[:3]
        inner = xp.matmul(self.inverse, xp.reshape(inner, (G, m * Kb, 1)))
        slopes = xp.permute_dims(xp.reshape(inner, (G, m, Kb)), (1, 0, 2))
        pushed = layout.pack((layout.ungrouped(slopes).T @ self.block).T)
        more = self.point.factor.steps(pushed[None, ...], self.share)
        return first + more[0, ...]


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


def bent(bend: Array, values: Array) -> Any:
    """``M_i v_i`` for bends (m, G or 1, Kb, Kb) and values (G, m, Kb, c)."""
    xp = array_namespace(values)
    return xp.matmul(xp.permute_dims(bend, (1, 0, 2, 3)), values)


def _inverse(matrices: Array) -> tuple[Any, bool]:
    """Inverses, and whether one of them is lost to rounding."""
    xp = array_namespace(matrices)
    sign, _ = xp.linalg.slogdet(matrices)
    if bool(xp.any(sign == 0)):
        return matrices, True
    inverse = xp.linalg.inv(matrices)
    return inverse, not bool(xp.max(xp.abs(inverse)) * LEAST_REMAINDER <= 1)
