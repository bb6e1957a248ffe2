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

from skinfluence._array import Array, array_namespace, device_of, masked
from skinfluence._kernels import kernels
from skinfluence._penalty import Corners

# A unit-diagonal matrix of less is solved by its eigenvalues.
_LEAST_RCOND = 1e-13
_ROUNDS = 50  # and some for each entry
_WIDENINGS = 100


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
    n_rounds: int
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
    nothing off zero. Entries that nothing pulls are left out of the search; they are
    asked again at its end.
    """
    xp = array_namespace(start)
    watched = (start != 0) | ~corners.present
    x, g, n_rounds = start, gradient, 0  # g: at x, of all but the corners
    for _ in range(_WIDENINGS):
        W = xp.nonzero(watched)[0]
        inner = _followed(
            xp.take(x, W),
            xp.take(g, W),
            hessian.square(W),
            Corners(xp.take(corners.up, W), xp.take(corners.down, W)),
            xp.take(floor, W),
        )
        n_rounds += inner.n_rounds
        x = _placed(inner.x, watched)
        g = gradient + hessian.product(W, x - start)
        pulled = ~watched & (xp.abs(corners.pull(g)) > floor)
        if not inner.converged or not bool(xp.any(pulled)):
            return CornerMinimum(x, n_rounds, inner.converged)
        watched = watched | pulled
    return CornerMinimum(x, n_rounds, False)


def _followed(
    start: Array, gradient: Array, H: Array, corners: Corners, floor: Array
) -> CornerMinimum:
    """The same for a matrix at hand, (m, m)."""
    xp = array_namespace(start)
    cornered, x, sign = corners.present, start, xp.sign(start)
    free, g = (start != 0) | ~cornered, gradient  # g: of all but the corners
    numbers = xp.arange(x.shape[0], device=device_of(x))
    zero = xp.zeros_like(x)
    most = _ROUNDS + 4 * x.shape[0]
    for n_rounds in range(1, most + 1):
        active = xp.nonzero(free)[0]
        slope = g + corners.slope(xp.where(cornered, sign, zero))
        step = zero
        if active.shape[0]:
            square = xp.take(xp.take(H, active, axis=0), active, axis=1)
            rhs, noise = -xp.take(slope, active), xp.take(floor, active)
            step = _placed(_solved(square, rhs, noise), free)
        bend = H @ step
        # How far each entry may go: to zero, on its own side.
        falling = free & cornered & (sign * step < 0)
        reach = xp.where(falling, -x / xp.where(falling, step, 1.0), xp.inf)
        first = int(xp.argmin(reach)) if x.shape[0] else 0
        if x.shape[0] and float(reach[first]) < 1:
            stops = numbers == first
            x = xp.where(stops, zero, x + reach[first] * step)
            g = g + reach[first] * bend
            free, sign = free & ~stops, xp.where(stops, zero, sign)
            continue
        x, g = x + step, g + bend
        pull = corners.pull(g)
        pull = xp.where(free | (xp.abs(pull) <= floor), zero, pull)
        if not bool(xp.any(pull != 0)):
            return CornerMinimum(x, n_rounds, True)
        joins = numbers == int(xp.argmax(xp.abs(pull)))
        free, sign = free | joins, xp.where(joins, xp.sign(pull), sign)
    return CornerMinimum(x, most, False)


def _placed(values: Array, mask: Array) -> Any:
    """Values where the mask holds, in order, among zeros."""
    xp = array_namespace(values)
    padded = xp.concat([xp.zeros_like(values[:1]), values])
    place = xp.cumulative_sum(xp.astype(mask, xp.int64)) * xp.astype(mask, xp.int64)
    return xp.take(padded, place)


def _solved(H: Array, rhs: Array, floor: Array) -> Any:
    """``inv(H) rhs``; far along any direction that H does not see but ``rhs`` does.

    Less than ``floor`` of ``rhs`` is rounding there.
    """
    xp = array_namespace(H)
    diagonal = xp.linalg.diagonal(H)
    scale = xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))
    scaled, rhs = H / scale[:, None] / scale[None, :], rhs / scale
    found = kernels(H).inverse_cholesky(scaled)
    if found is not None and found[1] > _LEAST_RCOND:
        root = found[0]
        return root @ (root.T @ rhs) / scale
    values, vectors = xp.linalg.eigh(scaled)
    least = 1e-14 * values.shape[0] * float(values[-1])
    parts = vectors.T @ rhs
    noise = xp.max(xp.where(xp.isfinite(floor), floor / scale, 0.0))
    seen = (values > least) | (xp.abs(parts) > values.shape[0] ** 0.5 * noise)
    values, vectors = masked(values, seen), masked(vectors.T, seen).T
    values = xp.where(values > least, values, xp.full_like(values, least))
    return vectors @ (masked(parts, seen) / values) / scale
