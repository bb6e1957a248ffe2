"""Extreme eigenvalues of H with unit diagonal, ``E H E``, by power iterations."""

from collections.abc import Callable
from typing import Any

import numpy as np

from skinfluence._array import Array, array_namespace, like
from skinfluence.curvature import AbstractCurvature

# Power iterations end at a gain below this: an estimate within some per cent.
_LEAST_GAIN = 0.01
# From a start near the eigenvector, two passes over the rows each; or from anywhere.
_FEW_STEPS, _MANY_STEPS = 6, 100


def extreme_eigenvalues(
    curvature: AbstractCurvature, solve: Callable[[Array], Any]
) -> tuple[float, float]:
    """Least and largest eigenvalue of ``E H E``, apart from directions H does not see."""
    scale = _scale(curvature)
    random = like(np.random.default_rng(0).normal(size=scale.shape), scale)
    largest = _largest(
        lambda v: curvature.matvec(v / scale) / scale, random, _MANY_STEPS
    )
    inverse = _largest(lambda v: scale * solve(scale * v), random, _MANY_STEPS)
    return 1 / inverse if inverse > 0 else largest, largest


def penalised_condition(curvature: AbstractCurvature, steepest: Array) -> float:
    """Condition number of ``E H E`` where rows are fewer than columns.

    The smallest eigenvalue is that of the penalty alone, which all directions have that
    no row points to; on unpenalised entries it is left out. The largest is that of power
    iterations from ``steepest`` (G, D), a gradient near its direction.
    """
    scale = _scale(curvature)
    xp = array_namespace(scale)
    relative = curvature.diagonal_part / scale[..., 0] ** 2
    relative = xp.where(relative > 0, relative, xp.ones_like(relative))
    largest = _largest(
        lambda v: curvature.matvec(v / scale) / scale,
        steepest[..., None] / scale,
        _FEW_STEPS,
    )
    return max(largest / float(xp.min(relative)), 1.0)


def _scale(curvature: AbstractCurvature) -> Any:
    """Root of the diagonal of H, 1 where that is zero, (G, D, 1)."""
    diagonal = curvature.diagonal()
    xp = array_namespace(diagonal)
    return xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))[..., None]


def _largest(product: Callable[[Array], Any], vector: Array, most: int) -> float:
    xp, value = array_namespace(vector), 0.0
    for _ in range(most):
        vector = vector / xp.sqrt(xp.sum(vector**2))
        moved = product(vector)
        last, value = value, float(xp.sum(vector * moved))
        if value <= (1 + _LEAST_GAIN) * last:
            break
        vector = moved
    return value
