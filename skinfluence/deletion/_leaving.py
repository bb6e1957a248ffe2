"""Rows that leave the objective, one at a time or together, and what is left of it."""

import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log
from typing import Any, ClassVar, NamedTuple, final

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    masked,
    take_rows,
)
from skinfluence._kernels import densified
from skinfluence._objective import Objective
from skinfluence.deletion._passes import summed_over_rows
from skinfluence.deletion._small_systems import downdated_inverse, product, stretch_of
from skinfluence.solvers import (
    Nearby,
    Point,
    RowTerms,
    indices_of,
    own_outputs,
    row_terms,
)

# Where the penalty of a coefficient changes by more than this part of it, as by a value
# that makes most of the spread of its column, the rows left get a factor of their own.
_FAR_UNITS = 0.5
# What rounds that mind the change may leave of a solution, where steps have no other
# error, and where they have.
_ROUNDED, _UNSEEN = 1e-16, 1e-11


class Step(NamedTuple):
    """``inv(H_-G) v`` of b groups, ``inv(B)`` of something for some curvature B."""

    value: Any  # (b, G, D)
    pushed: Any  # (b, G, D), of which ``value`` is inv(B)

    @property
    def length(self) -> Any:
        """Length as B measures it, (b,)."""
        xp = array_namespace(self.value)
        squared = xp.sum(self.pushed * self.value, axis=(1, 2))
        return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))

    def at(self, mask: Array) -> "Step":
        """Those of the groups where the mask (b,) holds."""
        return Step(masked(self.value, mask), masked(self.pushed, mask))

    def less(self, other: "Step") -> "Step":
        """The difference of two steps of the same groups."""
        return Step(self.value - other.value, self.pushed - other.pushed)


