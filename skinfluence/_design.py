"""A design: rows of X in coordinates that lose no digits, and the way back.

A working row is ``x~ = [x - centre, 1]`` (without the 1, and without centring, where
there is no free intercept). X itself is never copied: blocks are made when asked for.
Rows of a wide sparse X stay sparse, and centred by formula only (``SparseRows``).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    is_numpy_namespace,
    like,
    to_numpy,
)
from skinfluence._kernels import HostRows, ShiftedRows, SparseRows, kernels
from skinfluence._kernels._sparse import as_csr, csr_rows, frequent_columns

# Sparse rows of fewer columns than this are faster made dense, block by block.
_NARROW = 256
# Rows up to which a Gram matrix is kept, of 512 MiB: Newton steps share it.
_MOST_KEPT = 8192
# Rows that show whether columns may be centred by formula: squared mean over spread.
_LEAST_SAMPLE, _SAMPLE_ENTRIES, _MOST_SHIFT = 50, 2**17, 20.0
# Rows that are enough for a centre.
_MEAN_ROWS = 2**14
# Numbers in a block of columns of all rows.
_COLUMN_ENTRIES = 2**22


@final
@dataclass(frozen=True, eq=False)
class Design:
    """Rows of X, dense or sparse, with their intercept column and centre.

    ``B`` (q, K) are parameters in working coordinates, ``coef`` (K, p) and
    ``intercept`` (K,) those of the estimator: ``B = [coef', intercept + centre'coef']``.
    """

    X: Any  # (n, p)
    centre: Any  # (p,) zero where the intercept is not free
    has_intercept: bool
    columns: Any = None  # features in use, of p; None for all
    by_formula: bool = False  # whether blocks are ``ShiftedRows``

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return self.X.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features p."""
        return self.X.shape[1]

    @property
    def width(self) -> int:
        """Number of working columns q."""
        return self.centre.shape[0] + self.has_intercept

    @property
    def is_wide_sparse(self) -> bool:
        """Whether blocks are ``SparseRows``."""
        return hasattr(self.X, "tocsr") and self.width > _NARROW

    @property
    def row_entries(self) -> int:
        """Numbers that one row of a block holds, about."""
        if not self.is_wide_sparse:
            return self.width
        return 1 + self.X.nnz // max(self.n_rows, 1)

    def of(self, X: Any) -> "Design":
        """Other rows in the same coordinates."""
        return replace(self, X=X)

    def block(self, rows: Rows, scratch: Any = None) -> Any:
        """Working rows ``x~`` of a slice or index array in float64, (b, q).

        Dense, or ``SparseRows`` where X is sparse and wide.
        ``scratch`` (>= b, q) may be overwritten and returned: memory that is already in
        the cache is twice as fast as new memory.
        """
        xp = array_namespace(self.centre)
        if self.is_wide_sparse:
            return self._sparse_rows(rows)
        X = _dense_rows(self.X, rows, self.columns, self.centre)
        if self.by_formula:
            return ShiftedRows(X, self.centre, True)
        if not self.has_intercept:
            return xp.astype(X, xp.float64, copy=False)
        if is_numpy_namespace(xp):  # one pass, no temporary
            empty = xp.empty((X.shape[0], self.width)) if scratch is None else scratch
            block = empty[: X.shape[0], :]
            xp.subtract(X, self.centre, out=block[:, :-1])
            block[:, -1] = 1.0
            return block
        ones = xp.ones((X.shape[0], 1), dtype=xp.float64, device=device_of(X))
        return xp.concat([xp.astype(X, xp.float64) - self.centre, ones], axis=1)

    @cached_property
    def centred_by_formula(self) -> "Design":
        """The same, its blocks ``ShiftedRows``, where that loses no digits.

        Where a column's mean is far from zero, or arrays are not NumPy's, itself.
        """
        dense = self.width > self.has_intercept > 0 and not hasattr(self.X, "tocsr")
        is_numpy = is_numpy_namespace(array_namespace(self.centre))
        if self.by_formula or not dense or not is_numpy:
            return self
        n_sample = max(_SAMPLE_ENTRIES // self.width, _LEAST_SAMPLE)
        step = max(self.n_rows // n_sample, 1)
        sample = _dense_rows(self.X, slice(None, None, step), self.columns, self.centre)
        spread = ((sample - self.centre) ** 2).mean(axis=0)
        far = (spread > 0) & (self.centre**2 > _MOST_SHIFT * spread)
        return self if far.any() else replace(self, by_formula=True)

    def picked(self, rows: Rows) -> "Design":
        """Some of the rows, by indices."""
        if hasattr(self.X, "tocsr"):
            return self.of(self.X.tocsr()[rows])
        return self.of(_picked(self.X, rows, self.centre))

    def part(self, rows: slice) -> "Design":
        """A slice of the rows."""
        return self.of(self.X[rows] if hasattr(self.X, "tocsr") else self.X[rows, :])

    def _sparse_rows(self, rows: Any) -> SparseRows:
        part = csr_rows(self._csr, rows)
        return SparseRows(part, self.centre, self.has_intercept, self._frequent)

    @cached_property
    def _frequent(self) -> Any:
        return frequent_columns(self._csr)

    @cached_property
    def _csr(self) -> Any:
        X = as_csr(self.X)
        return X if self.columns is None else X[:, self.columns]

    def row_gram(self, weight: Array) -> tuple[Any, bool]:
        """``X~ diag(weight) X~'``, (n, n), for weights of the working columns (q,).

        And whether it is kept, for the next weights alike, and must not be changed.
        """
        key = to_numpy(weight).tobytes()
        if key in self._grams:
            return self._grams[key], True
        gram = self._row_gram(weight)
        if self.n_rows > _MOST_KEPT:
            return gram, False
        self._grams[key] = gram
        return gram, True

    @cached_property
    def _grams(self) -> dict[bytes, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        made = ("_csr", "_frequent", "_grams", "centred_by_formula")
        return {name: part for name, part in vars(self).items() if name not in made}

    def _row_gram(self, weight: Array) -> Any:
        constant = float(weight[-1]) if self.has_intercept else 0.0
        features = weight[: self.centre.shape[0]]
        if self.is_wide_sparse:
            gram = kernels(self.block(slice(0, 1))).row_gram
            return gram(self._csr, self.centre, features, constant)
        if self.centred_by_formula.by_formula:
            rows = self.centred_by_formula.block(slice(0, self.n_rows))
            return kernels(rows).row_gram(rows, features, constant)
        return _row_gram(self, features, constant)

    def centred_by(self, weight: Array) -> "Design":
        """The same rows, centred by a weighted mean where the intercept is free."""
        centre = weighted_mean(self.X, weight)
        if self.columns is not None:
            centre = array_namespace(centre).take(centre, self.columns, axis=0)
        return replace(self, centre=centre)

    def to_working(self, coef: Array, intercept: Array) -> Any:
        """Parameters of the estimator, (K, p) and (K,), as ``B`` (q, K)."""
        xp = array_namespace(self.centre)
        if self.columns is not None:
            coef = xp.take(coef, self.columns, axis=1)
        if not self.has_intercept:
            return coef.T
        return xp.concat([coef.T, (intercept + coef @ self.centre)[None, :]], axis=0)

    def to_estimator(self, B: Array) -> tuple[Any, Any]:
        """``(..., K, q)`` to coefficients ``(..., K, p)`` and intercepts ``(..., K)``."""
        xp = array_namespace(B)
        if not self.has_intercept:
            zeros = xp.zeros(B.shape[:-1], dtype=B.dtype, device=device_of(B))
            return self._scattered(B), zeros
        coef = B[..., :-1]
        return self._scattered(coef), B[..., -1] - coef @ self.centre

    def _scattered(self, coef: Array) -> Any:
        """Coefficients of the features in use among zeros for the others."""
        if self.columns is None:
            return coef
        xp = array_namespace(coef)
        place = np.full(self.n_features, self.columns.shape[0])
        place[to_numpy(self.columns)] = np.arange(self.columns.shape[0])
        zeros = xp.zeros(
            (*coef.shape[:-1], 1), dtype=coef.dtype, device=device_of(coef)
        )
        padded = xp.concat([coef, zeros], axis=-1)
        return xp.take(padded, like(place, coef, xp.int64), axis=-1)


def weighted_mean(X: Any, weight: Array) -> Any:
    """Weighted mean of the columns, (p,); plain mean where all weights are zero.

    Of many dense rows about ``_MEAN_ROWS`` are read, evenly spaced: a centre is a choice
    of coordinates, which has to be near the mean and need not be it.
    """
    xp = array_namespace(weight)
    step = max(X.shape[0] // _MEAN_ROWS, 1)
    if step > 1 and not isinstance(X, HostRows) and not hasattr(X, "tocsr"):
        some = weight[::step]
        if float(xp.sum(some)) > 0 or not float(xp.sum(weight)) > 0:
            X, weight = X[::step, :], some
    total = xp.sum(weight)
    n = weight.shape[0]
    share = weight / total if float(total) > 0 else xp.ones_like(weight) / n
    if is_numpy_namespace(xp):  # a float32 X is promoted by blocks, a sparse one stays
        return xp.asarray(share @ X, dtype=float).ravel()
    size = max(_COLUMN_ENTRIES // max(X.shape[1], 1), 1)
    parts = [slice(first, min(first + size, n)) for first in range(0, n, size)]
    means = [share[part] @ xp.astype(X[part, :], xp.float64) for part in parts]
    return xp.sum(xp.stack(means), axis=0)


def _row_gram(design: Design, weight: Array, constant: float) -> Any:
    """Columns play the part of rows: a Gram of X transposed, by blocks of columns."""
    n = design.n_rows
    kernel = kernels(design.centre)
    total = kernel.empty_gram(n, design.centre) + constant
    size = max(_COLUMN_ENTRIES // n, 16)
    xp = array_namespace(design.centre)
    for first in range(0, weight.shape[0], size):
        part = slice(first, min(first + size, weight.shape[0]))
        columns = _column_block(design, part, xp)  # (c, n)
        total = kernel.add_gram(total, columns, weight[part])
    return kernel.finished_gram(total)


def _column_block(design: Design, part: slice, xp: Any) -> Any:
    X = design.X.toarray() if hasattr(design.X, "tocsr") else design.X
    if design.columns is None:
        X = X[:, part]
    elif isinstance(X, HostRows):
        X = X[:, to_numpy(design.columns[part])]
    else:
        X = xp.take(X, design.columns[part], axis=1)
    columns = xp.astype(X, xp.float64) - design.centre[part]
    return xp.asarray(columns.T, copy=True)


def _dense_rows(X: Any, rows: Rows, columns: Array, reference: Array) -> Any:
    if hasattr(X, "tocsr"):
        part = X.tocsr()[rows]
        return (part if columns is None else part[:, columns]).toarray()
    part = X[rows, :] if isinstance(rows, slice) else _picked(X, rows, reference)
    if columns is None:
        return part
    return array_namespace(reference).take(part, columns, axis=1)


def _picked(X: Any, rows: Any, reference: Array) -> Any:
    """Rows of a dense X, by indices."""
    if isinstance(X, HostRows):
        return X.picked(rows)
    xp = array_namespace(reference)
    return xp.take(X, like(rows, reference, xp.int64), axis=0)
