"""How far rounding and the last polish leave theta from the minimum."""

from typing import Any

import numpy as np

from skinfluence._array import Array, array_namespace
from skinfluence._kernels import squared_columns
from skinfluence._rows import sum_over_rows
from skinfluence.curvature import AbstractCurvature
from skinfluence.solvers._base import AbstractFactor

# A sum of many products, in blocks, is right to so many units in the last place of the
# root of the sum of their squares.
_UNITS = 16 * float(np.finfo(float).eps)


def rounding_of_theta(curvature: AbstractCurvature, factor: AbstractFactor) -> float:
    """Length, as H measures it, of what rounding may leave of a Newton step.

    Gradients round as the slopes of rows do, times their columns; slopes as targets and
    outputs do; outputs as their terms. H with unit diagonal has eigenvalues of at least
    ``1 / condition``.
    """
    objective, theta = curvature.objective, curvature.theta
    xp, layout = array_namespace(theta), curvature.layout
    loss, weight = objective.loss, objective.weight
    y, u = objective.targets, curvature.first_order.outputs
    slopes = weight[:, None] * xp.abs(loss.gradient(y, u))  # (n, K)
    of_targets = weight[:, None] * xp.max(xp.abs(y), axis=1, keepdims=True)
    if not loss.quadratic:  # else what rounds so is within the span of the rows
        slopes = slopes + of_targets

    def add(total: Array, block: Array, part: Array) -> Any:
        return total + squared_columns(block, part**2)

    start = xp.zeros_like(layout.unpack(theta))
    squared = sum_over_rows(add, start, objective.rows, slopes)  # (K, q)
    squared = layout.pack(squared.T) + (objective.penalty.gradient(theta)) ** 2
    diagonal = curvature.diagonal()
    safe = xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal))
    gradient = float(xp.sum(xp.where(diagonal > 0, squared / safe, 0.0 * safe))) ** 0.5
    terms = float(xp.sum(xp.abs(theta) * xp.sqrt(xp.clip(diagonal, min=0.0))))
    within = 0.0
    if loss.quadratic:
        within = float(xp.sum(weight[:, None] * u**2 + of_targets * xp.abs(y[:, :1])))
    return _UNITS * (factor.condition**0.5 * gradient + terms + within**0.5)
