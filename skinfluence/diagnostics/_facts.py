"""What each row brings to the columns: residuals, leverage, and its deletion's effects."""

from collections.abc import Callable
from typing import Any, NamedTuple

from skinfluence._array import array_namespace
from skinfluence._rows import row_blocks
from skinfluence.solvers import Point, RowTerms, own_outputs, row_terms, taken

# Leverage this close to 1: what is left of the row's direction is rounding.
_LEAST_REMAINDER = 1e-10


class Deletions(NamedTuple):
    """What deletes a row, for each purpose; one object may serve several.

    As arrays (b, G, D): the deltas of theta that they give.
    """

    effects: Any  # dffits, dfbetas, loo_resid
    scale: Any  # the dispersion without the row
    distance: Any  # Cook's distance


class Facts(NamedTuple):
    """Facts about rows, (b, K) unless said: K models that nothing couples."""

    residual: Any  # y - mu
    pearson: Any  # sqrt(s) (y - mu) / sqrt(V(mu))
    deviance: Any  # signed root of the weighted unit deviance
    leverage: Any  # h = s w x' inv(H) x, w the Fisher weight
    remainder: Any  # 1 - h, NaN where it is rounding
    error: Any  # sqrt(x' inv(H) x), standard error of u over that of the noise
    deviance_lost: Any  # what the deletion takes from the deviance of the fit
    dof_lost: Any  # ... and from its residual degrees of freedom
    squared_length: Any  # |delta|^2, measured by the expected information
    move: Any  # x' delta, change of u
    loo_residual: Any  # y - mu without the row
    coef: Any  # (b, K, p) change of the coefficients
    intercept: Any


def facts_of(
    point: Point,
    expected: Point,
    deletions: Deletions,
    watch: Callable[[Any, Any], None],
) -> Facts:
    """Facts about all training rows; ``watch`` sees the deltas of the effects."""
    xp = array_namespace(point.theta)
    H = expected.curvature.as_matrix()
    parts = []
    for rows in row_blocks(point.objective.n_rows, point.objective.design.width):
        effects = deletions.effects.deltas(rows)
        watch(rows, effects)
        others = (
            effects.theta if way is deletions.effects else way.deltas(rows).theta
            for way in deletions[1:]
        )
        deltas = Deletions(effects.theta, *others)
        parts.append(_facts(point, expected, H, rows, deltas))
    return Facts(*(xp.concat(column, axis=0) for column in zip(*parts, strict=True)))


def _facts(
    point: Point, expected: Point, H: Any, rows: slice, deltas: Deletions
) -> Facts:
    design, layout, loss = _parts(point)
    terms = row_terms(expected, rows)
    y, u = taken(point.objective.targets, rows), terms.outputs
    xp, s = array_namespace(u), terms.weight[:, None]
    A = expected.factor.row_blocks_of_inverse(terms.block, layout)[..., 0, 0]
    A = xp.broadcast_to(A, u.shape)
    leverage = terms.bend[..., 0, 0] * A
    kept = xp.where(1 - leverage > _LEAST_REMAINDER, 1 - leverage, xp.nan)
    residual, unit = y - loss.response(u), loss.unit_deviance(y, u)
    unit = s * xp.where(unit > 0, unit, 0 * unit)
    if loss.quadratic:  # exact, in mean form too
        own = s * residual * (residual - _own_move(terms, deltas.scale, layout))
    else:
        own = unit / kept
    move = _own_move(terms, deltas.effects, layout)
    coef, intercept = design.to_estimator(layout.unpack(deltas.effects))
    return Facts(
        residual=residual,
        pearson=xp.sqrt(s) * loss.pearson_residual(y, u),
        deviance=xp.sign(residual) * xp.sqrt(unit),
        leverage=leverage,
        remainder=kept,
        error=xp.sqrt(A),
        deviance_lost=own + _deviance_traded(point, terms, deltas.scale),
        dof_lost=_dof_lost(expected, terms, kept),
        squared_length=_squared_length(deltas.distance, H),
        move=move,
        loo_residual=y - loss.response(u + move),
        coef=coef,
        intercept=intercept,
    )


def _parts(point: Point) -> tuple[Any, Any, Any]:
    return point.objective.design, point.objective.layout, point.objective.loss


def _own_move(terms: RowTerms, delta: Any, layout: Any) -> Any:
    return layout.ungrouped(own_outputs(terms.block, delta, layout))


def _deviance_traded(point: Point, terms: RowTerms, delta: Any) -> Any:
    """Deviance that a refit gives for a lower penalty, (b, K).

    Both are at the minimum of deviance plus twice the penalty ``R``, of which the share
    ``c`` leaves with the row: ``2 (1 - c) (R(theta + delta) - R) + c R' delta``.
    """
    penalty = point.objective.penalty
    xp = array_namespace(delta)
    slope = xp.sum(penalty.gradient(point.theta) * delta, axis=-1)
    change = slope + 0.5 * xp.sum(penalty.hessian_diagonal * delta**2, axis=-1)
    share = 0.0 if terms.share is None else terms.share[:, None]
    return 2 * (1 - share) * change + share * slope


def _dof_lost(expected: Point, terms: RowTerms, kept: Any) -> Any:
    """Residual degrees of freedom that leave with a row, (b, K).

    One, less the effective parameters that leave: ``s w x' inv(H) P inv(H) x / (1 - h)``
    for a penalty with second derivative P, held.
    """
    xp = array_namespace(kept)
    present = xp.astype(terms.weight > 0, kept.dtype)[:, None]
    ridge = expected.curvature.diagonal_part
    if not bool(xp.any(ridge > 0)):
        return present + xp.zeros_like(kept)
    layout = expected.objective.layout
    ones = xp.ones((*kept.shape, 1), dtype=kept.dtype)
    steps = expected.factor.steps(layout.lifted(terms.block, ones))  # (b, K, D)
    pulled = xp.sum(ridge * steps**2, axis=-1)
    return present - terms.bend[..., 0, 0] * pulled / kept


def _squared_length(delta: Any, H: Any) -> Any:
    """``delta' H delta`` for delta (b, G, D) and H (G or 1, D, D), (b, G)."""
    xp = array_namespace(H)
    product = xp.matmul(xp.permute_dims(delta, (1, 0, 2)), H)  # (G, b, D)
    return xp.sum(xp.permute_dims(product, (1, 0, 2)) * delta, axis=-1)
