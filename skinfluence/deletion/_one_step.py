"""One step from the minimum: the infinitesimal jackknife and the Newton step.

For single rows both have the form ``delta_i = inv(H) X~_i' c_i`` with coefficients
``c_i`` (G, Kb), so leave-one-out outputs need only ``A_i = X~_i inv(H) X~_i'`` and no
vector of length D.
"""

import abc
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, ClassVar, final

from skinfluence._array import Array, Rows, array_namespace
from skinfluence.deletion._base import AbstractDeletion, Deltas, indices_of
from skinfluence.deletion._leaving import (
    AbstractGroup,
    LargeGroup,
    SmallGroup,
    downdated_inverse,
    product,
)
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    RowTerms,
    own_outputs,
    row_gradients,
    row_terms,
)


class AbstractOneStep(AbstractDeletion):
    """Deltas that are one solve away from coefficients of the row."""

    n_steps: ClassVar[int]

    @property
    def error(self) -> float:
        """Bound of the error: 0 where the deltas are exact, else unknown."""
        return inf

    @abc.abstractmethod
    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        """``(c, unidentified)``, shapes (b, G, Kb) and (b,); A if it is at hand."""

    def certified(
        self,
        theta: Array,
        unidentified: Array | bool = False,
        unbounded: Array | bool = False,
    ) -> Deltas:
        """Deltas with what is known of their error, NaN where they do not exist."""
        xp, flags = array_namespace(theta), (unidentified, unbounded)
        last = xp.full_like(theta, self.error)
        deltas = Deltas.of(theta, last, self.n_steps, True, *flags)
        if not bool(xp.any(deltas.is_missing)):
            return deltas
        lost = deltas.is_missing[:, None, None]
        return deltas._replace(theta=xp.where(lost, xp.nan, theta))

    @abc.abstractmethod
    def _downdated(self, terms: RowTerms) -> Any:
        """Shares of the penalty that leave the curvature too, (b,) or None."""

    def unbounded(self, rows: Rows) -> Any:
        """Rows without which there is no finite optimum, (b,) bool or False."""
        return False

    def deltas(self, rows: Rows) -> Deltas:
        return self.deltas_of(
            row_terms(self.point, rows), unbounded=self.unbounded(rows)
        )

    def deltas_of(
        self,
        terms: RowTerms,
        A: Array | None = None,
        unbounded: Array | bool = False,
    ) -> Deltas:
        """The same where the terms of the rows, perhaps also A, are at hand."""
        c, unidentified = self.coefficients(terms, A)
        return self.certified(self._steps(terms, c), unidentified, unbounded)

    def _steps(self, terms: RowTerms, c: Any) -> Any:
        factor, share = self.point.factor, self._downdated(terms)
        if terms.share is not None and not _alike(terms.share):
            return factor.loss_steps(row_gradients(self.point, terms, c), share)
        steps = factor.row_steps(terms.block, c, share)
        if terms.share is None:
            return steps
        return steps + penalty_steps(self.point, terms, share)

    def outputs(self, rows: Rows) -> tuple[Any, Any, Any]:
        terms = row_terms(self.point, rows, for_products=True)
        layout, share = self.point.objective.layout, self._downdated(terms)
        A = self.point.factor.loss_blocks(terms.block, share, terms.rows)
        c, unidentified = self.coefficients(terms, A)
        moves = product(A, c)
        if terms.share is not None:
            moves = moves + penalty_pull(self.point, terms, share)
        xp, u = array_namespace(c), terms.outputs + layout.ungrouped(moves)
        unbounded = xp.zeros_like(unidentified) | self.unbounded(rows)
        return xp.where(unbounded[:, None], xp.nan, u), unidentified, unbounded


