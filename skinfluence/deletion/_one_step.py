"""One step from the minimum: the infinitesimal jackknife and the Newton step.

For single rows both have the form ``delta_i = inv(H) X~_i' c_i`` with coefficients
``c_i`` (G, Kb), so leave-one-out outputs need only ``A_i = X~_i inv(H) X~_i'`` and no
vector of length D.
"""

import abc
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

from skinfluence._array import Array, Rows, array_namespace
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._leaving import (
    AbstractRest,
    Rests,
    Together,
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

    @abc.abstractmethod
    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        """``(c, unidentified)``, shapes (b, G, Kb) and (b,); A if it is at hand."""

    @abc.abstractmethod
    def certified(self, theta: Array, unidentified: Array | bool = False) -> Deltas:
        """Deltas with what is known of their error."""

    def deltas(self, rows: Rows) -> Deltas:
        return self.deltas_of(row_terms(self.point, rows))

    def deltas_of(self, terms: RowTerms, A: Array | None = None) -> Deltas:
        """The same where the terms of the rows, perhaps also A, are at hand."""
        c, unidentified = self.coefficients(terms, A)
        return self.certified(self._steps(terms, c), unidentified)

    def _steps(self, terms: RowTerms, c: Any) -> Any:
        factor = self.point.factor
        share = self._downdated(terms)
        if terms.share is None:
            return factor.row_steps(terms.block, c, share)
        if not _alike(terms.share):
            return factor.steps(row_gradients(self.point, terms, c), share)
        steps = factor.row_steps(terms.block, c, share)
        return steps + penalty_steps(self.point, terms, share)

    def outputs(self, rows: Rows) -> tuple[Any, Any, Any]:
        terms = row_terms(self.point, rows, for_products=True)
        layout, share = self.point.objective.layout, self._downdated(terms)
        A = self.point.factor.row_blocks_of_inverse(terms.block, share, terms.rows)
        c, unidentified = self.coefficients(terms, A)
        shift = product(A, c)
        if terms.share is not None:
            shift = shift + penalty_pull(self.point, terms, share)
        unbounded = array_namespace(c).zeros_like(unidentified)
        return terms.outputs + layout.ungrouped(shift), unidentified, unbounded

    @abc.abstractmethod
    def _downdated(self, terms: RowTerms) -> Any:
        """Shares of the penalty that leave the curvature too, (b,) or None."""


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

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        xp = array_namespace(terms.slope)
        never = xp.zeros_like(terms.weight, dtype=xp.bool)
        return terms.weight[:, None, None] * terms.slope, never

    def _downdated(self, terms: RowTerms) -> None:
        return None  # the derivative at full weight

    def certified(self, theta: Array, unidentified: Array | bool = False) -> Deltas:
        unknown = array_namespace(theta).full_like(theta, float("inf"))
        return Deltas.of(theta, unknown, 0, unidentified=unidentified)

    def group_delta(self, rows: Array) -> Deltas:
        return self.certified(
            self.point.factor.steps(Together.of(self.point, rows).gradient)
        )


@final
@dataclass(frozen=True)
class Newton(AbstractOneStep):
    """One Newton step without the rows; of one row ``c_i = inv(I - s_i M_i A_i) s_i g_i``.

    In mean form, the row's share of the penalty leaves both the gradient, where it adds
    ``s_i M_i X~_i inv(H) share`` to ``s_i g_i``, and H. ``H - s_i X~_i' M_i X~_i`` is
    inverted by the push-through form of Woodbury's identity, which allows a singular
    ``M_i`` (softmax). Exact for quadratic losses. Cost of a group: ``m**2 d + m**3`` for
    m rows times outputs up to d, ``m d**2 + d**3`` beyond.

    References
    ----------
    .. [1] Pregibon (1981). Logistic regression diagnostics.
       :doi:`10.1214/aos/1176345513`. One-step estimate.
    .. [2] Rad & Maleki (2020). A scalable estimate of the out-of-sample prediction
       error via approximate leave-one-out cross-validation. Equation 7.
    """

    point: Point
    solver: AbstractSolver  # of large groups, which get a factor of their own

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        if A is None:
            A = self.point.factor.row_blocks_of_inverse(
                terms.block, terms.share, terms.rows
            )
        inverse, unidentified = downdated_inverse(terms.bend, A)
        slope = terms.weight[:, None, None] * terms.slope
        if terms.share is not None:
            slope = slope + product(
                terms.bend, penalty_pull(self.point, terms, terms.share)
            )
        return product(inverse, slope), unidentified

    def _downdated(self, terms: RowTerms) -> Any:
        return terms.share

    def certified(self, theta: Array, unidentified: Array | bool = False) -> Deltas:
        error = 0.0 if self.point.objective.loss.quadratic else float("inf")
        last = array_namespace(theta).full_like(theta, error)
        return Deltas.of(theta, last, 1, unidentified=unidentified)

    @cached_property
    def rests(self) -> Rests:
        """Curvatures without groups."""
        return Rests(self.point, self.solver)

    def group_delta(self, rows: Array) -> Deltas:
        leaving, rest = self.rests.of(rows)
        return missing(leaving, rest) or self.certified(
            rest.solve(leaving.gradient).value
        )


def missing(leaving: Together, rest: AbstractRest) -> Deltas | None:
    """What says why the delta of a group does not exist; None where it does."""
    if bool(rest.unidentified[0]):
        return Deltas.missing(leaving.point.theta, unidentified=True)
    if leaving.unbounded:
        return Deltas.missing(leaving.point.theta, unbounded=True)
    return None


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
