"""Deletion by the rows that remain, of rows that carry a direction almost alone.

``1 - h`` of a row of leverage near 1 is a difference of two numbers near 1, and so is
what it divides. Such rows, about as many as parameters at the most, are deleted by
steps with a curvature of the other rows, in coordinates of their own.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, final

from skinfluence._array import Array, Rows, array_namespace
from skinfluence._objective import Objective
from skinfluence.deletion._base import AbstractDeletion, Deltas, indices_of
from skinfluence.deletion._leaving import determines
from skinfluence.deletion._vouching import error_of_minimum
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    descend,
    expand_for_steps,
    own_outputs,
    row_terms,
)

# Steps for the others end at this part of the delta, at the least after so many.
_TOLERANCE, _MOST_STEPS = 1e-10, 50


@final
@dataclass(frozen=True, eq=False)
class Rest:
    """The objective without some rows, centred by the others, around a minimum of all."""

    point: Point  # the minimum of all rows
    objective: Objective
    theta: Any  # that minimum, in the coordinates of the others

    @classmethod
    def of(cls, point: Point, rows: Array) -> "Rest":
        """What is left without these rows (indices)."""
        objective, theta = point.objective.without(rows), point.theta
        if objective.centred:
            objective, theta = objective.recentred(theta, point.outputs)
        return cls(point, objective, theta)

    def start(self, solver: AbstractSolver) -> Point:
        """The minimum of all rows as a point of this objective."""
        damping = self.point.curvature.damping
        return expand_for_steps(self.objective, self.theta, solver, damping)

    def brought_back(self, vector: Array) -> Any:
        """A vector (G, D) in the coordinates of all rows."""
        layout, design = self.objective.layout, self.point.objective.design
        own = self.objective.design.to_estimator(layout.unpack(vector))
        return layout.pack(design.to_working(*own))


@final
@dataclass(frozen=True)
class ByTheRest(AbstractDeletion):
    """A deletion; what rounding hides from it is deleted by the rows that remain.

    Whatever the method, those deltas are exact: steps to the minimum without the rows,
    until the next is below ``_TOLERANCE`` of the delta. Cost: a pass over the rows and
    a factor for each step.
    """

    inner: AbstractDeletion
    solver: AbstractSolver

    @property
    def point(self) -> Point:  # type: ignore[override]
        """The minimum of all rows."""
        return self.inner.point

    def deltas(self, rows: Rows) -> Deltas:
        deltas, xp = self.inner.deltas(rows), array_namespace(self.point.theta)
        hidden = xp.nonzero(deltas.unidentified)[0]
        if not hidden.shape[0]:
            return deltas
        shown = xp.nonzero(~deltas.unidentified)[0]
        indices = indices_of(rows, self.point)
        own = [self._minimum(indices[i : i + 1]) for i in hidden]
        order = xp.argsort(xp.concat([shown, hidden]))
        return Deltas.joined([deltas.at(shown), *own]).at(order)

    def group_delta(self, rows: Array) -> Deltas:
        delta = self.inner.group_delta(rows)
        return self._minimum(rows) if bool(delta.unidentified[0]) else delta

    def left_out(self, rows: Rows) -> tuple[Any, Deltas]:
        u, flags = self.inner.left_out(rows)
        xp = array_namespace(u)
        hidden = xp.nonzero(flags.unidentified)[0]
        if not hidden.shape[0]:
            return u, flags
        own = indices_of(rows, self.point)[hidden]
        deltas = Deltas.joined([self._minimum(own[i : i + 1]) for i in range(len(own))])
        layout, terms = self.point.objective.layout, row_terms(self.point, own)
        moves = layout.ungrouped(own_outputs(terms.block, deltas.theta, layout))
        shown = xp.nonzero(~flags.unidentified)[0]
        order = xp.argsort(xp.concat([shown, hidden]))

        def merged(known: Array, other: Array) -> Any:
            parts = [xp.take(known, shown, axis=0), other]
            return xp.take(xp.concat(parts, axis=0), order, axis=0)

        columns = zip(flags, deltas.flags, strict=True)
        both = (None if a is None or b is None else merged(a, b) for a, b in columns)
        return merged(u, terms.outputs + moves), Deltas(*both)

    def missed_changes(self, rows: Rows) -> Any:
        return self.inner.missed_changes(rows)

    def _minimum(self, rows: Array) -> Deltas:
        """The delta of one group, by steps with curvatures of the rows left."""
        rest = Rest.of(self.point, rows)
        try:
            start = rest.start(self.solver)
            if not determines(start.factor, self.point.factor):
                return Deltas.missing(self.point.theta, unidentified=True)
            end = descend(
                start,
                self.solver,
                length=_TOLERANCE * start.distance,
                max_iter=_MOST_STEPS,
            )
        except IndefiniteCurvatureError:  # the steps ended at a saddle point
            lost = Deltas.missing(self.point.theta)
            return lost._replace(converged=~lost.converged)
        if end.unbounded:
            return Deltas.missing(self.point.theta, unbounded=True)
        delta = rest.brought_back(end.point.theta) - self.point.theta
        last = rest.brought_back(-end.point.newton_step)
        error = error_of_minimum(end.point, self.point) if end.converged else inf
        known = delta[None, ...], last[None, ...], end.n_steps, end.converged
        return Deltas.of(*known, error=error)
