"""Sparse rows: multiplied as they are where they are wide, else filled block by block."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from skinfluence._array import Array, Rows, to_numpy
from skinfluence._kernels import SparseRows
from skinfluence._kernels._sparse import csr_rows, frequent_columns, row_gram
from skinfluence._sources._base import AbstractSource
from skinfluence._sources._dense import AbstractDenseSource
from skinfluence._sources._sizes import rows_in_block, sparse_rows_in_block

# Sparse rows of fewer columns than this are multiplied faster as dense blocks.
_NARROW = 256
# Of all entries that could be made of a sparse row, answers make about this share.
_ANSWER_SHARE = 1 / 128


@final
@dataclass(frozen=True, eq=False)
class SparseSource(AbstractDenseSource):
    """A canonical float64 CSR array."""

    @property
    def place(self) -> Array:
        return self.X.data

    @property
    def is_sparse(self) -> bool:
        return self.width >= _NARROW

    @property
    def is_shared(self) -> bool:
        return not self.is_sparse  # sparse products hold the interpreter's lock

    @cached_property
    def _used(self) -> Any:
        return self.X if self.columns is None else self.X[:, self.columns]

    @cached_property
    def _frequent(self) -> Any:
        return frequent_columns(self._used)

    def read(self, rows: Any, columns: Any) -> Any:
        X = self._used if columns is self.columns else self.X[:, columns]
        return csr_rows(X, rows).toarray()

    def block(
        self, rows: Rows, centre: Array, has_intercept: bool, scratch: Any = None
    ) -> Any:
        if not self.is_sparse:
            return super().block(rows, centre, has_intercept, scratch)
        X = csr_rows(self._used, rows)
        return SparseRows(X, to_numpy(centre), has_intercept, self._frequent)

    def take(self, rows: Rows) -> AbstractSource:
        return replace(self, X=csr_rows(self.X, rows))

    def weighted_mean(self, weight: Array) -> Any:
        share = to_numpy(weight)
        share = share if share.any() else np.ones_like(share)
        return share / share.sum() @ self._used

    def row_gram(self, centre: Array, weight: Array, constant: float) -> Any:
        return row_gram(self._used, to_numpy(centre), to_numpy(weight), constant)

    def on_host(self) -> Any:
        return self.X

    @property
    def row_entries(self) -> int:
        if not self.is_sparse:
            return self.width
        return self.X.nnz // max(self.shape[0], 1)

    def rows_in_block(self, width: int) -> int:
        if not self.is_sparse:
            return super().rows_in_block(width)
        return sparse_rows_in_block(self.row_entries)

    def rows_in_answer(self, width: int) -> int:
        if not self.is_sparse:
            return self.rows_in_block(width)
        return rows_in_block(max(self.row_entries, int(width * _ANSWER_SHARE)))
