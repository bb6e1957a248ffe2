"""How far a fitted model is from its minimum, and the way there."""

from typing import Any, NamedTuple

import numpy as np

from skinfluence import exceptions, solvers
from skinfluence._array import array_namespace, moved, take_rows, to_numpy
from skinfluence._objective import Objective
from skinfluence._warn import warn
from skinfluence.solvers import AbstractSolver, Point, expand

# Rows, evenly spaced, whose deletion effects say what is typical.
_SAMPLE = 1000
# Polish until the remaining step is this small against a typical deletion effect.
NEGLIGIBLE = 1e-9
# After a step of at most so many times what is near enough, the factor serves on.
_SERVES_ON = 10.0
# A condition number that calls for a better centre than the mean of the rows.
_OFF_CENTRE = 1e5
# A fit this far from its minimum, in units of its own sampling error, is another model.
_FAR = 0.5


class Minimum(NamedTuple):
    """Where a fit was found to have its minimum."""

    point: Point
    stationarity: float  # distance of the estimator's fit over ``typical``
    typical: float  # median length of the deletion effects
    n_steps: int  # Newton steps taken

    def prepared_by(self, solver: AbstractSolver) -> "Minimum":
        """The same place, with another solver's factor."""
        curvature = self.point.curvature
        return self._replace(point=Point(curvature, solver.prepare(curvature)))


def at_minimum(
    objective: Objective,
    theta: Any,
    solver: AbstractSolver,
    *,
    damping: float,
    near: float,
    max_iter: int,
    same_rows: bool = True,
) -> Minimum:
    """Measure the remaining Newton step, and take steps until it is near enough.

    ``near`` counts typical deletion effects; infinite: no step is taken. Unless the
    estimator was fitted to the ``same_rows``, it is no surprise if it is far away.

    Lengths are measured by the curvature: the length of one standard error is that of
    ``sqrt(n)`` times the root mean square of the deletion effects.
    """
    gap, n_steps, moves, settled, start = None, 0, near < np.inf, True, None
    if moves and objective.wider is not None:
        settling, start, gap = _settled(objective, theta, solver, max_iter)
        n_steps, settled = settling.n_steps, settling.converged
        objective, theta = settling.point.objective, settling.point.theta
    point = expand(objective, theta, solver)
    if point.factor.condition > _OFF_CENTRE and objective.centred:
        # Perhaps the mean of the columns is far from where the curvature sits.
        objective, theta = objective.recentred(theta, point.outputs)
        point = expand(objective, theta, solver)
    _refuse_unbounded(solvers.has_no_minimum(objective, point.outputs))
    if point.factor.rank_deficient:
        warn(
            "The rows do not determine all coefficients (columns are linearly "
            "dependent and not penalised). Predictions are not affected; coefficients "
            "and their deltas are those of minimum norm. Drop columns or penalise.",
            exceptions.RankDeficientWarning,
        )
        _warn_if_flat(point)
    sampled = _sampled_rows(objective, min(_SAMPLE, point.factor.affordable))
    rows = moved(sampled, theta)
    # Where nothing moves at the minimum, the fit says what effects are typical.
    measured = point if point.curvature.n_seen or start is None else start
    lengths = to_numpy(solvers.gradient_lengths(measured, rows))
    # Deletion effects below the rounding of the model itself are no measure.
    rounding = 1e-12 * _model_length(measured, rows)
    typical = max(float(np.median(lengths)), rounding)
    distance = point.distance if gap is None else gap
    stationarity = distance / typical if typical > 0 else 0.0
    noise = np.sqrt(objective.n_rows * np.mean(lengths**2))
    if same_rows:
        _warn_if_far(distance, stationarity, max(noise, rounding), moves)
    if moves:
        goal = max(near * typical, 0.1 * rounding)
        end = solvers.polish(
            point, solver, length=goal, max_iter=max_iter, keeps=_SERVES_ON * goal
        )
        _refuse_unbounded(end.unbounded)
        if not (end.converged and settled):
            warn(
                f"Polishing stopped after {end.n_steps} Newton steps at "
                f"{end.point.distance / max(typical, 1e-300):.1e} median deletion "
                "effects from the minimum. Fit the model to a tighter tolerance, or "
                "raise max_iter.",
                exceptions.NotConvergedWarning,
            )
        point, n_steps = end.point, n_steps + end.n_steps
    if damping:
        point = expand(objective, point.theta, solver, damping)
    return Minimum(point, stationarity, typical, n_steps)


