"""Weighted Gram matrices of sparse rows, by SciPy's products.

Compiled kernels of other libraries were tried on random, one-hot and word-count rows of
500 to 5,000 columns. tabmat 4.2 takes 0.4 to 1.4 times the seconds of the products below,
of which a fit gains a tenth, and imports pandas; sparse_dot_mkl 0.9 takes 0.2 to 0.8, but
fails to load where the environment does not tell it where MKL is. Neither is worth a
dependency.

Columns stand in another order here: rare ones, then frequent ones and the intercept's
ones, which are dense, centred before they are multiplied, and lose no digits by it. Rare
columns are centred afterwards: their mean is small against their spread.
"""

from itertools import pairwise
from typing import Any, final

import numpy as np
from scipy.sparse import csr_array, vstack

from skinfluence._kernels._grams import AbstractGrams
from skinfluence._kernels._numpy import NUMPY, mirrored_blocks
from skinfluence._kernels._sparse import SparseRows

# Entries of a dense block of frequent columns.
_ENTRIES = 2**20
# Entries of rows that wait to be multiplied: each product writes a whole matrix.
_LEAST_WAITING = 2**22
# Blocks of columns, of which those above the diagonal are not multiplied twice.
_COLUMN_BLOCKS = 4


@final
class SparseGrams(AbstractGrams):
    """T weighted Gram matrices (q, q) by sparse products."""

    def __init__(self, rows: SparseRows, n_weights: int) -> None:
        p, frequent = rows.X.shape[1], rows.frequent
        self.has_intercept, q = rows.has_intercept, rows.shape[1]
        self.rare = None if frequent is None else np.flatnonzero(~frequent)  # None: all
        self.frequent = (
            np.flatnonzero(frequent) if frequent is not None else np.arange(0)
        )
        self.centre = rows.centre
        self.n_rare = p - len(self.frequent)
        self.totals = [NUMPY.empty_gram(q, rows.centre) for _ in range(n_weights)]
        n_dense = q - self.n_rare
        self.dense = [NUMPY.empty_gram(n_dense, rows.centre) for _ in range(n_weights)]
        self._waiting: list[tuple[Any, Any]] = []  # rare columns (b, r), weights (b, T)

    def add(self, block: Any, weights: Any) -> None:
        rare = block.X if self.rare is None else block.X[:, self.rare]
        if self.totals[0].shape[0] > self.n_rare:
            self._add_dense(block, rare, weights)
        self._waiting.append((rare, weights))
        if sum(X.nnz for X, _ in self._waiting) >= max(
            _LEAST_WAITING, self.n_rare**2 // 4
        ):
            self._flush()

    def _add_dense(self, block: SparseRows, rare: Any, weights: np.ndarray) -> None:
        """Products with frequent columns and the intercept's, (b, c)."""
        r = self.n_rare
        size = max(_ENTRIES // len(self.dense[0]), 256)
        for first in range(0, len(block), size):
            part = slice(first, first + size)
            D = self._dense_columns(block.X[part])
            for t, w in enumerate(weights[part].T.copy()):
                self.dense[t] = NUMPY.add_gram(self.dense[t], D, w)
                self.totals[t][:r, r:] += rare[part].T @ (w[:, None] * D)

    def _dense_columns(self, X: Any) -> Any:
        c = len(self.frequent)
        D = np.ones((X.shape[0], c + self.has_intercept))
        if c:
            D[:, :c] = X[:, self.frequent].toarray() - self.centre[self.frequent]
        return D

    def _flush(self) -> None:
        """Multiply the rare columns that wait, blocks above the diagonal only."""
        if not self._waiting:
            return
        X, weights = self._waiting[0]
        if len(self._waiting) > 1:
            X = vstack([part for part, _ in self._waiting], format="csr")
            weights = np.concatenate([part for _, part in self._waiting])
        self._waiting = []
        columns = _column_blocks(X)
        parts = [(place, part, part.tocsr()) for place, part in columns]
        for total, w in zip(self.totals, weights.T, strict=True):
            for place, _, part in parts:
                scaled = _scaled(part, w)
                for above, left, _ in parts:
                    if above.start <= place.start:
                        total[above, place] += (left.T @ scaled).toarray()

    def finished(self) -> list[Any]:
        self._flush()
        return [
            self._finished(*sums) for sums in zip(self.totals, self.dense, strict=True)
        ]

    def _finished(self, whole: Any, dense: Any) -> Any:
        """The total with its dense part, centred, in the total's own memory."""
        r = self.n_rare
        whole[r:, r:] = dense
        if self.has_intercept:
            c = self.centre if self.rare is None else self.centre[self.rare]
            lean = whole[:r, -1] - 0.5 * dense[-1, -1] * c
            for columns in mirrored_blocks(r):
                above = slice(0, columns.stop)
                whole[above, columns] -= np.multiply.outer(lean[above], c[columns])
                whole[above, columns] -= np.multiply.outer(c[above], lean[columns])
            whole[:r, r:] -= np.multiply.outer(c, dense[:, -1])
        whole = NUMPY.finished_gram(whole)
        if self.rare is None:
            return whole
        order = np.concatenate([self.rare, self.frequent, [r + len(self.frequent)]])
        places = np.argsort(order[: len(whole)])
        return whole[np.ix_(places, places)]

    def __add__(self, other: Any) -> "SparseGrams":
        for grams in (self, other):
            grams._flush()
        for t in range(len(self.totals)):
            self.totals[t] = self.totals[t] + other.totals[t]
            self.dense[t] = self.dense[t] + other.dense[t]
        return self


def _column_blocks(X: Any) -> list[tuple[slice, Any]]:
    """Blocks of columns with about as many entries each, in CSC."""
    by_columns, p = X.tocsc(), X.shape[1]
    shares = np.arange(1, _COLUMN_BLOCKS) / _COLUMN_BLOCKS * by_columns.nnz
    cuts = np.unique([0, *np.searchsorted(by_columns.indptr, shares), p])
    places = [slice(int(a), int(b)) for a, b in pairwise(cuts)]
    return [(place, by_columns[:, place]) for place in places]


def _scaled(X: Any, weight: np.ndarray) -> Any:
    """``diag(weight) X`` of CSR rows, their structure shared."""
    data = X.data * np.repeat(weight, np.diff(X.indptr))
    return csr_array((data, X.indices, X.indptr), shape=X.shape)
