"""Groups of rows deleted together: what changes without a customer, a source, a fold.

One sign everywhere: without the group minus with it.
"""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

from skinfluence._array import Array, array_namespace, device_of
from skinfluence._objective import Objective
from skinfluence._tolerances import LEAST_CONTRACTION
from skinfluence.curvature import RowwiseCurvature
from skinfluence.deletion._base import Deltas
from skinfluence.deletion._exact import joined
from skinfluence.deletion._group_system import (
    AbstractRest,
    Rests,
    leaving,
    without_rows,
)
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    boundary,
    expand,
    has_no_minimum,
    minimise_with_corners,
    on_active_set,
    polish,
    taken,
)


def group_gradients(point: Point, groups: Sequence[Any]) -> Any:
    """``sum_{i in G} g_i``, unweighted, for groups of indices, (n_groups, G, D)."""
    objective = point.objective
    layout, loss = objective.layout, objective.loss
    sums = []
    for rows in groups:
        y, u = taken(objective.targets, rows), taken(point.outputs, rows)
        sums.append(
            layout.pack((loss.gradient(y, u).T @ objective.design.block(rows)).T)
        )
    return array_namespace(point.theta).stack(sums)


class AbstractGroupDeletion(abc.ABC):
    """A way to know the model without a group, at the minimum ``point`` of all rows."""

    point: Point
    linear: ClassVar[bool] = False  # a derivative: effects on losses are linear too

    def deltas(self, groups: Sequence[Any]) -> Deltas:
        """Deltas of the parameters for groups of row indices, one per group."""
        return joined([self.delta(rows) for rows in groups])

    @abc.abstractmethod
    def delta(self, rows: Array) -> Deltas:
        """The delta of one group, (1, G, D)."""


@final
@dataclass(frozen=True)
class GroupJackknife(AbstractGroupDeletion):
    """``inv(H) sum_i s_i g_i``: the sum of the rows' linear terms.

    References
    ----------
    .. [1] Giordano et al. (2019). A Swiss army infinitesimal jackknife. Definition 1.
    """

    point: Point
    linear: ClassVar[bool] = True

    def delta(self, rows: Array) -> Deltas:
        gone = leaving(self.point.objective, rows)
        gradient = gone.first_order(self.point.theta).gradient
        theta = self.point.factor.steps(gradient[None, ...])
        last = array_namespace(theta).full_like(theta, float("inf"))
        return _deltas(theta, last, 0)


@final
@dataclass(frozen=True)
class GroupNewton(AbstractGroupDeletion):
    """One Newton step on the objective without the group; exact for quadratic losses.

    With ``corrected`` a second step by the same curvature follows, where it is less than
    half the first: of the order of Halley's correction. Cost: ``m**2 d + m**3`` for m
    rows times outputs up to d, ``m d**2 + d**3`` beyond; the second step ``4 n d``.
    """

    point: Point
    solver: AbstractSolver
    corrected: bool = False

    @cached_property
    def rests(self) -> Rests:
        """Curvatures without groups."""
        return Rests(self.point, self.solver)

    def delta(self, rows: Array) -> Deltas:
        point = self.point
        rest = self.rests.without(rows)
        unbounded = _is_unbounded(point, rows)
        if rest.unidentified or unbounded:
            return _lost(point, unidentified=not unbounded, unbounded=unbounded)
        theta, before = newton_step(point, rest, rows)
        quadratic = point.objective.loss.quadratic
        n_steps = 1
        if self.corrected and not quadratic:
            step, length = chord_step(point, rest, rows, theta)
            if length <= LEAST_CONTRACTION * before:
                theta, n_steps = theta + step, 2
        xp = array_namespace(theta)
        last = xp.full_like(theta, 0.0 if quadratic else float("inf"))
        return self._tested(rows, _deltas(theta[None, ...], last[None, ...], n_steps))

    def _tested(self, rows: Array, found: Deltas) -> Deltas:
        """Whether the active set, which the step has held, would change."""
        if self.point.objective.wider is None:
            return found
        xp = array_namespace(found.theta)
        changed = xp.full_like(found.converged, _breaks(self.point, rows, found.theta))
        return found._replace(active_set_changes=changed, missed_changes=changed)


