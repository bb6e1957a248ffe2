"""Sparse rows: multiplied as they are where they are wide, else filled block by block."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from skinfluence._array import Array, Rows, to_numpy
from skinfluence._kernels import SparseRows
from skinfluence._kernels._sparse import csr_rows, frequent_columns, row_gram
from skinfluence._sources._base import AbstractSource
from skinfluence._sources._dense import AbstractNumpySource
from skinfluence._sources._sizes import rows_in_block, sparse_rows_in_block

# Sparse rows of fewer columns than this are faster made dense, block by block.
_NARROW = 256
# Most answers make few entries of a sparse row of all that could be made of it.
_SPARSE_SHARE = 128


def sparse_source(csr: Any, columns: Array | None = None) -> AbstractSource:
    """The source for a canonical float64 CSR array, by the number of columns in use."""
    width = csr.shape[1] if columns is None else columns.shape[0]
    kind = SparseSource if width >= _NARROW else FilledSource
    return kind(csr, columns)


@final
@dataclass(frozen=True, eq=False)
class FilledSource(AbstractNumpySource):
    """A narrow CSR array, whose blocks are dense."""

    csr: Any  # (n, p)
    columns: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.csr.shape

    def read(self, rows: Rows) -> np.ndarray:
        X = csr_rows(self.csr, rows)
        return (X if self.columns is None else X[:, self.columns]).toarray()

    def read_columns(self, part: slice) -> np.ndarray:
        return self.csr[
            :, part if self.columns is None else self.columns[part]
        ].toarray()

    def for_products(self, centre: Array, has_intercept: bool) -> AbstractSource:
        return self

    def take(self, rows: Rows) -> "FilledSource":
        return replace(self, csr=self.csr[rows])

    def with_columns(self, columns: Array | None) -> AbstractSource:  # type: ignore[override]
        return sparse_source(self.csr, columns)

    def on_host(self) -> Any:
        return self.csr


@final
@dataclass(frozen=True, eq=False)
class SparseSource(AbstractSource):
    """A wide CSR array, which stays sparse and is centred by formula."""

    csr: Any  # (n, p)
    columns: Any = None
    is_sparse: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, int]:
        return self.csr.shape

    @property
    def place(self) -> np.ndarray:
        return np.empty(0)

    @cached_property
    def _used(self) -> Any:
        return self.csr if self.columns is None else self.csr[:, self.columns]

    @cached_property
    def _frequent(self) -> Any:
        return frequent_columns(self._used)

    def block(
        self, rows: Rows, centre: Array, has_intercept: bool, scratch: Any = None
    ) -> SparseRows:
        X = csr_rows(self._used, rows)
        return SparseRows(X, to_numpy(centre), has_intercept, self._frequent)

    def take(self, rows: Rows) -> "SparseSource":
        return replace(self, csr=self.csr[rows])

    def with_columns(self, columns: Array | None) -> AbstractSource:
        return sparse_source(self.csr, columns)

    def weighted_mean(self, weight: Array) -> Any:
        share = to_numpy(weight)
        share = share if share.any() else np.ones_like(share)
        return share / share.sum() @ self._used

    def row_gram(self, centre: Array, weight: Array, constant: float) -> Any:
        return row_gram(self._used, to_numpy(centre), to_numpy(weight), constant)

    def on_host(self) -> Any:
        return self.csr

    @property
    def row_entries(self) -> int:
        return self.csr.nnz // max(self.shape[0], 1)

    def rows_in_block(self, width: int) -> int:
        return sparse_rows_in_block(self.row_entries)

    def rows_in_answer(self, width: int) -> int:
        return rows_in_block(max(self.row_entries, width // _SPARSE_SHARE))
