"""How far a fitted model is from its minimum, and the way there."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from skinfluence._array import array_namespace, to_numpy
from skinfluence._objective import Objective
from skinfluence.exceptions import (
    NotConvergedWarning,
    NotStationaryWarning,
    RankDeficientWarning,
    SeparableDataError,
)
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    expand,
    gradient_lengths,
    has_no_minimum,
    polish,
    row_terms,
    taken,
)

# Rows, evenly spaced, whose deletion effects say what is typical.
_SAMPLE = 1000
# Polish until the remaining step is this small against a typical deletion effect.
_NEGLIGIBLE = 1e-9
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


def at_minimum(
    objective: Objective,
    theta: Any,
    solver: AbstractSolver,
    *,
    damping: float,
    moves: bool,
    max_iter: int,
) -> Minimum:
    """Measure the remaining Newton step and, if ``moves``, take steps to the minimum.

    Lengths are measured by the curvature: the length of one standard error is that of
    ``sqrt(n)`` times the root mean square of the deletion effects.
    """
    point = expand(objective, theta, solver)
    if point.factor.condition > _OFF_CENTRE and objective.centred:
        # Perhaps the mean of the columns is far from where the curvature sits.
        objective, theta = objective.recentred(theta, point.outputs)
        point = expand(objective, theta, solver)
    _refuse_unbounded(has_no_minimum(objective, point.outputs))
    if point.factor.rank_deficient:
        warnings.warn(
            "The rows do not determine all coefficients (columns are linearly "
            "dependent and not penalised). Predictions are not affected; coefficients "
            "and their deltas are those of minimum norm. Drop columns or penalise.",
            RankDeficientWarning,
            stacklevel=6,
        )
    rows = array_namespace(theta).asarray(_sampled_rows(objective))
    lengths = to_numpy(gradient_lengths(point, rows))
    # Deletion effects below the rounding of the model itself are no measure.
    rounding = 1e-12 * _model_length(point, rows)
    typical = max(float(np.median(lengths)), rounding)
    stationarity = point.distance / typical if typical > 0 else 0.0
    noise = np.sqrt(objective.n_rows * np.mean(lengths**2))
    _warn_if_far(point, stationarity, max(noise, rounding), moves)
    n_steps = 0
    if moves:
        goal = max(_NEGLIGIBLE * typical, 0.1 * rounding)
        end = polish(point, solver, length=goal, max_iter=max_iter)
        _refuse_unbounded(end.unbounded)
        if not end.converged:
            warnings.warn(
                f"Polishing stopped after {end.n_steps} Newton steps at "
                f"{end.point.distance / max(typical, 1e-300):.1e} median deletion "
                "effects from the minimum. Fit the model to a tighter tolerance, or "
                "raise max_iter.",
                NotConvergedWarning,
                stacklevel=6,
            )
        point, n_steps = end.point, end.n_steps
    if damping:
        point = expand(objective, point.theta, solver, damping)
    return Minimum(point, stationarity, typical, n_steps)


def _sampled_rows(objective: Objective) -> Any:
    """Numbers of at most ``_SAMPLE`` rows of positive weight, evenly spaced."""
    rows = np.flatnonzero(to_numpy(objective.weight) > 0)
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int)]


def _model_length(point: Point, rows: Any) -> float:
    """Length of theta by the curvature, from some rows: how large its own terms are."""
    terms = row_terms(point, rows)
    bend = np.trace(to_numpy(terms.bend), axis1=-2, axis2=-1).mean(axis=1)
    size = to_numpy(terms.outputs) ** 2
    if point.objective.loss.quadratic:
        size = size + to_numpy(taken(point.objective.targets, rows)) ** 2
    return float(np.sqrt(point.objective.n_rows * np.mean(bend * size.sum(axis=1))))


def _warn_if_far(point: Point, stationarity: float, noise: float, moves: bool) -> None:
    if moves and point.distance > _FAR * noise:
        warnings.warn(
            f"The fitted coefficients are {point.distance / noise:.1f} times the "
            "model's own sampling error away from the minimum of its objective on "
            "these rows: was the model fitted to other rows or weights, or stopped "
            "early? What follows explains the minimum on these rows. Pass the training "
            "rows and weights of the fit, or refit with prefit=False.",
            NotStationaryWarning,
            stacklevel=6,
        )
    if not moves and stationarity > 1:
        warnings.warn(
            f"The fitted coefficients are {stationarity:.1f} median deletion effects "
            "away from the minimum of their objective: deltas would mostly measure the "
            "optimiser's error. Use polish=True, or fit to a tighter tolerance.",
            NotStationaryWarning,
            stacklevel=6,
        )


def _refuse_unbounded(unbounded: bool) -> None:
    if unbounded:
        raise SeparableDataError(
            "The classes can be separated by a hyperplane and the model is not "
            "penalised (or a class has no rows of positive weight): its objective has "
            "no finite minimum, so nothing about it can be measured. Penalise it (a "
            "finite C), or drop the feature that separates the classes."
        )
