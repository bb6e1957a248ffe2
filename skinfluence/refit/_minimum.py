"""The last step fitted to some of its rows, and polished to the minimum."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skinfluence import solvers, support
from skinfluence._array import is_foreign, to_numpy
from skinfluence._objective import Objective
from skinfluence.curvature import RowwiseCurvature
from skinfluence.solvers import Point, on_all_features

# The judge does not stop at a tolerance: only where rounding lets no step help.
_POLISH_STEPS = 100


def refitted_theta(
    model: support.AbstractModel,
    objective: Objective,
    y: np.ndarray,
    theta: np.ndarray,
    *,
    polish: bool = True,
    warm: bool = False,
) -> np.ndarray | None:
    """Theta of the estimator fitted to the rows of positive weight, (G, D).

    ``theta`` is that of all rows. None where no finite fit exists. A warm fit starts
    there, which is faster, and ends there if it is the only minimum: no judge does that.
    """
    if solvers.has_no_minimum(objective, objective.outputs(theta)):
        return None
    if objective.offset is not None and polish:  # which estimators do not take
        end = polished(objective, theta)
        return None if end.unbounded else end.point.theta
    if warm and objective.loss.convex and not objective.loss.bounded_domain:
        end = polished(objective, theta)
        if end.unbounded:
            return None
        if end.converged and not end.point.factor.rank_deficient:
            return end.point.theta
    kept = np.flatnonzero(to_numpy(objective.weight) > 0)
    X, weight = support.host_rows(objective.design.source), to_numpy(objective.weight)
    fitted = _unpolished(model, X[kept], y[kept], weight[kept])
    start = model.theta(objective, fitted)
    if not polish:
        return start
    end = polished(objective, _within_domain(objective, start, theta))
    return None if end.unbounded else end.point.theta


def refitted_point(
    model: support.Model, X: Any, y: np.ndarray, weight: np.ndarray
) -> Point | None:
    """The minimum without other rows or classes than these, transformed, on the host.

    None where no finite fit exists.
    """
    fitted = replace(model, estimator=_unpolished(model, X, y, weight))
    end = _polished_from(*fitted.objective(X, y, weight))
    return None if end.unbounded else end.point


def _unpolished(model: support.AbstractModel, X: Any, y: Any, weight: Any) -> Any:
    """A refit as the estimator makes it: the polish finishes what its optimiser leaves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.refitted(X, y, weight)


def _within_domain(objective: Objective, start: Any, theta: Any) -> Any:
    """The estimator's refit, or the fit to all rows where its optimiser got lost."""
    if not objective.loss.bounded_domain:
        return start
    inside = objective.loss.within_domain(objective.outputs(start))
    return start if np.all(inside | (objective.weight == 0)) else theta


def polished(objective: Objective, theta: Any) -> solvers.Polished:
    """The minimum, among all features: L1 may hold others at zero than at the start."""
    return _polished_from(*objective.narrowed(theta))


def _polished_from(objective: Objective, theta: Any) -> solvers.Polished:
    """The same from a theta on its active set."""
    solver = solvers.solver_for("auto", objective)
    start = solvers.expand_for_steps(objective, theta, solver)
    end = solvers.minimise_with_corners(
        start, solver, length=0.0, max_iter=_POLISH_STEPS
    )
    return end._replace(point=on_all_features(end.point))


def seen_part(objective: Objective, delta: Any) -> Any:
    """The part of a delta that the objective sees: optimisers may drift in the rest."""
    gauge = RowwiseCurvature(objective, delta).gauge
    return delta if gauge is None else delta - (delta @ gauge) @ gauge.T


def host_point(point: Point) -> Point:
    """The point among all features, in NumPy: refits are made on the host."""
    point = on_all_features(point)
    if not is_foreign(point.theta):
        return point
    objective, damping = support.on_host(point.objective), point.curvature.damping
    solver = solvers.solver_for("auto", objective)
    return solvers.expand(objective, to_numpy(point.theta), solver, damping)