def _settled(
    objective: Objective, theta: Any, solver: AbstractSolver, max_iter: int
) -> tuple[solvers.Polished, Point, float]:
    """The minimum with its active set, the fit on its own, and how far it was."""
    start = expand(objective, theta, solver)
    _refuse_unbounded(solvers.has_no_minimum(objective, start.outputs))
    end = solvers.minimise_with_corners(start, solver, length=0.0, max_iter=max_iter)
    _refuse_unbounded(end.unbounded)
    wide = solvers.on_all_features(end.point)
    gap = objective.selection.spread(theta) - wide.theta
    xp = array_namespace(gap)
    squared = xp.sum(gap * wide.curvature.matvec(gap[..., None])[..., 0])
    return end, start, float(squared) ** 0.5


def _sampled_rows(objective: Objective, most: int) -> Any:
    """Numbers of at most ``most`` rows of positive weight, evenly spaced."""
    rows = np.flatnonzero(to_numpy(objective.weight) > 0)
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]


def _model_length(point: Point, rows: Any) -> float:
    """Length of theta by the curvature, from some rows: how large its own terms are."""
    objective = point.objective
    u, y = take_rows(point.outputs, rows), take_rows(objective.targets, rows)
    M = to_numpy(objective.loss.hessian(y, u))
    bend = np.abs(np.trace(M, axis1=-2, axis2=-1)).mean(axis=1)
    bend = bend * to_numpy(take_rows(objective.weight, rows))
    size = to_numpy(u) ** 2
    if objective.loss.quadratic:
        size = size + to_numpy(y)[:, : u.shape[1]] ** 2  # behind them may stand weights
    return float(np.sqrt(objective.n_rows * np.mean(bend * size.sum(axis=1))))


def _warn_if_far(
    distance: float, stationarity: float, noise: float, moves: bool
) -> None:
    if moves and distance > _FAR * noise:
        warn(
            f"The fitted coefficients are {distance / noise:.1f} times the "
            "model's own sampling error away from the minimum of its objective on "
            "these rows: was the model fitted to other rows or weights, or stopped "
            "early? What follows explains the minimum on these rows. Pass the training "
            "rows and weights of the fit, or refit with prefit=False.",
            exceptions.NotStationaryWarning,
        )
    if not moves and stationarity > 1:
        warn(
            f"The fitted coefficients are {stationarity:.1f} median deletion effects "
            "away from the minimum of their objective: deltas would mostly measure the "
            "optimiser's error. Use polish=True, or fit to a tighter tolerance.",
            exceptions.NotStationaryWarning,
        )


def _warn_if_flat(point: Point) -> None:
    """Warn where no Newton step sees a gradient: its length is no distance then."""
    xp = array_namespace(point.theta)
    if point.factor.effective_dof == 0 and bool(xp.any(point.gradient != 0)):
        largest = float(xp.max(xp.abs(point.theta)))
        warn(
            "The loss has a slope at the fitted coefficients but no curvature: the "
            f"optimiser has run away (coefficients up to {largest:.1e}), and what "
            "follows says nothing about a minimum. Scale the features and weights, or "
            "fit with another solver.",
            exceptions.NotStationaryWarning,
        )


def _refuse_unbounded(unbounded: bool) -> None:
    if unbounded:
        raise exceptions.SeparableDataError(
            "The objective has no finite minimum on these rows, so nothing about it can "
            "be measured: the classes can be separated by a hyperplane and the model is "
            "not penalised, a class has no rows of positive weight, or all counts are "
            "zero (or all those along a direction that is not penalised). Penalise it (a "
            "finite C, a larger alpha), or drop the feature that separates the rows."
        )
