"""Residuals and leverages: what the fit itself says about each row."""

from typing import Any, NamedTuple

import numpy as np

from skinfluence._array import (
    Array,
    array_namespace,
    device_of,
    like,
    take_rows,
    to_numpy,
)
from skinfluence._rows import training_blocks
from skinfluence._tolerances import LEAST_REMAINDER
from skinfluence.deletion import remainders
from skinfluence.solvers import AbstractSolver, Point, row_terms


class Residuals(NamedTuple):
    """Of some rows, (b, K): K models that nothing couples."""

    response: Any  # y - mu
    pearson: Any  # sqrt(s) (y - mu) / sqrt(V(mu))
    deviance: Any  # signed root of the weighted unit deviance
    leverage: Any  # h = s w x' inv(H) x, w the Fisher weight
    remainder: Any  # 1 - h, NaN where it is rounding
    variance: Any  # x' inv(H) x, that of u over that of the noise
    self_influence: Any  # by the observed Hessian; to be added over the K models

    def at(self, rows: slice) -> "Residuals":
        """Those of some of these rows."""
        return Residuals(*(column[rows, ...] for column in self))


def residuals_of(point: Point, expected: Point, solver: AbstractSolver) -> Residuals:
    """Residuals and leverages of all training rows.

    Of leverages near 1 the other rows tell what is left.
    """
    xp, design = array_namespace(point.theta), point.objective.design
    parts = [
        _residuals(point, expected, rows)
        for rows in training_blocks(design, design.width)
    ]
    residuals = Residuals(
        *(xp.concat(column, axis=0) for column in zip(*parts, strict=True))
    )
    hidden = np.flatnonzero(np.isnan(to_numpy(residuals.remainder)).any(axis=1))
    if not len(hidden):
        return residuals
    rows = xp.asarray(hidden, device=device_of(point.theta))
    left = np.array(to_numpy(residuals.remainder))
    left[hidden] = to_numpy(remainders(expected, solver, rows))
    left[left == 0] = np.nan
    return residuals._replace(remainder=like(left, residuals.remainder))


def _residuals(point: Point, expected: Point, rows: slice) -> Residuals:
    loss, terms = point.objective.loss, row_terms(expected, rows, for_products=True)
    y, u = take_rows(point.objective.targets, rows), terms.outputs
    xp, s = array_namespace(u), terms.weight[:, None]
    A = _own_variance(expected, terms.block, rows)
    observed = A if expected is point else _own_variance(point, terms.block, rows)
    leverage = terms.bend[..., 0, 0] * A
    residual, unit = y - loss.response(u), loss.unit_deviance(y, u)
    unit = xp.where(unit > 0, unit, xp.zeros_like(unit))
    return Residuals(
        response=residual,
        pearson=xp.sqrt(s) * loss.pearson_residual(y, u),
        deviance=xp.sign(residual) * xp.sqrt(s * unit),
        leverage=leverage,
        remainder=xp.where(leverage < 1 - LEAST_REMAINDER, 1 - leverage, xp.nan),
        variance=A,
        self_influence=-point.objective.weight_sum
        * terms.slope[..., 0] ** 2
        * observed,
    )


def _own_variance(point: Point, block: Array, rows: slice) -> Any:
    """``x' inv(H) x`` of each row and model, (b, K)."""
    layout = point.objective.layout
    A = point.factor.loss_blocks(block, rows=rows)[..., 0, 0]
    shape = (A.shape[0], layout.n_outputs)
    return array_namespace(A).broadcast_to(A, shape)