@dataclass(frozen=True, eq=False)
class AbstractLeaving(abc.ABC):
    """Rows that leave in b groups, and the inverse curvature without each group."""

    how: ClassVar[str]  # "without" each row, or "without_group": what others learn
    point: Point  # the minimum of all rows
    rows: Any  # (m,) their indices
    share: Any  # (b,) what leaves of the penalty with each group; None in sum form
    changes: Any  # (b, 1, D) ``units**2 - 1`` of columns without it; None where held
    undetermined: Any  # (b,) bool: the rows left do not determine the model

    @cached_property
    def unidentified(self) -> Any:
        """Groups that are not known to have a step, (b,) bool.

        The rows left do not determine the model, or by other units or class weights it is
        another one: steps would not contract.
        """
        lost = self.undetermined | far_factors(self.factors)
        if self.changes is None:
            return lost
        xp, penalty = array_namespace(self.changes), self.point.objective.penalty
        if float(xp.max(self._sizes)) <= _FAR_UNITS:  # far fewer operations
            return lost
        strength = penalty.strength
        penalised = (strength != 0) | (penalty.slope + 0 * strength != 0)
        far = (self._sizes > _FAR_UNITS) & penalised
        return lost | xp.any(far, axis=(1, 2))

    @abc.abstractmethod
    def moves(self, vectors: Array) -> Any:
        """Outputs of the rows by a vector (b, G, D) of their group, (m, G, Kb)."""

    @abc.abstractmethod
    def lifted(self, slopes: Array) -> Any:
        """``sum X~_i' slope_i`` over the rows of each group, (m, G, Kb) to (b, G, D)."""

    @abc.abstractmethod
    def pushed(self, vectors: Array) -> Any:
        """What ``inv(B)`` has to be applied to for ``inv(H_-G) v``, (b, G, D)."""

    @abc.abstractmethod
    def gradient_without(self, theta: Array, change: Callable[[], Any]) -> Any:
        """Gradient of the objective without each group at deltas theta, (b, G, D).

        ``change`` gives that of the gradient of all rows' losses, if it is asked for.
        """

    @abc.abstractmethod
    def objective_without(self, i: int) -> Objective:
        """The objective without group i."""

    @property
    @abc.abstractmethod
    def held_stretch(self) -> Any:
        """``stretch`` where units are held, ``1 / (1 - h)``, (b,)."""

    @property
    @abc.abstractmethod
    def factors(self) -> Any:
        """What weights of classes are multiplied by, (b, C + 1, G or 1), or None."""

    @abc.abstractmethod
    def nearby(self) -> Nearby | None:
        """The vicinity without each group; None where it is not known."""

    @abc.abstractmethod
    def at(self, mask: Array) -> "AbstractLeaving":
        """Those of the groups where the mask (b,) holds."""

    def steps(self, pushed: Array) -> Any:
        """``inv(B)`` applied to vectors (b, G, D); here B is of all rows."""
        return self.point.factor.loss_steps(pushed, self.share)

    def solve(self, vectors: Array) -> Step:
        """``inv(H_-G) v`` for a vector of each group, (b, G, D)."""
        step = self._solved(vectors)
        if self.changes is None and self.factors is None:
            return step
        # (H_-G + E) x = v by x = inv(H_-G) (v - E x), E what H_-G gains by other units
        # and class weights: below it by the largest gain, by which each round contracts.
        value, xp = step.value, array_namespace(vectors)
        contraction = float(xp.max(self.contraction)) if vectors.shape[0] else 0.0
        n_rounds = _rounds(contraction, self.unseen)
        for _ in range(n_rounds - 1):
            value = self._value(vectors - self._added(value))
        return self._solved(vectors - self._added(value)) if n_rounds else step

    def _added(self, vectors: Array) -> Any:
        """``E x``, what H_-G gains by other units and class weights, times vectors."""
        added = 0.0
        if self.changes is not None:
            added = self._kept * self.gain * vectors
        if self.factors is not None:
            added = added + self._reweighted(vectors)
        return added

    def _reweighted(self, vectors: Array) -> Any:
        """What the losses of the rows left gain by other class weights."""
        sums, loss = self.point.class_sums, self.point.objective.loss
        bent = product(self.bend, self.moves(vectors))
        own = self.lifted((self._own_factors - 1) * bent)
        assert sums is not None
        if sums.hessians is not None:
            return sums.product(self.factors, vectors) - own

        def slopes(y: Array, u: Array, s: Array, moves: Array) -> Any:
            return s[:, None, None] * loss.hessian_product(y, u, moves)

        gains = self.factors - 1
        return summed_over_rows(self.point, slopes, vectors, factors=gains) - own

    @cached_property
    def _own_factors(self) -> Any:
        """Factors of the rows, (m, G or 1, 1); 1 where class weights are held."""
        balanced = self.point.objective.balanced
        if balanced is None:
            return 1.0
        return balanced.of_rows(self.factors, self.rows)[..., None]

    def _value(self, vectors: Array) -> Any:
        """``inv(H_-G) v`` alone, columns in the units of all rows."""
        return self._solved(vectors).value

    def _solved(self, vectors: Array) -> Step:
        """The same with columns in the units of all rows."""
        pushed = self.pushed(vectors)
        return Step(self.steps(pushed), pushed)

    @property
    def unseen(self) -> float:
        """What rounds may leave of a solution."""
        return _ROUNDED if self.point.objective.loss.quadratic else _UNSEEN

    @cached_property
    def contraction(self) -> Any:
        """Bound of E, by other units and class weights, in the norm of H_-G, (b,)."""
        if self.factors is None:
            return self._units_contraction
        xp = array_namespace(self.factors)
        change = xp.max(xp.abs(self.factors - 1), axis=(1, 2))
        return change if self.changes is None else change + self._units_contraction

    @cached_property
    def _units_contraction(self) -> Any:
        """That of the change of the penalty by other units, (b,)."""
        xp, small = array_namespace(self.changes), self.small_contraction
        if small is not None and bool(xp.all(small < _FAR_UNITS)):
            return small
        largest = xp.max(self._sizes, axis=(1, 2))
        return largest if small is None else xp.where(small < largest, small, largest)

    @property
    def small_contraction(self) -> Any:
        """The same from the trace of ``inv(H_-G) |E|``, far below if rows are many.

        None where the diagonal of inv(H) is not at hand.
        """
        return None if self._traces is None else self._traces[0]

    @property
    def length_of_pull(self) -> Any:
        """Bound of the length of ``E theta`` in the norm of inv(H_-G), (b,), or None."""
        return None if self._traces is None else self._traces[1]

    @cached_property
    def _traces(self) -> tuple[Any, Any] | None:
        inverse, theta = self.point.inverse_diagonal, self.point.theta
        if inverse is None:
            return None
        xp, strength = array_namespace(inverse), self.point.objective.penalty.strength
        pulls = xp.abs(strength * theta) * xp.sqrt(inverse)
        weights = xp.concat([strength * inverse + 0 * theta, pulls])  # (2 G, D)
        sums = self._sizes[:, 0, :] @ weights.T  # of all groups in one product
        G, stretch = theta.shape[0], self.held_stretch
        trace, length = xp.max(sums[:, :G], axis=1), xp.sum(sums[:, G:], axis=1)
        return trace * stretch, length * xp.sqrt(stretch)

    @cached_property
    def _sizes(self) -> Any:
        return array_namespace(self.changes).abs(self.changes)

    @cached_property
    def gain(self) -> Any:
        """What the penalty's second derivative gains by other units, (b, G or 1, D)."""
        return self.changes * self.point.objective.penalty.strength

    @cached_property
    def units(self) -> Any:
        """Units of the columns without each group, over those here, (b, 1, D)."""
        return array_namespace(self.changes).sqrt(1 + self.changes)

    @property
    def _kept(self) -> Any:
        """What stays of the penalty without each group, (b, 1, 1)."""
        return 1.0 if self.share is None else 1 - self.share[:, None, None]

    def pull(self, theta: Array) -> Any:
        """Gradient of the penalty without each group, at theta (b or 1, G, D)."""
        penalty = self.point.objective.penalty
        if self.changes is not None:
            penalty = penalty.in_units(self.units)
        return self._kept * penalty.gradient(theta)

    @cached_property
    def stretch(self) -> Any:
        """Bound of how much longer inv(H) is without each group, (b,)."""
        stretch = self._spread * self.held_stretch
        if self.changes is None:
            return stretch
        xp, small = array_namespace(stretch), self.small_contraction
        if small is not None and bool(xp.all(small < _FAR_UNITS)):
            return stretch / (1 - small)
        # Smaller units weaken the penalty.
        least = 1 + xp.min(self.changes, axis=(1, 2))
        return stretch / xp.clip(least, max=1.0)

    @property
    def _spread(self) -> Any:
        """The largest class weight over the least, by those of the fit, (b,) or 1.

        Smaller weights lower H; larger ones raise the parts that rows have in it.
        """
        if self.factors is None:
            return 1.0
        xp = array_namespace(self.factors)
        most, least = (f(self.factors, axis=(1, 2)) for f in (xp.max, xp.min))
        return xp.clip(most, min=1.0) / xp.clip(least, max=1.0)

    @cached_property
    def pulled(self) -> Any:
        """What leaves the gradient besides the losses of each group, (b, G, D)."""
        tilt, of_penalty = self.tilt, self._leaving_pull
        return of_penalty if tilt is None else of_penalty - tilt

    @property
    def _leaving_pull(self) -> Any:
        """The part of the penalty."""
        penalty, theta = self.point.objective.penalty, self.point.theta
        whole = penalty.gradient(theta)
        if self.changes is None:
            return self.share[:, None, None] * whole
        lost, slope = self.gain * -theta, penalty.held(theta).slope
        if bool(array_namespace(theta).any(slope + 0 * theta != 0)):
            lost = lost + (1 - self.units) * slope
        if self.share is None:
            return lost
        return self.share[:, None, None] * whole + self._kept * lost

    @cached_property
    def tilt(self) -> Any:
        """What the gradient gains as other rows are filled in anew, (b, G, D) or None."""
        return self.point.tilts(self.rows, self.how, self.fills)

    @cached_property
    def fills(self) -> Any:
        """Moves of what is filled in without each group, (b, w); None without gaps."""
        return self.point.objective.fills(self.rows, self.how)

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

    @cached_property
    def gradient(self) -> Any:
        """What leaves the gradient at the minimum of all rows, (b, G, D)."""
        rows, sums = self.loss_gradient(), self.point.class_sums
        if sums is not None:
            rows = rows - sums.pull(self.factors)
        if self.share is None and self.changes is None:
            return rows
        return rows + self.pulled

    def loss_gradient(self, theta: Array | None = None) -> Any:
        """That of the rows' losses alone, at deltas theta (b, G, D) if given.

        With the class weights that the other rows have.
        """
        objective, u = self.point.objective, self.outputs
        if theta is not None:
            u = u + objective.layout.ungrouped(self.moves(theta))
        slopes = self.weight[:, None] * objective.loss.gradient(self.targets, u)
        return self.lifted(self._own_factors * objective.layout.grouped(slopes))

    def third_product(self, left: Array, right: Array) -> Any:
        """Third derivatives of the rows' losses times vectors, all (b, G, D)."""
        objective = self.point.objective
        layout = objective.layout
        moves = (layout.ungrouped(self.moves(v))[..., None] for v in (left, right))
        slopes = objective.loss.third_product(self.targets, self.outputs, *moves)
        return self.lifted(layout.grouped(self.weight[:, None] * slopes[..., 0]))

    def _downdated(self, vectors: Array, within: Callable[[Any], Any]) -> Any:
        """Woodbury's identity in the groups' rows, in its push-through form.

        ``inv(H - X'MX) = inv(H) (I + X' inv(I - M A) M X inv(H))``, ``A = X inv(H) X'``
        over all pairs of a group's rows: no inverse of M, which softmax does not have.
        In mean form H is that of all rows less the group's share of the penalty.
        ``within`` applies ``inv(I - M A)``.

        References
        ----------
        .. [1] Koh, Ang, Teo & Liang (2019). On the accuracy of influence functions for
           measuring group effects. NeurIPS. Section 2, one-step Newton approximation.
        """
        moves = self.moves(self.steps(vectors))
        return vectors + self.lifted(within(product(self.bend, moves)))