@final
@dataclass(frozen=True)
class GroupExact(AbstractGroupDeletion):
    """The minimum without the group, to a certificate.

    Steps by the curvature of ``GroupNewton``, with the gradient in full, until the next
    is shorter than ``tol`` times the first (or times ``typical``, the median length of
    the deletion effects of rows); a group that does not contract gets Newton steps with
    its own curvature, and one that may change an active set is followed. Cost: ``4 n d``
    for each step, ``n d**2`` for one with its own curvature.
    """

    point: Point
    solver: AbstractSolver
    typical: float
    tol: float = 1e-8
    max_iter: int = 50
    progress: Callable[[int], None] = lambda n_groups: None

    @cached_property
    def newton(self) -> GroupNewton:
        """Where the steps start."""
        return GroupNewton(on_active_set(self.point), self.solver)

    def delta(self, rows: Array) -> Deltas:
        found = self._delta(rows)
        self.progress(1)
        return found

    def _delta(self, rows: Array) -> Deltas:
        if on_active_set(self.point).objective.wider is not None:
            return self._followed(rows)
        if self.point.objective.loss.quadratic:
            return self.newton.delta(rows)
        point, rest = self.point, self.newton.rests.without(rows)
        unbounded = _is_unbounded(point, rows)
        if rest.unidentified or unbounded:
            return _lost(point, unidentified=not unbounded, unbounded=unbounded)
        theta, before = newton_step(point, rest, rows)
        enough = self.tol * max(before, self.typical)
        for n_steps in range(2, self.max_iter + 1):
            step, length = chord_step(point, rest, rows, theta)
            if length <= enough:
                moved = theta + step
                return _deltas(moved[None, ...], step[None, ...], n_steps)
            if not length <= LEAST_CONTRACTION * before:
                break
            theta, before = theta + step, length
        return self._polished(rows, theta, enough)

    def _polished(self, rows: Array, theta: Array, enough: float) -> Deltas:
        """Damped Newton steps from the better of the candidate and the full minimum."""
        point = self.point
        objective = without_rows(point.objective, rows)
        curvatures = [
            replace(point.curvature, objective=objective, theta=start)
            for start in (point.theta + theta, point.theta)
        ]
        values = [c.value if c.value == c.value else float("inf") for c in curvatures]
        best = curvatures[values.index(min(values))]
        start = expand(objective, best.theta, self.solver, best.damping)
        steps = max(self.max_iter, 50)
        end = polish(start, self.solver, length=enough, max_iter=steps)
        if end.unbounded:
            return _lost(point, unbounded=True)
        moved = (end.point.theta - point.theta)[None, ...]
        last = -end.point.newton_step[None, ...]
        return _deltas(moved, last, end.n_steps, end.converged)

    def _followed(self, rows: Array) -> Deltas:
        """The minimum over all features, whatever the active set becomes."""
        wide, xp = self.point, array_namespace(self.point.theta)
        objective = without_rows(wide.objective, rows)
        start = expand(*objective.narrowed(wide.theta), self.solver)
        if start.factor.rank_deficient:
            return _lost(wide, unidentified=True)
        length = self.tol * max(start.distance, self.typical)
        end = minimise_with_corners(
            start, self.solver, length=length, max_iter=2 * self.max_iter
        )
        if end.unbounded:
            return _lost(wide, unbounded=True)
        spread = end.point.objective.selection.spread
        theta = spread(end.point.theta) - wide.theta
        last = spread(end.point.newton_step)[None, ...]
        found = _deltas(theta[None, ...], last, end.n_steps, end.converged)
        changed = xp.any((spread(end.point.theta) != 0) != (wide.theta != 0))
        return found._replace(
            active_set_changes=found.converged & changed,
            missed_changes=xp.zeros_like(found.converged),
        )


def newton_step(point: Point, rest: AbstractRest, rows: Array) -> tuple[Any, float]:
    """``inv(H_-G) (sum_i s_i g_i + share)`` (G, D), and its length."""
    gradient = leaving(point.objective, rows).first_order(point.theta).gradient
    step = rest.solve(gradient)
    return step, _length(gradient, step)


def chord_step(
    point: Point, rest: AbstractRest, rows: Array, theta: Array
) -> tuple[Any, float]:
    """The next step from a candidate delta, by the same curvature, and its length."""
    objective: Objective = without_rows(point.objective, rows)
    gradient = objective.first_order(point.theta + theta).gradient
    step = -rest.solve(gradient)
    return step, _length(gradient, step)


def _is_unbounded(point: Point, rows: Array) -> bool:
    """Whether the rows left are known to have no finite optimum: a class is absent."""
    if point.objective.loss.quadratic:
        return False
    return has_no_minimum(without_rows(point.objective, rows), point.outputs)


def _length(gradient: Array, step: Array) -> float:
    """Length of a step by the curvature that gave it."""
    return abs(float(array_namespace(step).sum(gradient * step))) ** 0.5


def _breaks(point: Point, rows: Array, theta: Array) -> bool:
    """Whether an entry has passed zero, or one at zero would be pulled off it."""
    objective, xp = point.objective, array_namespace(theta)
    assert objective.wider is not None
    spread = objective.selection.spread
    before = xp.reshape(spread(point.theta), (-1,))
    after = spread(point.theta + theta[0, ...])
    at = boundary(RowwiseCurvature(without_rows(objective.wider, rows), after))
    after = xp.reshape(after, (-1,))
    passed = (before != 0) & (xp.sign(before) != xp.sign(after))
    pulled = (before == 0) & (xp.abs(at.corners.pull(at.gradient)) > at.floor)
    return bool(xp.any(at.corners.present & (passed | pulled)))


def _deltas(
    theta: Array, last_step: Array, n_steps: int, converged: bool = True
) -> Deltas:
    xp = array_namespace(theta)
    device = device_of(theta)
    no = xp.zeros(theta.shape[0], dtype=xp.bool, device=device)
    steps = xp.full(theta.shape[0], n_steps, dtype=xp.int64, device=device)
    return Deltas(theta, steps, last_step, no | converged, no, no)


def _lost(
    point: Point, *, unidentified: bool = False, unbounded: bool = False
) -> Deltas:
    """No delta: NaN, and why."""
    theta = array_namespace(point.theta).full_like(point.theta, float("nan"))[None, ...]
    found = _deltas(theta, theta, 0)
    no = found.unidentified
    wide = None if on_active_set(point).objective.wider is None else no
    return found._replace(
        unidentified=no | unidentified,
        unbounded=no | unbounded,
        active_set_changes=wide,
        missed_changes=wide,
    )
