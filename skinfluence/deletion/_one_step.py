"""One step from the minimum: the infinitesimal jackknife and the Newton step.

For single rows both have the form ``delta_i = inv(H) X~_i' c_i`` with coefficients
``c_i`` (G, Kb), so leave-one-out outputs need only ``A_i = X~_i inv(H) X~_i'`` and no
vector of length D.
"""

import abc
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, ClassVar, NamedTuple, final

from skinfluence._array import Array, Rows, array_namespace, masked, take_rows
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._fill_error import with_fill_error
from skinfluence.deletion._leaving import AbstractLeaving, OneByOne
from skinfluence.deletion._leaving_groups import AbstractGroup, LargeGroup, SmallGroup
from skinfluence.deletion._own_moves import OwnMoves
from skinfluence.deletion._small_systems import downdated_inverse, product, stretch_of
from skinfluence.deletion._vouching import (
    doubted,
    own_length,
    row_residuals,
    vouched,
    vouched_groups,
)
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    RowTerms,
    indices_of,
    learned_gradients,
    learned_steps,
    own_outputs,
    row_gradients,
    row_terms,
)


class Inner(NamedTuple):
    """What the small system of each row gives: ``delta_i = inv(H) X~_i' c_i``."""

    c: Any  # (b, G, Kb)
    unidentified: Any  # (b,)
    stretch: Any  # (b,) bound of how much longer inv(H) is without the row