@final
@dataclass(frozen=True, eq=False)
class OneByOne(AbstractLeaving):
    """Rows that are groups of one each, b = m."""

    how: ClassVar[str] = "without"
    terms: RowTerms  # rows as indices, the block as an array
    inverse: Any  # (b, G, Kb, Kb) of I - M A
    direction: Any  # (b, G, D) ``inv(H) x_i``; None where no rounds need it
    leverage: Any  # (b, G) ``x_i' inv(H) x_i``; None alike

    @classmethod
    def of(cls, point: Point, rows: Rows) -> "OneByOne":
        """These rows (a slice or indices) at a point."""
        terms = row_terms(point, rows)
        terms = terms._replace(block=densified(terms.block))
        changes, A = point.objective.row_changes(rows), None
        direction, leverage = None, None
        if point.objective.learns and point.objective.layout.group_size == 1:
            direction = _own_steps(point, terms)
            leverage = array_namespace(direction).vecdot(
                terms.block[:, None, :], direction
            )
            A = leverage[..., None, None]
        inverse, undetermined = downdated_inverse(point, terms, A)
        terms = terms._replace(rows=indices_of(rows, point))
        flags = terms.rows, terms.share, changes, undetermined
        return cls(point, *flags, terms, inverse, direction, leverage)

    @property
    def block(self) -> Any:
        """Working rows, (b, q)."""
        return self.terms.block

    @property
    def slope(self) -> Any:
        """Weighted gradients of the rows' losses in their outputs, (b, G, Kb)."""
        return self.terms.weight[:, None, None] * self.terms.slope

    @property
    def outputs(self) -> Any:
        return self.terms.outputs

    @property
    def bend(self) -> Any:
        return self.terms.bend

    def moves(self, vectors: Array) -> Any:
        return own_outputs(self.block, vectors, self.point.objective.layout)

    def lifted(self, slopes: Array) -> Any:
        return self.point.objective.layout.lifted(self.block, slopes)

    def pushed(self, vectors: Array) -> Any:
        return self._downdated(vectors, lambda inner: product(self.inverse, inner))

    def _value(self, vectors: Array) -> Any:
        if self.direction is None:
            return super()._value(vectors)
        # By inv(H) x, which is at hand: one solve, not two.
        steps = self.steps(vectors)
        inner = product(self.bend, self.moves(steps))
        return steps + self.direction * product(self.inverse, inner)

    def gradient_without(self, theta: Array, change: Callable[[], Any]) -> Any:
        point, penalty = self.point, self.point.objective.penalty
        rows = point.gradient - penalty.gradient(point.theta) + change()
        if point.class_sums is not None:
            rows = rows + point.class_sums.pull(self.factors)
        if self.tilt is not None:
            rows = rows + self.tilt
        return rows - self.loss_gradient(theta) + self.pull(point.theta + theta)

    def objective_without(self, i: int) -> Objective:
        return self.point.without(self.rows[i : i + 1])

    @property
    def length_of_tilt(self) -> Any:
        """Bound of the length of the tilt in the norm of inv(H) without the row, (b,)."""
        xp = array_namespace(self.point.theta)
        length = xp.abs(self.fills) @ self.point.fill_sizes.pull
        return xp.sqrt(self.held_stretch) * length

    @cached_property
    def factors(self) -> Any:
        return self.point.objective.row_factors(self.rows)

    @cached_property
    def held_stretch(self) -> Any:
        return stretch_of(self.inverse, self.share)

    def nearby(self) -> Nearby | None:
        vicinity = self.point.vicinity
        return None if vicinity is None else vicinity.around(self.rows, self.stretch)

    def at(self, mask: Array) -> "OneByOne":
        kept = _masked((self.rows, self.share, self.changes, self.undetermined), mask)
        terms = RowTerms(*_masked(self.terms, mask))
        solved = _masked((self.inverse, self.direction, self.leverage), mask)
        parts: list[Any] = [*kept, terms, *solved]
        return OneByOne(self.point, *parts)


def _masked(parts: Iterable[Any], mask: Array) -> Iterator[Any]:
    """Those of the groups where the mask (b,) holds, of arrays that may be None."""
    return (None if part is None else masked(part, mask) for part in parts)


def _rounds(contraction: float, unseen: float) -> int:
    """Rounds that contract so, down to what need not be seen."""
    if contraction == 0:
        return 0
    # Before the first, the error is one contraction already.
    return ceil(log(unseen) / log(min(contraction, _FAR_UNITS))) - 1


def far_factors(factors: Array | None) -> Any:
    """Where classes weigh so much more or less that steps would not contract, (b,)."""
    if factors is None:
        return False
    xp = array_namespace(factors)
    return xp.any(xp.abs(factors - 1) > _FAR_UNITS, axis=(1, 2))


def _own_steps(point: Point, terms: RowTerms) -> Any:
    """``inv(H) x_i``, (b, G, D), of outputs that are not coupled."""
    xp, layout = array_namespace(terms.block), point.objective.layout
    shape = (terms.block.shape[0], layout.n_groups, layout.size)
    rows = xp.broadcast_to(terms.block[:, None, :], shape)
    return point.factor.loss_steps(rows, terms.share)
