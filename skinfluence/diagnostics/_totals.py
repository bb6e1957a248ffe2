"""What all rows say together: degrees of freedom, dispersion and standard errors."""

from typing import Any, NamedTuple

from skinfluence._array import array_namespace
from skinfluence.diagnostics._facts import Facts
from skinfluence.solvers import Point


class Totals(NamedTuple):
    """Numbers of the whole fit, (K,) unless said."""

    n_rows: Any  # of positive weight
    edf: Any  # sum of the leverages
    rank: Any  # parameters that rows or penalty determine
    deviance: Any
    dispersion: Any  # Pearson chi2 / (n - edf), 1 where the family fixes it
    coef_error: Any  # (K, p) standard error over that of the noise
    intercept_error: Any


def totals_of(point: Point, expected: Point, facts: Facts) -> Totals:
    """Totals of the fit from facts about all of its rows."""
    xp = array_namespace(facts.leverage)
    n_rows = xp.sum(xp.astype(point.objective.weight > 0, facts.leverage.dtype))
    edf = xp.sum(facts.leverage, axis=0)
    chi2 = xp.sum(facts.pearson**2, axis=0)
    known = point.objective.loss.dispersion_known
    covariance = _covariance(expected)  # (K, q, q)
    variance = xp.linalg.diagonal(covariance)
    ridge = expected.curvature.diagonal_part
    coef_error, intercept_error = _errors(expected, covariance)
    return Totals(
        n_rows=n_rows,
        edf=edf,
        rank=edf + xp.sum(ridge * variance, axis=-1),
        deviance=xp.sum(facts.deviance**2, axis=0),
        dispersion=xp.ones_like(edf) if known else over(chi2, n_rows - edf),
        coef_error=coef_error,
        intercept_error=intercept_error,
    )


def over(total: Any, dof: Any) -> Any:
    """Total over degrees of freedom; NaN where there are none or nothing is left."""
    xp = array_namespace(total)
    some = (total > 0) & (dof > 1e-8)
    return xp.where(some, total, xp.nan) / xp.where(some, dof, xp.ones_like(dof))


def _covariance(expected: Point) -> Any:
    """``inv(H)`` of each of the K models, (K, q, q)."""
    layout = expected.objective.layout
    xp = array_namespace(expected.theta)
    eye = xp.eye(layout.size, dtype=expected.theta.dtype)
    shape = (layout.n_groups, layout.size, layout.size)
    return expected.factor.solve(xp.broadcast_to(eye, shape)).value


def _errors(expected: Point, covariance: Any) -> tuple[Any, Any]:
    """Standard errors of coefficients (K, p) and intercepts (K,), noise of size 1."""
    design = expected.objective.design
    xp = array_namespace(covariance)
    errors = xp.sqrt(xp.linalg.diagonal(covariance))  # (K, q)
    coef_error, _ = design.to_estimator(errors)
    if not design.has_intercept:
        return coef_error, xp.zeros_like(errors[:, 0])
    # intercept = B[-1] - centre' coef
    one = xp.ones_like(design.centre[:1])
    weights = xp.concat([-design.centre, one])
    return coef_error, xp.sqrt((covariance @ weights) @ weights)
