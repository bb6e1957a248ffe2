"""Rows that are read as arrays, block by block: of any library, of a frame, or waiting."""

import abc
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    is_numpy_array,
    is_numpy_namespace,
    like,
    moved,
    to_numpy,
)
from skinfluence._kernels import ShiftedRows, kernels
from skinfluence._kernels._senders import Sender
from skinfluence._sources._base import AbstractSource
from skinfluence._sources._sizes import plain_rows_in_block, rows_in_block

# Rows that are enough for a centre, and entries of them that are read at a time.
_MEAN_ROWS, _MEAN_ENTRIES = 2**14, 2**18
# Entries of a block of columns of all rows.
_COLUMN_ENTRIES = 2**22
# Rows that show whether columns may be centred by formula: squared mean over spread.
_LEAST_SAMPLE, _SAMPLE_ENTRIES, _MOST_SHIFT = 50, 2**17, 20.0


@dataclass(frozen=True, eq=False)
class AbstractDenseSource(AbstractSource):
    """Rows whose entries a subclass reads; the rest is arithmetic."""

    X: Any  # (n, p)
    columns: Any = field(default=None, kw_only=True)
    by_formula: bool = field(default=False, kw_only=True)  # how blocks are centred

    @abc.abstractmethod
    def read(self, rows: Any, columns: Any) -> Any:
        """Entries of some rows in some of the p columns, None for all, as they are."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.X.shape

    @property
    def place(self) -> Array:
        return self.X

    @property
    def is_shared(self) -> bool:
        return is_numpy_array(self.place)

    def block(
        self, rows: Rows, centre: Array, has_intercept: bool, scratch: Any = None
    ) -> Any:
        X, xp = self.read(rows, self.columns), array_namespace(centre)
        if self.by_formula:
            X = _in_float64(X, None if scratch is None else scratch.X)
            return ShiftedRows(X, to_numpy(centre), True)
        if not has_intercept:
            return xp.astype(X, xp.float64, copy=False)
        if is_numpy_namespace(xp):  # one pass, no temporary
            shape = (X.shape[0], X.shape[1] + 1)
            block = np.empty(shape) if scratch is None else scratch[: shape[0]]
            np.subtract(X, to_numpy(centre), out=block[:, :-1])
            block[:, -1] = 1.0
            return block
        ones = xp.ones((X.shape[0], 1), dtype=xp.float64, device=device_of(X))
        return xp.concat([xp.astype(X, xp.float64) - centre, ones], axis=1)

    def with_columns(self, columns: Array | None) -> AbstractSource:
        return replace(self, columns=columns, by_formula=False)

    def for_products(self, centre: Array, has_intercept: bool) -> Self:
        """Centred by formula, unless that loses digits: where a mean is far from zero."""
        if not (has_intercept and self.width and self.is_shared):
            return self
        n_sample = max(_SAMPLE_ENTRIES // self.width, _LEAST_SAMPLE)
        step = max(self.shape[0] // n_sample, 1)
        sample = self.read(slice(None, None, step), self.columns)
        spread = ((sample - centre) ** 2).mean(axis=0)
        far = (spread > 0) & (centre**2 > _MOST_SHIFT * spread)
        return self if far.any() else replace(self, by_formula=True)

    def rows_in_block(self, width: int) -> int:
        """Rows that are read where they lie are many: kernels copy parts of them."""
        if self.by_formula:
            return plain_rows_in_block(width)
        return rows_in_block(width, self.place)

    def weighted_mean(self, weight: Array) -> Any:
        """Of about ``_MEAN_ROWS`` rows, evenly spaced.

        A centre is a choice of coordinates: it has to be near the mean, not the mean.
        """
        xp, step = array_namespace(weight), max(self.shape[0] // _MEAN_ROWS, 1)
        some = weight[::step]
        if float(xp.sum(some)) == 0 and float(xp.sum(weight)) > 0:
            some, step = weight, 1
        n, total = some.shape[0], xp.sum(some)
        share = some / total if float(total) > 0 else xp.ones_like(some) / n
        size = max(_MEAN_ENTRIES // max(self.width, 1), 1)
        means = []
        for first in range(0, n, size):
            last = min(first + size, n)
            rows = slice(first * step, min(last * step, self.shape[0]), step)
            X = xp.astype(self.read(rows, self.columns), xp.float64)
            means.append(share[first:last] @ X)
        return xp.sum(xp.stack(means), axis=0)

    def row_gram(self, centre: Array, weight: Array, constant: float) -> Any:
        """Columns play the part of rows: a Gram of X transposed, by blocks of columns."""
        if self.by_formula:
            return self.block(slice(None), centre, True).row_gram(weight, constant)
        n, kernel, xp = self.shape[0], kernels(centre), array_namespace(centre)
        total = kernel.empty_gram(n, centre) + constant
        size = max(_COLUMN_ENTRIES // n, 16)
        for first in range(0, weight.shape[0], size):
            part = slice(first, min(first + size, weight.shape[0]))
            columns = part if self.columns is None else self.columns[part]
            X = xp.astype(self.read(slice(None), columns), xp.float64) - centre[part]
            total = kernel.add_gram(total, xp.asarray(X.T, copy=True), weight[part])
        return kernel.finished_gram(total)


def _in_float64(X: np.ndarray, scratch: np.ndarray | None) -> np.ndarray:
    """The same entries, X itself where it can be."""
    if X.dtype == np.float64 or scratch is None:
        return X.astype(np.float64, copy=False)
    np.copyto(scratch[: len(X)], X)
    return scratch[: len(X)]


@final
@dataclass(frozen=True, eq=False)
class ArraySource(AbstractDenseSource):
    """An array of any library, type and order; also a memory-mapped one."""

    def read(self, rows: Any, columns: Any) -> Any:
        X = self._rows(rows)
        if columns is None or isinstance(columns, slice):
            return X if columns is None else X[:, columns]
        return array_namespace(X).take(X, columns, axis=1)

    def _rows(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return self.X[rows, :]
        if is_numpy_array(self.X) and not self.X.flags.c_contiguous:
            return self.X[rows]  # take would copy the whole of X
        xp = array_namespace(self.X)
        return xp.take(self.X, like(rows, self.X, xp.int64), axis=0)

    def take(self, rows: Rows) -> AbstractSource:
        return replace(self, X=self._rows(rows))

    def on_host(self) -> np.ndarray:
        return to_numpy(self.X)


@final
@dataclass(frozen=True, eq=False)
class FrameSource(AbstractDenseSource):
    """A frame whose columns are arrays of their own, each of its own type."""

    X: tuple[np.ndarray, ...]  # p of (n,)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.X[0]), len(self.X)

    @property
    def place(self) -> Array:
        return self.X[0]

    def read(self, rows: Any, columns: Any) -> np.ndarray:
        indices = np.arange(len(self.X))
        indices = indices if columns is None else indices[columns]
        table = np.empty((len(self.X[0][rows]), len(indices)))
        for j, index in enumerate(indices):
            table[:, j] = self.X[index][rows]
        return table

    def take(self, rows: Any) -> AbstractSource:
        return replace(self, X=tuple(array[rows] for array in self.X))

    def on_host(self) -> np.ndarray:
        return self.read(slice(None), None)


@final
@dataclass(frozen=True, eq=False)
class HostSource(AbstractDenseSource):
    """Rows that are too many for a device: kept on the host, and sent block by block.

    A pass over the rows asks for slices in order. While it computes with one, the next
    slice of the same length is on its way.
    """

    device: Array = field(kw_only=True)  # any array there
    sender: Sender = field(kw_only=True)

    @property
    def place(self) -> Array:
        return self.device

    def read(self, rows: Any, columns: Any) -> Any:
        if isinstance(rows, slice) and rows != slice(None) and rows.step in (None, 1):
            return ArraySource(self._received(rows)).read(slice(None), columns)
        rows, columns = _indices(rows), _indices(columns)
        return moved(ArraySource(self.X).read(rows, columns), self.place)

    def _received(self, rows: slice) -> Any:
        first, last, _ = rows.indices(self.shape[0])
        if (first, last) not in self._under_way:
            self._send(first, last)
        ticket = self._under_way[first, last]
        self._under_way.clear()
        if last < self.shape[0]:
            self._send(last, min(2 * last - first, self.shape[0]))
        return self.sender.receive(ticket)

    def _send(self, first: int, last: int) -> None:
        self._under_way[first, last] = self.sender.send(self.X[first:last])

    @cached_property
    def _under_way(self) -> dict[tuple[int, int], Any]:
        return {}

    def take(self, rows: Rows) -> AbstractSource:
        return ArraySource(self.read(rows, None), columns=self.columns)

    def on_host(self) -> np.ndarray:
        return self.X

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "An explainer whose rows wait on the host for a device cannot be pickled. "
            "Fit it with backend='numpy' first."
        )


def _indices(key: Any) -> Any:
    """Indices on the host; slices, and None, as they are."""
    return key if key is None or isinstance(key, slice) else to_numpy(key)
