"""Kernels on rows of a sparse X in working coordinates, never densified."""

from typing import Any, Self, final

import numpy as np
from scipy.sparse import csr_array, diags_array

from skinfluence._array import Rows
from skinfluence._kernels._centred import AbstractCentredRows

# Entries of a dense temporary: 64 MiB.
_ENTRIES = 2**23
# A column with entries in so many rows is multiplied faster as a dense one.
_FREQUENT = 1 / 16


@final
class SparseRows(AbstractCentredRows):
    """Rows of a CSR array in float64, never made dense.

    ``frequent`` tells columns (p,) with so many entries that they are dense in all but
    name; None where there are none.
    """

    def __init__(
        self, X: Any, centre: np.ndarray, has_intercept: bool, frequent: Any = None
    ) -> None:
        super().__init__(X, centre, has_intercept)
        self.frequent = frequent

    def __getitem__(self, key: Any) -> Self:
        part = super().__getitem__(key)
        part.frequent = self.frequent
        return part

    def _entries(self) -> np.ndarray:
        return self.X.toarray()

    def _squares(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (self.X.multiply(self.X).T @ weight).T, (self.X.T @ weight).T


def as_csr(X: Any) -> Any:
    """A float64 CSR array of any sparse X, sharing its memory where it can.

    Its entries are sorted and unique: SciPy would make them so in place, and it is not
    the only one who holds that memory.
    """
    canonical = csr_array(X).astype(np.float64, copy=False)
    if not canonical.has_canonical_format:
        canonical = canonical.copy()
        canonical.sum_duplicates()
    return canonical


def csr_rows(X: Any, rows: Rows) -> Any:
    """Rows of what ``as_csr`` gives, without a search for those of a slice."""
    if not isinstance(rows, slice) or rows.step not in (None, 1):
        return X[rows]
    first, last, _ = rows.indices(X.shape[0])
    start = X.indptr[first : max(first, last) + 1]
    own = slice(int(start[0]), int(start[-1]))
    arrays = X.data[own], X.indices[own], start - start[0]
    part = csr_array(arrays, shape=(len(start) - 1, X.shape[1]))
    part.has_canonical_format = True
    return part


def frequent_columns(X: Any) -> Any:
    """Columns that are multiplied faster as dense ones, (p,) bool; None: no column."""
    counts = np.bincount(X.indices, minlength=X.shape[1])
    frequent = counts > _FREQUENT * X.shape[0]
    return frequent if frequent.any() else None


def row_gram(X: Any, centre: np.ndarray, weight: np.ndarray, constant: float) -> Any:
    """``(X - 1 c') diag(weight) (X - 1 c')' + constant 1 1'``, dense (n, n).

    Frequent columns are centred before they are multiplied, the others afterwards.
    """
    n = X.shape[0]
    total = np.empty((n, n))
    frequent = frequent_columns(X)
    frequent = np.zeros(X.shape[1], dtype=bool) if frequent is None else frequent
    common, rare = X[:, frequent].toarray() - centre[frequent], X[:, ~frequent]
    scaled = common * weight[frequent]
    scaled_rare = rare @ diags_array(weight[~frequent])
    transposed = rare.T.tocsr()
    centre = centre[~frequent]
    weighted = weight[~frequent] * centre
    pull = rare @ weighted  # (n,)
    middle = centre @ weighted + constant
    size = max(_ENTRIES // (4 * n), 16)
    for first in range(0, n, size):
        rows = slice(first, first + size)
        part = total[rows]
        (scaled_rare[rows] @ transposed).toarray(out=part)
        part += scaled[rows] @ common.T
        part += middle - pull[rows, None]
        part -= pull
    return total
