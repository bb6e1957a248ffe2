"""Deletion by the rows that remain, of rows that carry a direction almost alone.

``1 - h`` of a row of leverage near 1 is a difference of two numbers near 1, and so is
what it divides. Such rows, about as many as parameters at the most, are deleted by
steps with a curvature of the other rows, in coordinates of their own. What the others
do not determine is of minimum norm then, as in the refit of ``LinearRegression``.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._kernels import densified
from skinfluence._objective import Objective
from skinfluence._rows import row_blocks
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._leaving_groups import determines
from skinfluence.deletion._vouching import error_of_minimum
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers import (
    AbstractSolver,
    Cholesky,
    Point,
    descend,
    expand_for_steps,
    indices_of,
    own_outputs,
    row_terms,
)

# Steps for the others end at this part of the delta, at the least after so many.
_TOLERANCE, _MOST_STEPS = 1e-10, 50
_EPSILON, _TINY = float(np.finfo(float).eps), 1e-300
# Moves of the outputs of other rows by this part of their terms are rounding.
_LOST = 1e-12
# So is this part of a direction, entries by the lengths of their columns.
_LEAST_PART = 1e-9


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
        objective, theta = point.without(rows), point.theta
        if objective.centred:
            objective, theta = objective.recentred(theta, point.outputs)
        return cls(point, objective, theta)

    @property
    def is_empty(self) -> bool:
        """Whether no row is left that weighs anything."""
        return not bool(array_namespace(self.theta).any(self.objective.weight > 0))

    def start(self, solver: AbstractSolver) -> Point:
        """The minimum of all rows as a point of this objective."""
        damping = self.point.curvature.damping
        return expand_for_steps(self.objective, self.theta, solver, damping)

    def brought_back(self, vector: Array) -> Any:
        """A vector (G, D) in the coordinates of all rows."""
        layout, design = self.objective.layout, self.point.objective.design
        own = self.objective.design.to_estimator(layout.unpack(vector))
        return layout.pack(design.to_working(*own))

    def rounding(self, theta: Array) -> float:
        """What bringing theta (G, D) back may cost the intercepts, in their units."""
        layout, design = self.objective.layout, self.point.objective.design
        xp, own = array_namespace(theta), self.objective.design
        if not design.has_intercept:
            return 0.0
        coef, intercept = own.to_estimator(layout.unpack(theta))
        far = replace(design, centre=xp.abs(design.centre) + xp.abs(own.centre))
        sizes = far.to_working(xp.abs(coef), xp.abs(intercept))[-1, :]  # (K,)
        return _EPSILON * float(xp.sum(sizes))


@final
@dataclass(frozen=True)
class ByTheRest(AbstractDeletion):
    """A deletion; what rounding hides from it is deleted by the rows that remain.

    Whatever the method, those deltas are exact: steps to the minimum without the rows,
    until the next is below ``_TOLERANCE`` of the delta. Where the rows left determine
    less than all rows do, the parameters without the rows are those of minimum norm,
    and the delta is flagged as unidentified. Cost: a pass over the rows and a factor
    for each step.
    """

    inner: AbstractDeletion
    solver: AbstractSolver

    @property
    def point(self) -> Point:  # type: ignore[override]
        """The minimum of all rows."""
        return self.inner.point

    def deltas(self, rows: Rows) -> Deltas:
        return self.completed(self.inner.deltas(rows), rows)

    def completed(self, deltas: Deltas, rows: Rows) -> Deltas:
        """The deltas of these rows by ``inner``, with those that are hidden from it."""
        xp = array_namespace(self.point.theta)
        hidden = xp.nonzero(deltas.unidentified)[0]
        if not hidden.shape[0]:
            return deltas
        shown = xp.nonzero(~deltas.unidentified)[0]
        own = self._single(indices_of(rows, self.point)[hidden])
        order = xp.argsort(xp.concat([shown, hidden]))
        return Deltas.joined([deltas.at(shown), own]).at(order)

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
        deltas = self._single(own)
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

    def _single(self, rows: Array) -> Deltas:
        """Deltas of single rows: those that carry a direction alone, many at once."""
        parts, weight = [], self.point.objective.weight
        is_only_row = int(array_namespace(weight).count_nonzero(weight)) == 1
        for some in row_blocks(rows.shape[0], self.point.objective.design.n_rows):
            directions = None
            # Class weights of their own move the others where this row does not pull.
            if not (is_only_row or self.point.objective.balanced):
                directions = lone_directions(self.point, rows[some])
            for i in range(some.stop - some.start):
                row = rows[some.start + i : some.start + i + 1]
                if directions is None or not bool(directions.lone[i]):
                    parts.append(self._minimum(row))
                    continue
                theta = _along(self.point, directions.theta[i, ...])
                known = theta[None, ...], 0.0 * theta[None, ...], 1, True, True
                parts.append(Deltas.of(*known, error=0.0))
        return Deltas.joined(parts)

    def _minimum(self, rows: Array) -> Deltas:
        """The delta of one group, by steps with curvatures of the rows left."""
        point, rest = self.point, Rest.of(self.point, rows)
        if rest.is_empty:
            return Deltas.missing(point.theta, unidentified=True)
        try:
            start = rest.start(self.solver)
            # With corners the signs are held here; who leaves the set is flagged.
            length = _TOLERANCE * start.distance
            end = descend(start, self.solver, length=length, max_iter=_MOST_STEPS)
        except IndefiniteCurvatureError:  # the steps ended at a saddle point
            lost = Deltas.missing(self.point.theta)
            return lost._replace(converged=~lost.converged)
        if end.unbounded:
            return Deltas.missing(self.point.theta, unbounded=True)
        theta, is_open = end.point.theta, not determines(start.factor, point.factor)
        if is_open:
            theta = of_minimum_norm(end.point)
        delta = rest.brought_back(theta) - point.theta
        last, error = rest.brought_back(-end.point.newton_step), inf
        if end.converged:
            error = error_of_minimum(end.point, point)
            error += rest.rounding(theta) / max(point.unit_length, _TINY)
        known = delta[None, ...], last[None, ...], end.n_steps, end.converged
        return Deltas.of(*known, is_open, error=error)


def remainders(point: Point, solver: AbstractSolver, rows: Array) -> Any:
    """``1 - h`` of rows (indices) by the others, ``1 / (1 + s w x' inv(H_-i) x)``, (b, G).

    For outputs that are not coupled; the penalty stays whole.
    """
    xp, parts = array_namespace(point.theta), []
    directions = lone_directions(point, rows)
    nothing = xp.zeros_like(point.theta[:, :1]).T  # (1, G)
    for i in range(rows.shape[0]):
        if directions is not None and bool(directions.lone[i]):
            parts.append(nothing)
            continue
        row = rows[i : i + 1]
        rest = Rest.of(point, row)
        whole = replace(rest.objective, penalty=point.objective.penalty)
        factor = replace(rest, objective=whole).start(solver).factor
        A = factor.loss_blocks(densified(whole.design.block(row)))[..., 0, 0]
        bend = row_terms(point, row).bend[..., 0, 0]
        size = xp.broadcast_to(bend * A, (1, point.objective.layout.n_groups))
        lone = not determines(factor, point.factor)
        parts.append(xp.zeros_like(size) if lone else 1 / (1 + size))
    return xp.concat(parts, axis=0)


class Directions(NamedTuple):
    """Directions of the parameters that b rows bring, and which carry them alone."""

    theta: Any  # (b, G, D) inv(H) x_i
    lone: Any  # (b,) bool: no other row, and no penalty, sees the direction


def lone_directions(point: Point, rows: Array) -> Directions | None:
    """The directions of rows (indices) of leverage near 1; None if outputs are coupled.

    A row that carries a direction alone is fitted without a residual, and the others are
    at their minimum already, anywhere along ``inv(H) x_i``.
    """
    objective, layout = point.objective, point.objective.layout
    if layout.group_size > 1 or objective.wider is not None:
        return None
    xp, design = array_namespace(point.theta), objective.design
    block = densified(design.block(rows))
    ones = xp.ones((block.shape[0], layout.n_groups, 1), dtype=block.dtype)
    ones = xp.asarray(ones, device=device_of(block))
    theta = point.factor.row_steps(block, ones)
    lengths = xp.abs(theta) * xp.sqrt(point.curvature.diagonal())
    least = _LEAST_PART * xp.max(lengths, axis=2, keepdims=True)
    theta = xp.where(lengths > least, theta, xp.zeros_like(theta))
    penalised = xp.any(point.curvature.diagonal_part * theta != 0, axis=(1, 2))
    moves, own, sizes = _moves_along(point, rows, theta)
    unseen = xp.all(moves <= _LOST * sizes, axis=1)
    # Not so along an intercept, which the others have too.
    differs = xp.any(own > _LOST * sizes, axis=1)
    return Directions(theta, ~penalised & unseen & differs)


def open_parameters(point: Point, rows: Array) -> tuple[Any, Any]:
    """Which coefficients (b, K, p) and intercepts (b, K) rows leave open, as 0 or 1.

    The rows (indices) each carry a direction of the parameters alone: what does not
    change along it is determined by the others.
    """
    layout, design = point.objective.layout, point.objective.design
    directions, xp = lone_directions(point, rows), array_namespace(point.theta)
    if directions is None:
        ones = xp.broadcast_to(
            xp.ones_like(point.theta), (rows.shape[0], *point.theta.shape)
        )
        coef, _ = design.to_estimator(layout.unpack(ones))
        return xp.ones_like(coef), xp.ones_like(coef[..., 0])
    coef, intercept = design.to_estimator(layout.unpack(directions.theta))
    far = replace(design, centre=-xp.abs(design.centre))
    _, sizes = far.to_estimator(layout.unpack(xp.abs(directions.theta)))
    alone = xp.astype(directions.lone, coef.dtype)
    open_coef = xp.astype(coef != 0, coef.dtype)
    open_intercept = xp.astype(xp.abs(intercept) > _LEAST_PART * sizes, coef.dtype)
    return (
        1 - alone[:, None, None] * (1 - open_coef),
        1 - alone[:, None] * (1 - open_intercept),
    )


def _moves_along(point: Point, rows: Array, theta: Array) -> tuple[Any, Any, Any]:
    """How far directions (b, G, D) move other rows' outputs apart, and the own from them.

    And of what size outputs are, all (b, K). A move of all alike is that of a free
    intercept, and does not count. In X as it is: a centre far off would hide what the
    others say.
    """
    objective, layout = point.objective, point.objective.layout
    xp, design = array_namespace(theta), objective.design
    coef, _ = design.to_estimator(layout.unpack(theta))  # (b, K, p)
    used = coef if design.columns is None else xp.take(coef, design.columns, axis=2)
    used, plain = xp.permute_dims(used, (2, 1, 0)), design.source.block
    shape, place = (used.shape[1], used.shape[2]), device_of(theta)
    flat = xp.reshape(used, (used.shape[0], -1))
    infinite = xp.full(shape, xp.inf, dtype=theta.dtype, device=place)
    highest, lowest, sizes = -infinite, infinite, 0.0 * flat[0, :]
    sizes = xp.reshape(sizes, shape)
    of_row = 0.0 * sizes
    if not design.has_intercept:
        highest, lowest = 0.0 * sizes, 0.0 * sizes
    for part in row_blocks(objective.n_rows, design.width):
        block = densified(plain(part, 0.0 * design.centre, False))
        u = xp.reshape(block @ flat, (block.shape[0], *shape))
        size = xp.reshape(xp.abs(block) @ xp.abs(flat), u.shape)
        own = xp.arange(part.start, part.stop, device=place)[:, None] == rows
        of_row = of_row + xp.sum(xp.where(own[:, None, :], u, 0.0 * u), axis=0)
        gone = (own | (objective.weight[part] == 0)[:, None])[:, None, :]
        highest = xp.maximum(highest, xp.max(xp.where(gone, -xp.inf, u), axis=0))
        lowest = xp.minimum(lowest, xp.min(xp.where(gone, xp.inf, u), axis=0))
        sizes = xp.maximum(sizes, xp.max(xp.where(gone, 0.0, size), axis=0))
    apart = xp.maximum(xp.abs(of_row - highest), xp.abs(of_row - lowest))
    return (highest - lowest).T, apart.T, sizes.T


def _along(point: Point, direction: Array) -> Any:
    """The way (G, D) along a direction to the coefficients of minimum norm."""
    layout, design = point.objective.layout, point.objective.design
    xp = array_namespace(direction)

    def coefficients(vector: Array) -> Any:
        return design.to_estimator(layout.unpack(vector))[0]  # (K, p)

    own = coefficients(direction)
    size = xp.sum(own**2, axis=1)
    part = xp.sum(own * coefficients(point.theta), axis=1)
    part = part / xp.where(size > 0, size, xp.ones_like(size))
    return -part[:, None] * direction


def of_minimum_norm(point: Point) -> Any:
    """Theta (G, D) without its part in directions that H does not see.

    ``inv(H) H`` projects on the others if inv(H) is that of minimum norm, as the direct
    solver's is.
    """
    curvature, columns = point.curvature, point.theta[..., None]
    factor = Cholesky().prepare(curvature)
    image = array_namespace(columns).permute_dims(curvature.matvec(columns), (2, 0, 1))
    unseen = curvature.within(columns)[..., 0] - factor.steps(image)[0, ...]
    return point.theta - unseen