class AbstractOneStep(AbstractDeletion):
    """Deltas that are one solve away from coefficients of the row."""

    n_steps: ClassVar[int]

    @property
    def is_exact(self) -> bool:
        """Whether the deltas have no error but rounding."""
        return False

    @abc.abstractmethod
    def inner(self, terms: RowTerms, A: Array | None = None) -> Inner:
        """Coefficients of rows; A if it is at hand."""

    def coefficients(self, terms: RowTerms, A: Array | None = None) -> tuple[Any, Any]:
        """``(c, unidentified)``, shapes (b, G, Kb) and (b,); A if it is at hand."""
        inner = self.inner(terms, A)
        return inner.c, inner.unidentified

    def certified(
        self,
        theta: Array,
        unidentified: Array | bool = False,
        unbounded: Array | bool = False,
        stretch: Array | float = 1.0,
    ) -> Deltas:
        """Deltas with what is known of their error, NaN where they do not exist."""
        xp, flags = array_namespace(theta), (unidentified, unbounded)
        error = 0.0 if self.is_exact else inf
        last = xp.full_like(theta, error)
        deltas = Deltas.of(
            theta, last, self.n_steps, True, *flags, error=error, stretch=stretch
        )
        if not bool(xp.any(deltas.is_missing)):
            return deltas
        lost = deltas.is_missing[:, None, None]
        return deltas._replace(theta=xp.where(lost, xp.nan, theta))

    def vouched(self, deltas: Deltas, squared: Array, rows: Rows) -> Deltas:
        """Deltas of rows with bounds of their errors, by their squared lengths (b,).

        Lengths are those of the steps in the norm of H without the row.
        """
        return deltas

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
        c, unidentified, stretch = self.inner(terms, A)
        theta, point = self._steps(terms, c), self.point
        deltas = self.certified(theta, unidentified, unbounded, stretch)
        xp, slope = array_namespace(theta), _weighted_slope(terms)
        moves = own_outputs(terms.block, theta, point.objective.layout)
        squared = xp.sum(slope * moves, axis=(1, 2))
        if terms.share is not None:
            pull = point.objective.penalty.gradient(point.theta)
            squared = squared + terms.share * xp.sum(pull * theta, axis=(1, 2))
        return self.vouched(deltas, squared, terms.rows)

    def _steps(self, terms: RowTerms, c: Any) -> Any:
        factor, share = self.point.factor, self._downdated(terms)
        if terms.share is not None and not _alike(terms.share):
            return factor.loss_steps(row_gradients(self.point, terms, c), share)
        steps = factor.row_steps(terms.block, c, share)
        if terms.share is None:
            return steps
        return steps + penalty_steps(self.point, terms, share)

    def left_out(self, rows: Rows) -> tuple[Any, Deltas]:
        terms = row_terms(self.point, rows, for_products=True)
        layout, share = self.point.objective.layout, self._downdated(terms)
        A = self.point.factor.loss_blocks(terms.block, share, terms.rows)
        c, unidentified, stretch = self.inner(terms, A)
        xp, moves = array_namespace(c), product(A, c)
        squared = xp.sum(_weighted_slope(terms) * moves, axis=(1, 2))
        if terms.share is not None:
            pull, steps = _penalty_effects(self.point, terms, share)
            moves = moves + pull
            slope = self.point.objective.penalty.gradient(self.point.theta)
            part = terms.share * xp.sum(slope * steps, axis=(1, 2))
            squared = squared + xp.sum(pull * (c + _weighted_slope(terms)), axis=(1, 2))
            squared = squared + part
        u = terms.outputs + layout.ungrouped(moves)
        return self._vouched_outputs(u, squared, unidentified, stretch, rows)

    def _vouched_outputs(
        self, u: Array, squared: Array, unidentified: Array, stretch: Array, rows: Rows
    ) -> tuple[Any, Deltas]:
        """Outputs (b, K) of rows by the models without them, and what is known of them."""
        xp = array_namespace(u)
        unbounded = xp.zeros_like(unidentified) | self.unbounded(rows)
        u = xp.where(unbounded[:, None], xp.nan, u)
        flags = self.certified(u[:, None, :], unidentified, unbounded, stretch).flags
        return u, self.vouched(flags, squared, rows)


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

    def inner(self, terms: RowTerms, A: Array | None = None) -> Inner:
        xp = array_namespace(terms.slope)
        never = xp.zeros_like(terms.weight, dtype=xp.bool)
        return Inner(_weighted_slope(terms), never, xp.ones_like(terms.weight))

    def _downdated(self, terms: RowTerms) -> None:
        return None  # the derivative at full weight

    def _steps(self, terms: RowTerms, c: Any) -> Any:
        steps, learned = super()._steps(terms, c), learned_steps(self.point, terms.rows)
        return steps if learned is None else steps + learned

    def left_out(self, rows: Rows) -> tuple[Any, Deltas]:
        if not self.point.objective.learns:
            return super().left_out(rows)
        return AbstractDeletion.left_out(self, rows)

    def group_delta(self, rows: Array) -> Deltas:
        gone = self.point.objective.only(rows)
        gradient = gone.first_order(self.point.theta).gradient
        learned = learned_gradients(self.point, rows)
        if learned is not None:
            gradient = gradient + array_namespace(gradient).sum(learned, axis=0)
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

    def inner(self, terms: RowTerms, A: Array | None = None) -> Inner:
        inverse, unidentified = downdated_inverse(self.point, terms, A)
        slope = _weighted_slope(terms)
        if terms.share is not None:
            pull, _ = _penalty_effects(self.point, terms, terms.share)
            slope = slope + product(terms.bend, pull)
        stretch = stretch_of(inverse, terms.share)
        return Inner(product(inverse, slope), unidentified, stretch)

    def _downdated(self, terms: RowTerms) -> Any:
        return terms.share

    @property
    def is_exact(self) -> bool:
        return self.point.objective.loss.quadratic

    def vouched(self, deltas: Deltas, squared: Array, rows: Rows) -> Deltas:
        if self.is_exact:
            return deltas
        xp, indices = array_namespace(squared), indices_of(rows, self.point)
        length = xp.sqrt(xp.where(squared < 0, xp.zeros_like(squared), squared))

        def residuals(mask: Array) -> Any:
            theta = None if deltas.theta is None else masked(deltas.theta, mask)
            return row_residuals(self.point, masked(indices, mask), theta)

        def leaving(mask: Array) -> AbstractLeaving:
            return OneByOne.of(self.point, masked(indices, mask))

        vicinity = self.point.vicinity
        if vicinity is None:
            return doubted(deltas, length, leaving, self.point, self.solver)
        nearby = vicinity.around(indices, deltas.stretch)
        return vouched(self.point, deltas, nearby, length, 0.0, residuals)

    def deltas(self, rows: Rows) -> Deltas:
        if not self.point.objective.learns:
            return super().deltas(rows)
        return self._deltas(OneByOne.of(self.point, rows), self.unbounded(rows))

    def left_out(self, rows: Rows) -> tuple[Any, Deltas]:
        if not self.point.objective.learns:
            return super().left_out(rows)
        objective = self.point.objective
        coupled = objective.layout.group_size > 1 or objective.balanced is not None
        if coupled or objective.penalty.share or objective.norms:
            return AbstractDeletion.left_out(self, rows)
        own = OwnMoves.of(self.point, rows)
        u = take_rows(self.point.outputs, rows) + objective.layout.ungrouped(own.moves)
        u, flags = self._vouched_outputs(u, *own[1:], rows)
        if not objective.spreads:
            return u, flags
        indices, vicinity = indices_of(rows, self.point), self.point.vicinity
        nearby = None if vicinity is None else vicinity.around(indices, own.stretch)
        fills, length = objective.fills(indices, "without"), own.length
        return u, with_fill_error(flags, self.point, fills, nearby, length)

    def _deltas(self, leaving: AbstractLeaving, unbounded: Array | bool) -> Deltas:
        newton = leaving.solve(leaving.gradient)
        flags = leaving.unidentified, unbounded, leaving.stretch
        deltas = self.certified(newton.value, *flags)
        if not self.is_exact:
            deltas = vouched_groups(deltas, leaving, newton, self.solver)
        if not self.point.objective.spreads:
            return deltas
        length = own_length(leaving, newton)
        nearby = None if self.is_exact else leaving.nearby()
        return with_fill_error(deltas, self.point, leaving.fills, nearby, length)

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
        return self._deltas(group, group.unbounded)

    def unbounded(self, rows: Rows) -> Any:
        needed = self.point.needed_rows
        if not needed.shape[0]:
            return False
        xp = array_namespace(needed)
        return xp.any(indices_of(rows, self.point)[:, None] == needed, axis=1)


def _weighted_slope(terms: RowTerms) -> Any:
    """``s_i g_i``, (b, G, Kb)."""
    return terms.weight[:, None, None] * terms.slope


def _penalty_effects(point: Point, terms: RowTerms, share: Array) -> tuple[Any, Any]:
    """``penalty_steps``, and how they move the outputs of their rows, (b, G, Kb), first."""
    layout, steps = point.objective.layout, penalty_steps(point, terms, share)
    if not _alike(terms.share):
        return own_outputs(terms.block, steps, layout), steps
    return layout.grouped(terms.block @ layout.unpack(steps)[0, ...].T), steps


def penalty_steps(point: Point, terms: RowTerms, share: Array) -> Any:
    """``inv(H) share_i penalty'``, (b, G, D); one for all, (1, G, D), if shares agree."""
    shares = terms.share
    if _alike(shares):
        shares, share = shares[:1], None if share is None else share[:1]
    penalty = point.objective.penalty.gradient(point.theta)
    return point.factor.steps(shares[:, None, None] * penalty, share)


def _alike(shares: Array) -> bool:
    return bool(array_namespace(shares).all(shares == shares[:1]))
