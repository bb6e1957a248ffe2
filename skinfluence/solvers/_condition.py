"""Condition number of H with unit diagonal where rows are fewer than columns."""

import numpy as np

from skinfluence._array import array_namespace, like
from skinfluence.curvature import RowwiseCurvature

# Power iterations, two passes over the rows each: within some per cent.
_STEPS = 6


def condition_number(curvature: RowwiseCurvature) -> float:
    """Largest over smallest eigenvalue of ``E H E``, E the inverse root of H's diagonal.

    The smallest is that of the penalty alone, which all directions have that no row
    points to; on unpenalised entries it is left out.
    """
    diagonal = curvature.diagonal()
    xp = array_namespace(diagonal)
    positive = xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal))
    scale = xp.sqrt(positive)[..., None]
    relative = curvature.diagonal_part / positive
    relative = xp.where(relative > 0, relative, xp.ones_like(relative))
    vector = like(np.random.default_rng(0).normal(size=scale.shape), scale)
    value = 0.0
    for _ in range(_STEPS):
        vector = vector / xp.sqrt(xp.sum(vector**2))
        moved = curvature.matvec(vector / scale) / scale
        value = float(xp.sum(vector * moved))
        vector = moved
    return max(value / float(xp.min(relative)), 1.0)
