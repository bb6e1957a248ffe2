"""The textbook columns, block of rows by block.

References
----------
.. [1] Belsley, Kuh & Welsch (1980). Regression diagnostics. Chapter 2: studentized
   residuals, DFFITS, DFBETAS, COVRATIO.
.. [2] Cook & Weisberg (1982). Residuals and influence in regression. Equation 3.2.8.
.. [3] Williams (1987). Generalized linear model diagnostics using the deviance and
   single case deletions. Applied Statistics 36. Externally studentized residuals.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from skinfluence._array import Array, Rows, array_namespace, take_rows
from skinfluence._rows import row_blocks, stream_blocks
from skinfluence.deletion import AbstractDeletion, ByTheRest, Deltas, Newton
from skinfluence.diagnostics._left_deviance import left_deviance
from skinfluence.diagnostics._residuals import Residuals, residuals_of
from skinfluence.diagnostics._totals import LEAST_DOF, Totals, over, totals_of
from skinfluence.solvers import (
    Point,
    RowTerms,
    learned_self_influence,
    own_outputs,
    row_terms,
)

# exp of this, over a small remainder, is finite.
_LARGEST_EXPONENT = 600.0


class Deletions(NamedTuple):
    """What deletes a row, for each purpose; one object may serve several."""

    effects: AbstractDeletion  # dffits, dfbetas, loo_resid
    one_step: Newton  # by the expected information: the dispersion without the row
    distance: AbstractDeletion | None = None  # Cook's; None for that of one step
    # The deviance without a row that has nearly all of it; None for that of one step
    exact: AbstractDeletion | None = None


class Diagnostics(NamedTuple):
    """Columns for some training rows, (b, K) unless said."""

    leverage: Any
    resid: Any
    resid_pearson: Any
    resid_deviance: Any
    resid_studentized_internal: Any
    resid_studentized_external: Any
    cooks_distance: Any
    dffits: Any
    dfbetas: Any  # (b, K, p)
    dfbetas_intercept: Any  # 0 without an intercept
    cov_ratio: Any
    loo_resid: Any
    self_influence: Any  # (b,)
    loss: Any  # (b,)


def diagnostic_blocks(
    point: Point,
    expected: Point,
    deletions: Deletions,
    watch: Callable[[Rows, Deltas], None] = lambda rows, deltas: None,
    in_order: bool = False,
) -> Iterator[tuple[slice, Diagnostics]]:
    """All columns: pairs of a slice of training rows and their values.

    Parameters
    ----------
    point : Point
        The minimum, with the observed Hessian; its outputs are coupled by nothing.
    expected : Point
        The same with the expected information, from ``at_expected_information``.
    deletions : Deletions
        What deletes a row, for each purpose.
    watch : callable
        Sees the deltas of each block of rows.
    in_order : bool
        Whether deletions are to be asked for one block after the other.
    """
    one_step = ByTheRest(deletions.one_step, deletions.one_step.solver)
    residuals = residuals_of(point, expected, one_step.solver)
    totals = totals_of(point, expected, residuals)
    metric = _metric(expected) if deletions.distance else None
    layout, design = point.objective.layout, point.objective.design

    def columns(rows: slice) -> tuple[slice, Deltas, Diagnostics]:
        own, terms = residuals.at(rows), row_terms(expected, rows)

        @cache
        def by(deletion: AbstractDeletion) -> Deltas:
            if deletion is not deletions.one_step:
                return _determined(deletion.deltas(rows))
            # In mean form its A is by the penalty without the row's share.
            A = own.variance[..., None, None] if terms.share is None else None
            deltas = deletions.one_step.deltas_of(terms, A)
            return _determined(one_step.completed(deltas, rows))

        effects = by(deletions.effects)
        scale = _scale_without(
            point,
            expected,
            terms,
            own,
            totals,
            lambda: by(deletions.one_step).theta,
            deletions.exact or one_step,
        )
        squared = own.pearson**2 * own.leverage / own.remainder**2
        if metric is not None and deletions.distance is not None:
            squared = metric(by(deletions.distance).theta)
        made = _columns(point, terms, own, totals, scale, squared, effects.theta)
        return rows, effects.flags, made

    width = layout.n_groups * layout.size
    blocks = row_blocks(design.n_rows, width)
    for rows, flags, made in stream_blocks(
        columns, blocks, design, width=width, in_order=in_order
    ):
        watch(rows, flags)
        yield rows, made


def _determined(deltas: Deltas) -> Deltas:
    """NaN where a row alone carries a direction, as in every textbook."""
    theta, lost = deltas.theta, deltas.unidentified[:, None, None]
    return deltas._replace(
        theta=array_namespace(theta).where(lost, float("nan"), theta)
    )


def _columns(
    point: Point,
    terms: RowTerms,
    own: Residuals,
    totals: Totals,
    scale: Any,
    squared: Array,
    delta: Array,
) -> Diagnostics:
    """The formulas: ``scale`` without the row, ``squared`` length of its deletion."""
    design, layout, loss = _parts(point)
    xp, sigma = array_namespace(delta), totals.dispersion**0.5
    y, u = take_rows(point.objective.targets, terms.rows), terms.outputs
    h, kept = own.leverage, own.remainder
    move = layout.ungrouped(own_outputs(terms.block, delta, layout))
    coef, intercept = design.to_estimator(layout.unpack(delta))
    # For least squares this is the squared residual over 1 - h.
    likelihood = own.deviance**2 + h * own.pearson**2 / kept
    return Diagnostics(
        leverage=h,
        resid=own.response,
        resid_pearson=own.pearson,
        resid_deviance=own.deviance,
        resid_studentized_internal=own.deviance / (sigma * xp.sqrt(kept)),
        resid_studentized_external=_in_units(
            xp.sign(own.response) * xp.sqrt(likelihood), scale
        ),
        cooks_distance=_ratio(squared, totals.edf * sigma**2),
        dffits=_in_units(_ratio(-move, xp.sqrt(own.variance)), scale),
        dfbetas=_in_units(_ratio(-coef, totals.coef_error), scale[..., None]),
        dfbetas_intercept=_in_units(_ratio(-intercept, totals.intercept_error), scale),
        # One estimate of the dispersion for both, as in R: from the deviance.
        cov_ratio=_determinant_ratio(
            scale / xp.sqrt(totals.deviance_dispersion), totals.rank
        )
        / kept,
        loo_resid=y - loss.response(u + move),
        self_influence=xp.sum(own.self_influence, axis=1)
        + learned_self_influence(point, terms.rows),
        loss=loss.value(y, u),
    )


def _parts(point: Point) -> tuple[Any, Any, Any]:
    return point.objective.design, point.objective.layout, point.objective.loss


def _ratio(top: Array, bottom: Array) -> Any:
    """``top / bottom``, 0 where both are: a parameter, or a row, that cannot move."""
    xp = array_namespace(bottom)
    return top / xp.where(bottom == 0, xp.ones_like(bottom), bottom)


def _in_units(values: Array, scale: Array) -> Any:
    """``values / scale``, in place; their limit where nothing is left of the scale."""
    xp, none = array_namespace(scale), scale == 0
    values *= 1 / xp.where(none, xp.ones_like(scale), scale)
    if not bool(xp.any(none)):
        return values
    infinite = xp.where(values > 0, xp.inf, -xp.inf)
    return xp.where(none & (values != 0), infinite, values)


def _determinant_ratio(ratio: Array, rank: Any) -> Any:
    """``ratio**(2 rank)``, finite where there are thousands of parameters."""
    xp, none = array_namespace(ratio), ratio == 0
    logarithm = xp.log(xp.where(none, xp.ones_like(ratio), ratio))
    power = xp.exp(xp.clip(2 * rank * logarithm, max=_LARGEST_EXPONENT))
    return xp.where(none, xp.zeros_like(power), power)


# --- without the row ------------------------------------------------------------------


def _scale_without(
    point: Point,
    expected: Point,
    terms: RowTerms,
    own: Residuals,
    totals: Totals,
    one_step: Callable[[], Any],
    exact: AbstractDeletion,
) -> Any:
    """Root of the dispersion estimated without each row, (b, K); 1 if it is known.

    It is 0 where the other rows have no residuals.
    """
    xp, loss = array_namespace(own.leverage), point.objective.loss
    if loss.dispersion_known:
        return xp.ones_like(own.leverage)
    left = totals.deviance - own.deviance**2 / own.remainder
    dof = totals.dof - _dof_lost(expected, terms, own)
    if bool(xp.any(point.objective.penalty.strength > 0)):
        left = left - _deviance_traded(point, terms, own, one_step())
    left = left_deviance(point, terms.rows, own, totals, left, exact)
    none = (left == 0) & (totals.deviance > 0) & (dof > LEAST_DOF)
    return xp.where(none, xp.zeros_like(left), xp.sqrt(over(left, dof)))


def _deviance_traded(
    point: Point, terms: RowTerms, own: Residuals, delta: Array
) -> Any:
    """Deviance that a refit gives for a lower penalty, (b, K).

    Both are at the minimum of deviance plus twice the penalty ``R``, of which the share
    ``c`` leaves with the row: ``2 (1 - c) (R(theta + delta) - R) + c R' delta``.
    """
    penalty, layout = point.objective.penalty, point.objective.layout
    xp = array_namespace(delta)
    slope = xp.sum(penalty.gradient(point.theta) * delta, axis=-1)
    change = slope + 0.5 * xp.sum(penalty.strength * delta**2, axis=-1)
    if terms.share is None:
        return 2 * change
    share = terms.share[:, None]
    traded = 2 * (1 - share) * change + share * slope
    if not point.objective.loss.quadratic:
        return traded
    # The row's own part, s e (e - x' delta), is not s e^2 / (1 - h) then.
    move = layout.ungrouped(own_outputs(terms.block, delta, layout))
    part = terms.weight[:, None] * own.response * (own.response - move)
    return traded + part - own.deviance**2 / own.remainder


def _dof_lost(expected: Point, terms: RowTerms, own: Residuals) -> Any:
    """Residual degrees of freedom that leave with a row, (b, K).

    One, less the effective parameters that leave: ``s w x' inv(H) P inv(H) x / (1 - h)``
    for a penalty with second derivative P, held.
    """
    xp = array_namespace(own.leverage)
    present = xp.astype(terms.weight > 0, xp.float64)[:, None]
    ridge = expected.curvature.diagonal_part
    if not bool(xp.any(ridge > 0)):
        return present
    ones = xp.ones_like(own.leverage)[..., None]
    steps = expected.factor.row_steps(terms.block, ones)
    pulled = xp.sum(ridge * steps**2, axis=-1)  # (b, K)
    return present - terms.bend[..., 0, 0] * pulled / own.remainder


def _metric(expected: Point) -> Callable[[Array], Any]:
    """``delta' H delta`` of each model, (b, G, D) to (b, G)."""
    curvature = expected.curvature
    xp = array_namespace(expected.theta)
    # The cheaper of a product with H and a pass over the rows.
    few = curvature.size <= curvature.objective.n_rows
    H = curvature.as_matrix() if few else None  # (G or 1, D, D)

    def squared(delta: Array) -> Any:
        columns = xp.permute_dims(delta, (1, 2, 0))  # (G, D, b)
        image = curvature.matvec(columns) if H is None else xp.matmul(H, columns)
        return xp.sum(image * columns, axis=1).T

    return squared
