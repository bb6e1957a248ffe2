"""What all rows say together: degrees of freedom, dispersion and standard errors."""

from typing import Any, NamedTuple

import numpy as np

from skinfluence._array import Array, array_namespace
from skinfluence.diagnostics._residuals import Residuals
from skinfluence.solvers import Point

# Residuals below this many machine epsilons of what they are a difference of are
# rounding. On exact relations of whole numbers they are at most half of that.
_ROUNDING = 32 * float(np.finfo(np.float64).eps)
# Degrees of freedom, sums of leverages, below which none are left but by rounding.
LEAST_DOF = 1e-8


class Totals(NamedTuple):
    """Numbers of the whole fit, (K,) unless said."""

    edf: Any  # sum of the leverages
    dof: Any  # rows of positive weight less edf
    rank: Any  # parameters that rows or penalty determine
    deviance: Any  # 0 where all residuals are rounding
    rounding: Any  # deviance of residuals that are nothing but rounding
    dispersion: Any  # Pearson chi2 / dof, 1 where the family fixes it
    deviance_dispersion: Any  # deviance / dof, or 1 too: what one without a row is to
    coef_error: Any  # (K, p) standard error over that of the noise
    intercept_error: Any


def totals_of(point: Point, expected: Point, residuals: Residuals) -> Totals:
    """Totals of the fit from the residuals of all of its rows."""
    xp, known = array_namespace(point.theta), point.objective.loss.dispersion_known

    def dispersion(total: Array) -> Any:
        some = xp.where(deviance > 0, total, xp.zeros_like(total))
        return xp.ones_like(total) if known else over(some, n_rows - edf)

    n_rows = xp.sum(xp.astype(point.objective.weight > 0, xp.float64))
    edf = xp.sum(residuals.leverage, axis=0)
    deviance = xp.sum(residuals.deviance**2, axis=0)
    rounding = _rounding(point)
    deviance = xp.where(deviance > rounding, deviance, xp.zeros_like(deviance))
    variance = expected.factor.diagonal_of_inverse()  # (K, q)
    penalised = xp.sum(expected.curvature.diagonal_part * variance, axis=-1)
    coef_error, _ = point.objective.design.to_estimator(xp.sqrt(variance))
    return Totals(
        edf=edf,
        dof=n_rows - edf,
        rank=edf + penalised,
        deviance=deviance,
        rounding=rounding,
        dispersion=dispersion(xp.sum(residuals.pearson**2, axis=0)),
        deviance_dispersion=dispersion(deviance),
        coef_error=coef_error,
        intercept_error=_intercept_error(expected),
    )


def over(total: Array, dof: Array) -> Any:
    """Total over degrees of freedom; NaN where there are none or nothing is left."""
    xp = array_namespace(total)
    some = (total > 0) & (dof > LEAST_DOF)
    return xp.where(some, total, xp.nan) / xp.where(some, dof, xp.ones_like(dof))


def _rounding(point: Point) -> Any:
    """Deviance of residuals ``y - mu`` that are the rounding of y and of u, (K,)."""
    objective = point.objective
    loss, y, u = objective.loss, objective.targets, point.outputs
    xp, s = array_namespace(u), objective.weight[:, None]
    target = loss.pearson_residual(y + loss.response(u), u)  # y / sqrt(V)
    squared = target**2 + loss.fisher_weight(u) * u**2
    return _ROUNDING**2 * xp.sum(s * squared, axis=0)


def _intercept_error(expected: Point) -> Any:
    """Standard errors of the intercepts ``B[-1] - centre' coef``, noise of size 1, (K,)."""
    design, layout = expected.objective.design, expected.objective.layout
    xp = array_namespace(expected.theta)
    if not design.has_intercept:
        return xp.zeros_like(expected.theta[:, 0])
    gradient = xp.concat([-design.centre, xp.ones_like(expected.theta[0, :1])])
    columns = xp.broadcast_to(gradient, (layout.n_groups, layout.size))[..., None]
    return xp.sqrt(xp.sum(columns * expected.factor.solve(columns).value, axis=(1, 2)))
