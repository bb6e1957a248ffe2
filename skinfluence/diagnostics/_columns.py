"""The textbook columns, from facts about rows and totals of the fit.

References
----------
.. [1] Belsley, Kuh & Welsch (1980). Regression diagnostics. Chapter 2: studentized
   residuals, DFFITS, DFBETAS, COVRATIO.
.. [2] Cook & Weisberg (1982). Residuals and influence in regression. Equation 3.2.8.
.. [3] Williams (1987). Generalized linear model diagnostics using the deviance and
   single case deletions. Applied Statistics 36. Externally studentized residuals.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from skinfluence._array import array_namespace
from skinfluence.diagnostics._facts import Deletions, Facts, facts_of
from skinfluence.diagnostics._totals import Totals, over, totals_of
from skinfluence.solvers import Point


class Diagnostics(NamedTuple):
    """Columns for all training rows, (n, K) unless said."""

    leverage: Any
    resid: Any
    resid_pearson: Any
    resid_deviance: Any
    resid_studentized_internal: Any
    resid_studentized_external: Any
    cooks_distance: Any
    dffits: Any
    dfbetas: Any  # (n, K, p)
    dfbetas_intercept: Any  # 0 without an intercept
    cov_ratio: Any
    loo_resid: Any


def diagnostics(
    point: Point,
    expected: Point,
    deletions: Deletions,
    watch: Callable[[Any, Any], None] = lambda rows, found: None,
) -> Diagnostics:
    """All columns for all training rows of a fit whose outputs nothing couples.

    Parameters
    ----------
    point : Point
        The minimum, with the observed Hessian.
    expected : Point
        The same with the expected information, from ``at_expected_information``.
    deletions : Deletions
        What deletes a row, for each purpose.
    watch : callable
        Sees the deltas of each block of rows.
    """
    facts = facts_of(point, expected, deletions, watch)
    totals = totals_of(point, expected, facts)
    known = point.objective.loss.dispersion_known
    return _columns(facts, totals, _scale_without(facts, totals, known))


def _scale_without(facts: Facts, totals: Totals, known: bool) -> Any:
    """Root of the dispersion estimated without each row, (n, K); 1 if it is known."""
    xp = array_namespace(facts.leverage)
    if known:
        return xp.ones_like(facts.leverage)
    dof = totals.n_rows - totals.edf - facts.dof_lost
    return xp.sqrt(over(totals.deviance - facts.deviance_lost, dof))


def _columns(facts: Facts, totals: Totals, scale: Any) -> Diagnostics:
    """The formulas; ``scale`` is that of the fit without the row."""
    xp = array_namespace(scale)
    h, kept, sigma = facts.leverage, facts.remainder, xp.sqrt(totals.dispersion)
    # For least squares this is resid^2 / (1 - h).
    likelihood = facts.deviance**2 + h * facts.pearson**2 / kept
    return Diagnostics(
        leverage=h,
        resid=facts.residual,
        resid_pearson=facts.pearson,
        resid_deviance=facts.deviance,
        resid_studentized_internal=facts.deviance / (sigma * xp.sqrt(kept)),
        resid_studentized_external=xp.sign(facts.residual) * xp.sqrt(likelihood) / scale,
        cooks_distance=facts.squared_length / (totals.edf * sigma**2),
        dffits=-_ratio(facts.move, scale * facts.error),
        dfbetas=-_ratio(facts.coef, scale[..., None] * totals.coef_error),
        dfbetas_intercept=-_ratio(facts.intercept, scale * totals.intercept_error),
        cov_ratio=(scale / sigma) ** (2 * totals.rank) / kept,
        loo_resid=facts.loo_residual,
    )


def _ratio(top: Any, bottom: Any) -> Any:
    """``top / bottom``, 0 where both are: a parameter, or a row, that cannot move."""
    xp = array_namespace(bottom)
    return top / xp.where(bottom == 0, xp.ones_like(bottom), bottom)
