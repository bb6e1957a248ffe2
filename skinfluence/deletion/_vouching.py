"""What is known of the error of a step: without a pass over the data, or by one."""

from collections.abc import Callable
from typing import Any

from skinfluence._array import Array, array_namespace, device_of, masked, placed
from skinfluence._objective import Objective
from skinfluence._rows import iterate
from skinfluence.deletion._base import Deltas
from skinfluence.deletion._leaving import AbstractLeaving, OneByOne, Step
from skinfluence.deletion._passes import summed_over_rows
from skinfluence.exceptions import IndefiniteCurvatureError
from skinfluence.solvers import AbstractSolver, Nearby, Point, expand_for_steps

# Entries of the rows up to which each step in doubt gets a pass over them, and of H up to
# which that is by a solve: milliseconds for some. How many steps share a pass.
_MOST_ENTRIES, _MOST_SOLVED, _TOGETHER = 2**21, 2**20, 128
# A bound is for the worst of rows. A step that it does not vouch for is doubtful if the
# error expected of rows of typical width is more than this part of the step; or, where
# no pass tells, if it is longer than this itself, and as measured by typical widths.
_MOST_EXPECTED, _MOST_TYPICAL = 0.1, 0.8
# Where no bound is known, a step is doubtful if the next one, by the curvature at its
# end, is this part of it. It is so only if that is this part by the curvature of here.
_MOST_LEFT, _LEAST_LEFT = 0.3, 0.05
_TINY = 1e-300


def vouched(
    point: Point,
    deltas: Deltas,
    nearby: Nearby,
    length: Array,
    apart: Array | float,
    residuals: Callable[[Array], Any],
) -> Deltas:
    """Deltas of b groups with bounds of their errors, and those in doubt marked.

    ``length`` (b,) is that of the Newton steps in the norm of H without the group, and
    ``apart`` how far from their ends the deltas are. Steps whose bound is as large as
    they are get a pass over the rows each, unless that costs much; ``residuals``
    gives the lengths of the next Newton steps where a mask (b,) holds.
    """
    xp = array_namespace(length)
    error = nearby.one_step(length) + apart
    doubtful = ~(error <= length) & ~deltas.is_missing
    if bool(xp.any(doubtful)) and passes_are_cheap(point):
        own, moved = nearby.at(doubtful), masked(length + apart, doubtful)
        steps = residuals(doubtful)
        known = own.remaining(moved, steps)
        is_far = own.expected(moved, steps) > _MOST_EXPECTED * moved
        is_far = is_far & ~(known <= masked(length, doubtful))
        known = placed(known, doubtful)
        error = xp.where(doubtful & (known < error), known, error)
        doubtful = placed(is_far, doubtful)
    else:
        near = (length <= _MOST_TYPICAL) | (nearby.typical * length <= _MOST_TYPICAL)
        doubtful = doubtful & ~near
    error = error * xp.sqrt(nearby.stretch)
    return deltas._replace(error=error, doubtful=doubtful)


def doubted(
    deltas: Deltas,
    length: Array,
    leaving: Callable[[Array], AbstractLeaving],
    point: Point,
    solver: AbstractSolver,
) -> Deltas:
    """Deltas of b groups, those in doubt marked, where there is no bound.

    The steps, of this ``length`` (b,), that may lead to where the curvature is another
    get passes over the rows each, unless that costs much: is the next step short?
    ``leaving`` gives the groups where a mask (b,) holds.
    """
    xp = array_namespace(length)
    longer = length * xp.sqrt(deltas.stretch)
    doubtful = ~(longer <= point.trusted_length) & ~deltas.is_missing
    if bool(xp.any(doubtful)) and passes_are_cheap(point):
        gone = leaving(doubtful)
        if deltas.theta is None:
            theta = gone.solve(gone.gradient).value
        else:
            theta = masked(deltas.theta, doubtful)
        is_far = _are_far(gone, theta, masked(length, doubtful), solver)
        doubtful = placed(is_far, doubtful)
    return deltas._replace(doubtful=doubtful)


def _are_far(
    leaving: AbstractLeaving, theta: Array, length: Array, solver: AbstractSolver
) -> Any:
    """Whether the next steps are long, by curvatures of their own, (b,)."""
    left = residual_lengths(leaving, theta)
    is_far = ~(left <= _LEAST_LEFT * length)
    xp, start = array_namespace(theta), leaving.point.theta
    for i in xp.nonzero(is_far)[0]:
        rest, here = leaving.objective_without(int(i)), theta[int(i), ...]
        try:
            step = expand_for_steps(rest, start + here, solver).newton_step
        except IndefiniteCurvatureError:  # a saddle point
            continue
        size, own = (_euclidean(rest, vector) for vector in (step, here))
        is_far[int(i)] = not size <= _MOST_LEFT * own
    return is_far


def _euclidean(objective: Objective, vector: Array) -> float:
    """Length of a vector (G, D) in the units of the estimator."""
    xp = array_namespace(vector)
    parts = objective.as_changes(vector)
    return sum(float(xp.sum(part**2)) for part in parts) ** 0.5