@final
@dataclass(frozen=True)
class Jackknife(AbstractOneStep):
    """``inv(H) sum_i s_i g_i``: the derivative in the weights, times the weights.

    References
    ----------
    .. [1] Giordano et al. (2019). A Swiss army infinitesimal jackknife. Definition 1.
    """

    point: Point
    linear: ClassVar[bool] = True
    n_steps: ClassVar[int] = 0

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        xp = array_namespace(terms.slope)
        never = xp.zeros_like(terms.weight, dtype=xp.bool)
        return terms.weight[:, None, None] * terms.slope, never

    def _downdated(self, terms: RowTerms) -> None:
        return None  # the derivative at full weight

    def group_delta(self, rows: Array) -> Deltas:
        gone = self.point.objective.only(rows)
        gradient = gone.first_order(self.point.theta).gradient
        return self.certified(self.point.factor.loss_steps(gradient[None, ...]))


@final
@dataclass(frozen=True)
class Newton(AbstractOneStep):
    """One Newton step without the rows; of one row ``c_i = inv(I - s_i M_i A_i) s_i g_i``.

    In mean form, the row's share of the penalty leaves both the gradient, where it adds
    ``s_i M_i X~_i inv(H) share`` to ``s_i g_i``, and H. ``H - s_i X~_i' M_i X~_i`` is
    inverted by the push-through form of Woodbury's identity, which allows a singular
    ``M_i`` (softmax). Exact for quadratic losses. Where the rows left have no finite
    optimum, neither has the step a meaning.

    References
    ----------
    .. [1] Pregibon (1981). Logistic regression diagnostics.
       :doi:`10.1214/aos/1176345513`. One-step estimate.
    .. [2] Rad & Maleki (2020). A scalable estimate of the out-of-sample prediction
       error via approximate leave-one-out cross-validation. Equation 7.
    """

    point: Point
    solver: AbstractSolver  # of large groups, which get a factor of their own
    n_steps: ClassVar[int] = 1

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        inverse, unidentified = downdated_inverse(self.point, terms, A)
        slope = terms.weight[:, None, None] * terms.slope
        if terms.share is not None:
            slope = slope + product(
                terms.bend, penalty_pull(self.point, terms, terms.share)
            )
        return product(inverse, slope), unidentified

    def _downdated(self, terms: RowTerms) -> Any:
        return terms.share

    @property
    def error(self) -> float:
        return 0.0 if self.point.objective.loss.quadratic else inf

    def group(self, rows: Array) -> AbstractGroup:
        """These rows (indices) as a group, by whichever way costs less."""
        layout = self.point.objective.layout
        if rows.shape[0] * layout.group_size <= layout.size:
            return SmallGroup.of(self.point, rows)
        return LargeGroup.of(self.point, rows, self.solver, lambda: self._matrix)

    @cached_property
    def _matrix(self) -> Any:
        return self.point.curvature.as_matrix()

    def group_delta(self, rows: Array) -> Deltas:
        group = self.group(rows)
        theta = group.solve(group.gradient).value
        return self.certified(theta, group.unidentified, group.unbounded)

    def unbounded(self, rows: Rows) -> Any:
        needed = self.point.needed_rows
        if not needed.shape[0]:
            return False
        xp = array_namespace(needed)
        return xp.any(indices_of(rows, self.point)[:, None] == needed, axis=1)


def penalty_pull(point: Point, terms: RowTerms, share: Array) -> Any:
    """``X~_i inv(H) share_i penalty'``: a row's outputs moved by its share, (b, G, Kb)."""
    layout, steps = point.objective.layout, penalty_steps(point, terms, share)
    if not _alike(terms.share):
        return own_outputs(terms.block, steps, layout)
    return layout.grouped(terms.block @ layout.unpack(steps)[0, ...].T)


def penalty_steps(point: Point, terms: RowTerms, share: Array) -> Any:
    """``inv(H) share_i penalty'``, (b, G, D); one for all, (1, G, D), if shares agree."""
    shares = terms.share
    if _alike(shares):
        shares, share = shares[:1], None if share is None else share[:1]
    penalty = point.objective.penalty.gradient(point.theta)
    return point.factor.steps(shares[:, None, None] * penalty, share)


def _alike(shares: Array) -> bool:
    return bool(array_namespace(shares).all(shares == shares[:1]))
