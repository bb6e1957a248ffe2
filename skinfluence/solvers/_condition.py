"""Condition number of H with unit diagonal where rows are fewer than columns."""

from skinfluence._array import Array, array_namespace
from skinfluence.curvature import RowwiseCurvature

# Power iterations, two passes over the rows each, and the gain at which they end.
_STEPS, _LEAST_GAIN = 6, 0.01


def condition_number(curvature: RowwiseCurvature, steepest: Array) -> float:
    """Largest over smallest eigenvalue of ``E H E``, E the inverse root of H's diagonal.

    The smallest is that of the penalty alone, which all directions have that no row
    points to; on unpenalised entries it is left out. The largest is that of power
    iterations from ``steepest`` (G, D), a gradient near its direction.
    """
    diagonal = curvature.diagonal()
    xp = array_namespace(diagonal)
    positive = xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal))
    scale = xp.sqrt(positive)[..., None]
    relative = curvature.diagonal_part / positive
    relative = xp.where(relative > 0, relative, xp.ones_like(relative))
    vector = steepest[..., None] / scale
    value = 0.0
    for _ in range(_STEPS):
        vector = vector / xp.sqrt(xp.sum(vector**2))
        moved = curvature.matvec(vector / scale) / scale
        last, value = value, float(xp.sum(vector * moved))
        if value <= (1 + _LEAST_GAIN) * last:
            break
        vector = moved
    return max(value / float(xp.min(relative)), 1.0)