def vouched_groups(
    deltas: Deltas,
    leaving: AbstractLeaving,
    newton: Step,
    solver: AbstractSolver,
    apart: Array | float = 0.0,
) -> Deltas:
    """The same for groups that are at hand, and their Newton steps."""

    def residuals(mask: Array) -> Any:
        return residual_lengths(leaving.at(mask), masked(deltas.theta, mask))

    nearby, length = leaving.nearby(), own_length(leaving, newton)
    if nearby is None:
        return doubted(deltas, length, leaving.at, leaving.point, solver)
    return vouched(leaving.point, deltas, nearby, length, apart, residuals)


def error_of_minimum(end: Point, point: Point) -> float:
    """Bound of the error of a minimum of its own, as a vector that H of ``point`` measures.

    It is one in the units of the estimator, where both are vectors of the same kind.
    """
    return end.euclidean_error / max(point.unit_length, _TINY)


def own_length(leaving: AbstractLeaving, newton: Step) -> Any:
    """Length of the Newton steps in the norms of H without each group, (b,)."""
    squared = squared_length(leaving, newton)
    xp = array_namespace(squared)
    return xp.sqrt(xp.where(squared < 0, xp.zeros_like(squared), squared))


def squared_length(leaving: AbstractLeaving, newton: Step) -> Any:
    """The same squared, (b,), up to rounding."""
    xp = array_namespace(newton.value)
    return xp.sum(leaving.gradient * newton.value, axis=(1, 2))


def passes_are_cheap(point: Point) -> bool:
    """Whether a pass over the rows for each of a few steps takes milliseconds."""
    design, n_outputs = point.objective.design, point.objective.layout.n_outputs
    return design.n_rows * design.row_entries * n_outputs <= _MOST_ENTRIES


def row_residuals(point: Point, rows: Array, theta: Array | None) -> Any:
    """``residual_lengths`` of single rows, or a bound where a solve would cost much."""
    layout = point.objective.layout
    if theta is None:
        newton = OneByOne.of(point, rows)
        theta = newton.solve(newton.gradient).value
    if layout.group_size > 1 or layout.n_groups * layout.size**2 <= _MOST_SOLVED:
        return residual_lengths(OneByOne.of(point, rows), theta)
    return _projected_lengths(point, rows, theta)


def _projected_lengths(point: Point, rows: Array, theta: Array) -> Any:
    """Bound of the length of the next Newton step, without a solve, (b,).

    The gradient there is ``sum_j x_j e_j`` over the other rows, ``e_j`` what bends their
    slopes, and H without the row at least ``sum_j w_j x_j x_j'``: the squared length is
    at most ``sum_j e_j**2 / w_j``.
    """
    objective, layout = point.objective, point.objective.layout
    xp, loss = array_namespace(theta), objective.loss
    columns = layout.side_by_side(xp.permute_dims(theta, (1, 2, 0)))  # (q, K b)
    squared = xp.zeros_like(theta[:, 0, 0])
    aligned = objective.targets, point.outputs, objective.weight
    for part, (block, y, u, s) in iterate(objective.design, *aligned):
        moves = xp.reshape(block @ columns, (*u.shape, -1))  # (rows, K, b)
        w = xp.broadcast_to(loss.hessian(y, u)[..., 0, 0], u.shape)[..., None]
        bent = loss.gradient_change(y, u, moves) - w * moves
        safe = xp.where(w > 0, w, xp.ones_like(w))
        terms = xp.sum(xp.where(w > 0, bent**2 / safe, xp.zeros_like(bent)), axis=1)
        own = xp.arange(part.start, part.stop, device=device_of(rows))[:, None] == rows
        terms = xp.where(own, xp.zeros_like(terms), s[:, None] * terms)
        squared = squared + xp.sum(terms, axis=0)
    factors = objective.row_factors(rows)
    if factors is not None:  # of e_j and of w_j
        squared = squared * xp.max(factors, axis=(1, 2))
    return xp.sqrt(squared)


def residual_lengths(leaving: AbstractLeaving, theta: Array) -> Any:
    """Length of the next Newton step at deltas (b, G, D), in the norm of H_-G, (b,)."""
    xp = array_namespace(theta)
    r = gradients_without(leaving, theta)
    squared = xp.sum(r * leaving.solve(r).value, axis=(1, 2))
    return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))


def gradients_without(leaving: AbstractLeaving, theta: Array) -> Any:
    """Gradients of the objective without each group at deltas theta, (b, G, D)."""
    point, xp = leaving.point, array_namespace(theta)
    loss = point.objective.loss

    def slopes(y: Array, u: Array, s: Array, moves: Array) -> Any:
        changes = loss.gradient_change(y, u, moves)
        changes *= s[:, None, None]
        return changes

    def change() -> Any:
        n, parts = theta.shape[0], []
        for a in range(0, n, _TOGETHER):
            some, factors = slice(a, min(a + _TOGETHER, n)), leaving.factors
            factors = None if factors is None else factors[some, ...]
            parts.append(
                summed_over_rows(point, slopes, theta[some, ...], factors=factors)
            )
        return xp.concat(parts, axis=0)

    return leaving.gradient_without(theta, change)
