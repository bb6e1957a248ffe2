"""Second derivatives of single rows: their roots, and what a convex loss rules out."""

from typing import Any

from skinfluence._array import Array, array_namespace
from skinfluence.exceptions import IndefiniteCurvatureError

# Negative second derivatives this small, against the largest, are rounding.
_NOISE = 1e-13
# Eigenvalues of a row this small, against its largest and per output, are zeros of
# softmax and the like: the root of their rounding would be 1e-8.
_EIGENVALUE_NOISE = 1e-15


def bends_downwards(M: Array) -> bool:
    """Whether second derivatives (..., Kb, Kb) have a negative entry on a diagonal."""
    xp = array_namespace(M)
    own = M if M.shape[-1] == 1 else xp.linalg.diagonal(M)
    least = float(xp.min(own)) if own.shape[0] else 0.0
    return least < 0 and least < -_NOISE * float(xp.max(xp.abs(own)))


def row_roots(M: Array) -> Any:
    """``R_i`` with ``R_i R_i' = M_i`` for second derivatives (b, ..., Kb, Kb) of rows."""
    xp = array_namespace(M)
    if M.shape[-1] == 1:
        values, vectors = M[..., 0], xp.ones_like(M)
    else:
        values, vectors = xp.linalg.eigh(M)
    size = xp.max(xp.abs(values), axis=-1, keepdims=True)
    if bool(xp.any(values < -_NOISE * xp.max(size))):
        raise IndefiniteCurvatureError(
            "The loss of a row has a negative second derivative, so the second "
            "derivatives of the rows have no real root, which solver='dual' and nearly "
            "dependent columns need. Use solver='direct', and a loss that says "
            "convex = False."
        )
    seen = values > _EIGENVALUE_NOISE * M.shape[-1] * size
    values = xp.where(seen, values, xp.zeros_like(values))
    return vectors * xp.sqrt(values)[..., None, :]
