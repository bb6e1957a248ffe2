"""Minimum of a quadratic with corners at zero, by following its active set.

Each round goes to the minimum on the entries off zero, or as far as none of them passes
zero; one that reaches zero stays there. At a minimum on the active set, the entry at
zero that pulls hardest joins. The value falls in every round, so no set comes twice.

References
----------
.. [1] Lee, Battle, Raina & Ng (2006). Efficient sparse coding algorithms. NIPS.
   Algorithm 1 (feature-sign search).
"""

import abc
from typing import Any, NamedTuple

from skinfluence._array import Array, array_namespace, device_of, masked, placed
from skinfluence._kernels import kernels
from skinfluence._penalty import Corners
from skinfluence.solvers._base import negative_direction

# With unit diagonal, a matrix of a smaller reciprocal condition number is solved by its
# eigenvalues, and those below the second, per entry, are rounding.
_LEAST_RCOND, _RANK_TOLERANCE = 1e-13, 1e-14
# An eigenvalue below minus this, against the largest, is no rounding.
_CURVATURE_NOISE = 1e-8
# Rounds of a search, and more for each entry. Searches with ever more entries.
_ROUNDS, _ROUNDS_PER_ENTRY, _MOST_SEARCHES = 50, 4, 100


class AbstractSquare(abc.ABC):
    """A symmetric positive semi-definite matrix (N, N), by some of its columns."""

    @abc.abstractmethod
    def square(self, entries: Array) -> Any:
        """Rows and columns of these entries, (m, m)."""

    @abc.abstractmethod
    def product(self, entries: Array, vectors: Array) -> Any:
        """The matrix times vectors (..., N) that are zero but for these entries."""


class CornerMinimum(NamedTuple):
    """Where the search ended."""

    x: Any  # (N,)
    converged: bool


def corner_minimum(
    start: Array,
    gradient: Array,
    hessian: AbstractSquare,
    corners: Corners,
    floor: Array,
) -> CornerMinimum:
    """Minimum over x of ``g'(x - start) + 1/2 (x - start)' H (x - start) + corners(x)``.

    All vectors are (N,), those of ``corners`` too. A pull of less than ``floor`` moves
    nothing off zero. Entries at zero that nothing pulls are left out of the search and
    tested at its end.
    """
    xp = array_namespace(start)
    watched = (start != 0) | ~corners.present
    x, g = start, gradient  # g: at x, of all but the corners
    for _ in range(_MOST_SEARCHES):
        W = xp.nonzero(watched)[0]
        inner = _search(
            xp.take(x, W),
            xp.take(g, W),
            hessian.square(W),
            Corners(xp.take(corners.up, W), xp.take(corners.down, W)),
            xp.take(floor, W),
        )
        x = placed(inner.x, watched)
        g = gradient + hessian.product(W, x - start)
        pulled = ~watched & (xp.abs(corners.pull(g)) > floor)
        if not inner.converged or not bool(xp.any(pulled)):
            return CornerMinimum(x, inner.converged)
        watched = watched | pulled
    return CornerMinimum(x, False)


def _search(
    start: Array, gradient: Array, H: Array, corners: Corners, floor: Array
) -> CornerMinimum:
    """The same for a matrix at hand, (m, m)."""
    xp = array_namespace(start)
    cornered, x, sign = corners.present, start, xp.sign(start)
    free, g = (start != 0) | ~cornered, gradient  # g: of all but the corners
    entries = xp.arange(x.shape[0], device=device_of(x))
    zero = xp.zeros_like(x)
    most = _ROUNDS + _ROUNDS_PER_ENTRY * x.shape[0]
    for _ in range(most):
        active = xp.nonzero(free)[0]
        slope = g + corners.slope(xp.where(cornered, sign, zero))
        step = zero
        if active.shape[0]:
            square = xp.take(xp.take(H, active, axis=0), active, axis=1)
            rhs, noise = -xp.take(slope, active), xp.take(floor, active)
            step = placed(_solved(square, rhs, noise), free)
        bend = H @ step
        # How far each entry may go: to zero, on its own side.
        falling = free & cornered & (sign * step < 0)
        reach = xp.where(falling, -x / xp.where(falling, step, 1.0), xp.inf)
        first = int(xp.argmin(reach)) if x.shape[0] else 0
        if x.shape[0] and float(reach[first]) < 1:
            stops = entries == first
            x = xp.where(stops, zero, x + reach[first] * step)
            g = g + reach[first] * bend
            free, sign = free & ~stops, xp.where(stops, zero, sign)
            continue
        x, g = x + step, g + bend
        pull = corners.pull(g)
        pull = xp.where(free | (xp.abs(pull) <= floor), zero, pull)
        if not bool(xp.any(pull != 0)):
            return CornerMinimum(x, True)
        joins = entries == int(xp.argmax(xp.abs(pull)))
        free, sign = free | joins, xp.where(joins, xp.sign(pull), sign)
    return CornerMinimum(x, False)


def _solved(H: Array, rhs: Array, floor: Array) -> Any:
    """``inv(H) rhs``; far along any direction that H does not see but ``rhs`` does.

    Less than ``floor`` of ``rhs`` is rounding there.
    """
    xp = array_namespace(H)
    diagonal = xp.linalg.diagonal(H)
    scale = xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))
    scaled, rhs = H / scale[:, None] / scale[None, :], rhs / scale
    factored = kernels(H).inverse_cholesky(scaled)
    if factored is not None and factored[1] > _LEAST_RCOND:
        root = factored[0]
        return root @ (root.T @ rhs) / scale
    values, vectors = xp.linalg.eigh(scaled)
    least = _RANK_TOLERANCE * values.shape[0] * float(values[-1])
    if float(values[0]) < -_CURVATURE_NOISE * float(values[-1]):
        raise negative_direction("least eigenvalue of active entries below zero")
    parts = vectors.T @ rhs
    noise = xp.max(xp.where(xp.isfinite(floor), floor / scale, 0.0))
    seen = (values > least) | (xp.abs(parts) > values.shape[0] ** 0.5 * noise)
    values, vectors = masked(values, seen), masked(vectors.T, seen).T
    values = xp.where(values > least, values, xp.full_like(values, least))
    return vectors @ (masked(parts, seen) / values) / scale
