"""Condition number of H with unit diagonal, from products and solves alone."""

from collections.abc import Callable
from typing import Any

import numpy as np

from skinfluence._array import array_namespace, like
from skinfluence.curvature import RowwiseCurvature

# Power iterations: within some per cent for spectra that decay, too low if at all.
_STEPS = 12


def condition_number(curvature: RowwiseCurvature, solve: Callable[[Any], Any]) -> float:
    """Largest over smallest eigenvalue of ``D H D``, D the inverse root of H's diagonal.

    Where H is singular, of its restriction to the space in which ``solve`` inverts it.
    """
    diagonal = curvature.diagonal()
    xp = array_namespace(diagonal)
    scale = xp.where(diagonal > 0, xp.sqrt(xp.abs(diagonal)), xp.ones_like(diagonal))
    scale = scale[..., None]
    largest = _largest(lambda v: curvature.matvec(v / scale) / scale, scale)
    of_inverse = _largest(lambda v: scale * solve(scale * v), scale)
    return max(largest * of_inverse, 1.0)


def _largest(product: Callable[[Any], Any], like_this: Any) -> float:
    """Largest eigenvalue of a symmetric operator on vectors (G, D, 1)."""
    xp = array_namespace(like_this)
    start = np.random.default_rng(0).normal(size=like_this.shape)
    vector, value = like(start, like_this), 0.0
    for _ in range(_STEPS):
        length = float(xp.sqrt(xp.sum(vector**2)))
        if length == 0:
            break
        vector = vector / length
        moved = product(vector)
        value = float(xp.sum(vector * moved))
        vector = moved
    return value
