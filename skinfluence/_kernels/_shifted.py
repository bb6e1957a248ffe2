"""Dense NumPy rows centred by formula: the kernels that read X once and copy it never.

``(X - 1 c')' W (X - 1 c') = X' W X - c v' - v c' + m c c'`` with ``v = X' w`` and
``m = sum(w)``. The difference loses the digits of ``c**2`` over the spread of a column,
so whoever uses it looks at the diagonal afterwards (``ShiftedGrams.exact``).
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skinfluence._kernels import _numpy
from skinfluence._kernels._blas import (
    add_own_product,
    in_cache,
    products_of_rows,
    scratch,
    scratch_copy,
)
from skinfluence._kernels._centred import AbstractCentredRows
from skinfluence._kernels._grams import AbstractGrams

# A centred diagonal entry this small against the one of X: two digits lost, not more.
_LEAST_SHARE = 1e-2
# Entries of a scaled block of columns of all rows.
_ENTRIES = 2**22
# Entries of X that are squared at once.
_SQUARED = 2**17
# The shift of rows against the rows, squared: as many digits are lost.
_MOST_SHIFT = 1e2


@final
class ShiftedRows(AbstractCentredRows):
    """Dense NumPy rows with an intercept, whose spread is not far below their mean."""

    def _pulled_back(self, rows: np.ndarray) -> Any:
        # Threads overlap in np.dot; where a row is multiplied by @, they do not.
        return np.dot(rows, self.X).T

    def _squares(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = len(self.centre)
        size = max(_SQUARED // p, 1)  # X is read once, its squares stay in the cache
        squares, pulls = np.zeros((2, weight.shape[1], p))
        for first in range(0, len(self), size):
            part, w = self.X[first : first + size], weight[first : first + size].T
            square = np.multiply(part, part, out=scratch(part.shape))
            squares += w @ square
            pulls += w @ part
        return squares, pulls

    def row_gram(self, weight: np.ndarray, constant: float) -> np.ndarray:
        """``(X - 1 c') diag(weight) (X - 1 c')' + constant 1 1'``, (b, b)."""
        X, c = self.X, self.centre
        if np.all(weight == weight[0]):
            total = products_of_rows(X)
            total *= weight[0]
        else:
            total, size = np.zeros((len(X), len(X))), max(_ENTRIES // len(X), 16)
            root = np.sqrt(weight)
            for first in range(0, len(c), size):
                part = slice(first, first + size)
                total += products_of_rows(X[:, part] * root[part])
        pull = X @ (weight * c)  # (b,)
        total -= pull
        total += (c @ (weight * c) + constant - pull)[:, None]
        return total

    def squared_row_norms(self, T: np.ndarray, *, triangular: bool) -> np.ndarray:
        X, p = self.X, self.centre.shape[0]
        if not triangular:
            return super().squared_row_norms(T, triangular=False)
        own = T[:p, :p]  # what is beside it multiplies into the last column alone
        shift = self.centre @ own
        beside = np.stack([T[:p, p], own @ shift], axis=1)  # (p, 2)
        constant = T[p, p] - self.centre @ T[:p, p]
        norms = np.empty(len(X))
        for rows in in_cache(X):
            part = scratch_copy(X[rows])
            last, across = np.dot(part, beside).T  # while the copy is in the cache
            norms[rows] = _numpy.norms_of(part, own, triangular=True)
            norms[rows] += (last + constant) ** 2 - 2 * across
        norms += shift @ shift
        if shift @ shift > _MOST_SHIFT * norms.mean():  # digits are lost
            return super().squared_row_norms(T, triangular=True)
        return norms


@final
@dataclass(eq=False)
class ShiftedGrams(AbstractGrams):
    """Weighted Gram matrices (q, q), from sums over the rows of X as they are."""

    totals: list[np.ndarray]  # of each weight, (p, p), the upper triangle
    pulls: np.ndarray  # (T, p)
    masses: np.ndarray  # (T,)
    centre: np.ndarray  # (p,)

    @classmethod
    def empty(cls, n_weights: int, centre: np.ndarray) -> "ShiftedGrams":
        """Zero totals."""
        p = len(centre)
        totals = [np.zeros((p, p), order="F") for _ in range(n_weights)]
        return cls(totals, np.zeros((n_weights, p)), np.zeros(n_weights), centre)

    def add(self, block: Any, weights: Any) -> None:
        columns = weights.T.copy()  # (T, b)
        signs = [_numpy.sign_of(w) for w in columns]
        factors = [
            np.sqrt(np.abs(w)) if sign else w
            for w, sign in zip(columns, signs, strict=True)
        ]
        for rows in in_cache(block.X):
            X = block.X[rows]
            scaled = scratch(X.shape)
            for t, (sign, factor) in enumerate(zip(signs, factors, strict=True)):
                np.multiply(X, factor[rows, None], out=scaled)
                if sign:
                    add_own_product(self.totals[t], scaled, sign)
                    self.pulls[t] += sign * np.dot(factor[rows], scaled)
                else:
                    self.totals[t] += X.T @ scaled
                    self.pulls[t] += scaled.sum(axis=0)
        self.masses += columns.sum(axis=1)

    @property
    def exact(self) -> bool:
        """Whether centring has left the digits of the diagonals."""
        before = np.stack([np.diagonal(total) for total in self.totals])
        shift = self.centre * (2 * self.pulls - self.masses[:, None] * self.centre)
        return bool(np.all(np.abs(before - shift) >= _LEAST_SHARE * np.abs(before)))

    def finished(self) -> list[Any]:
        sums = zip(self.totals, self.pulls, self.masses, strict=True)
        return [self._finished(*parts) for parts in sums]

    def __add__(self, other: Any) -> "ShiftedGrams":
        pairs = zip(self.totals, other.totals, strict=True)
        return ShiftedGrams(
            [a + b for a, b in pairs],
            self.pulls + other.pulls,
            self.masses + other.masses,
            self.centre,
        )

    def _finished(self, total: np.ndarray, pull: np.ndarray, mass: float) -> Any:
        p, c = len(pull), self.centre
        whole, half = np.empty((p + 1, p + 1)), pull - 0.5 * mass * c
        for rows in _numpy.mirrored_blocks(p):
            before, c_own, half_own = slice(rows.stop), c[rows, None], half[rows, None]
            part = total[before, rows].T - c_own * half[before] - half_own * c[before]
            whole[rows, before] = part
        _numpy.mirror(whole[:p, :p])
        whole[:p, p] = whole[p, :p] = pull - mass * c
        whole[p, p] = mass
        return whole
