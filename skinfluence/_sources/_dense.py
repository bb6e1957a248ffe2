"""Rows that are read as arrays, block by block: of NumPy, of a frame, or on a device."""

import abc
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    is_numpy_namespace,
    like,
    moved,
    to_numpy,
)
from skinfluence._kernels import ShiftedRows, kernels
from skinfluence._kernels._senders import Sender
from skinfluence._sources._base import AbstractSource
from skinfluence._sources._sizes import plain_rows_in_block

# Rows that are enough for a centre.
_MEAN_ROWS = 2**14
# Entries of a block of columns of all rows.
_COLUMN_ENTRIES = 2**22
# Rows that show whether columns may be centred by formula: squared mean over spread.
_LEAST_SAMPLE, _SAMPLE_ENTRIES, _MOST_SHIFT = 50, 2**17, 20.0


class AbstractDenseSource(AbstractSource):
    """Rows whose entries a subclass reads; the rest is arithmetic."""

    @abc.abstractmethod
    def read(self, rows: Rows) -> Any:
        """Entries of a slice or indices, (b, q), of the type that they have."""

    @abc.abstractmethod
    def read_columns(self, part: slice) -> Any:
        """Entries of all rows in some of the columns in use, (n, c)."""

    def block(
        self, rows: Rows, centre: Array, has_intercept: bool, scratch: Any = None
    ) -> Any:
        X, xp = self.read(rows), array_namespace(centre)
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

    def with_columns(self, columns: Array | None) -> "AbstractDenseSource":
        return replace(self, columns=columns)  # type: ignore[type-var]

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
        size = max(_COLUMN_ENTRIES // max(self.width, 1), 1)
        means = []
        for first in range(0, n, size):
            last = min(first + size, n)
            X = self.read(slice(first * step, min(last * step, self.shape[0]), step))
            means.append(share[first:last] @ xp.astype(X, xp.float64, copy=False))
        return xp.sum(xp.stack(means), axis=0)

    def row_gram(self, centre: Array, weight: Array, constant: float) -> Any:
        """Columns play the part of rows: a Gram of X transposed, by blocks of columns."""
        n, kernel, xp = self.shape[0], kernels(centre), array_namespace(centre)
        total = kernel.empty_gram(n, centre) + constant
        size = max(_COLUMN_ENTRIES // n, 16)
        for first in range(0, weight.shape[0], size):
            part = slice(first, min(first + size, weight.shape[0]))
            X = xp.astype(self.read_columns(part), xp.float64) - centre[part]
            columns = xp.asarray(X.T, copy=True)  # (c, n)
            total = kernel.add_gram(total, columns, weight[part])
        return kernel.finished_gram(total)


class AbstractNumpySource(AbstractDenseSource):
    """Dense rows on the host."""

    is_shared: ClassVar[bool] = True

    @property
    def place(self) -> np.ndarray:
        return np.empty(0)

    def for_products(self, centre: Array, has_intercept: bool) -> AbstractSource:
        """Centred by formula, unless that loses digits: where a mean is far from zero."""
        if not has_intercept or self.width == 0:
            return self
        n_sample = max(_SAMPLE_ENTRIES // self.width, _LEAST_SAMPLE)
        step = max(self.shape[0] // n_sample, 1)
        sample = self.read(slice(None, None, step))
        spread = ((sample - centre) ** 2).mean(axis=0)
        far = (spread > 0) & (centre**2 > _MOST_SHIFT * spread)
        return self if far.any() else ShiftedSource(self)


@final
@dataclass(frozen=True, eq=False)
class ArraySource(AbstractNumpySource):
    """A NumPy array of any type and order; also a memory-mapped one."""

    X: np.ndarray  # (n, p)
    columns: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.X.shape

    def read(self, rows: Rows) -> np.ndarray:
        X = _rows_of(self.X, rows)
        return X if self.columns is None else np.take(X, self.columns, axis=1)

    def read_columns(self, part: slice) -> np.ndarray:
        return self.X[:, part if self.columns is None else self.columns[part]]

    def take(self, rows: Rows) -> "ArraySource":
        return replace(self, X=_rows_of(self.X, rows))

    def on_host(self) -> np.ndarray:
        return self.X


def _rows_of(X: np.ndarray, rows: Any) -> np.ndarray:
    """Rows of X. ``take`` is faster, but copies the whole X of another order."""
    if isinstance(rows, slice) or not X.flags.c_contiguous:
        return X[rows]
    return np.take(X, rows, axis=0)


@final
@dataclass(frozen=True, eq=False)
class FrameSource(AbstractNumpySource):
    """A frame whose columns are arrays of their own, each of its own type."""

    arrays: tuple[np.ndarray, ...]  # p columns, (n,) each
    columns: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.arrays[0]), len(self.arrays)

    @property
    def _used(self) -> Any:
        if self.columns is None:
            return self.arrays
        return [self.arrays[j] for j in self.columns]

    def read(self, rows: Rows) -> np.ndarray:
        return _side_by_side([_rows_of(array, rows) for array in self._used])

    def read_columns(self, part: slice) -> np.ndarray:
        return _side_by_side(self._used[part])

    def take(self, rows: Rows) -> "FrameSource":
        return replace(
            self, arrays=tuple(_rows_of(array, rows) for array in self.arrays)
        )

    def on_host(self) -> np.ndarray:
        return _side_by_side(self.arrays)


def _side_by_side(arrays: Any) -> np.ndarray:
    """Columns as an array in float64 and C order."""
    X = np.empty((len(arrays[0]) if len(arrays) else 0, len(arrays)))
    for j, array in enumerate(arrays):
        X[:, j] = array
    return X


@final
@dataclass(frozen=True, eq=False)
class ShiftedSource(AbstractSource):
    """Rows on the host that are centred by formula: products read X as it is."""

    inner: AbstractNumpySource
    is_shared: ClassVar[bool] = True

    @property
    def columns(self) -> Any:
        return self.inner.columns

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    @property
    def place(self) -> np.ndarray:
        return self.inner.place

    def block(
        self, rows: Rows, centre: Array, has_intercept: bool, scratch: Any = None
    ) -> ShiftedRows:
        X = self.inner.read(rows).astype(np.float64, copy=False)
        return ShiftedRows(X, to_numpy(centre), has_intercept)

    def take(self, rows: Rows) -> AbstractSource:
        return self.inner.take(rows)

    def with_columns(self, columns: Array | None) -> AbstractSource:
        return self.inner.with_columns(columns)

    def weighted_mean(self, weight: Array) -> Any:
        return self.inner.weighted_mean(weight)

    def row_gram(self, centre: Array, weight: Array, constant: float) -> Any:
        return self.inner.row_gram(centre, weight, constant)

    def on_host(self) -> Any:
        return self.inner.on_host()

    def rows_in_block(self, width: int) -> int:
        return plain_rows_in_block(width)


@final
@dataclass(frozen=True, eq=False)
class DeviceSource(AbstractDenseSource):
    """An array of another library than NumPy, where it is."""

    X: Any  # (n, p)
    columns: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.X.shape

    @property
    def place(self) -> Array:
        return self.X

    def read(self, rows: Rows) -> Any:
        X, xp = _taken(self.X, rows), array_namespace(self.X)
        return X if self.columns is None else xp.take(X, self.columns, axis=1)

    def read_columns(self, part: slice) -> Any:
        if self.columns is None:
            return self.X[:, part]
        return array_namespace(self.X).take(self.X, self.columns[part], axis=1)

    def take(self, rows: Rows) -> "DeviceSource":
        return replace(self, X=_taken(self.X, rows))

    def on_host(self) -> np.ndarray:
        return to_numpy(self.X)


def _taken(X: Array, rows: Rows) -> Any:
    if isinstance(rows, slice):
        return X[rows, :]
    xp = array_namespace(X)
    return xp.take(X, like(rows, X, xp.int64), axis=0)


@final
@dataclass(frozen=True, eq=False)
class HostSource(AbstractDenseSource):
    """Rows that are too many for a device: kept on the host, and sent block by block.

    A pass over the rows asks for slices in order. While it computes with one, the next
    slice of the same length is on its way.
    """

    host: np.ndarray  # (n, p)
    device: Array  # any array there
    sender: Sender
    columns: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.host.shape

    @property
    def place(self) -> Array:
        return self.device

    def read(self, rows: Rows) -> Any:
        if isinstance(rows, slice) and rows.step in (None, 1):
            X = self._received(rows)
        else:
            chosen = rows if isinstance(rows, slice) else to_numpy(rows)
            X = moved(self.host[chosen], self.place)
        if self.columns is None:
            return X
        return array_namespace(X).take(X, self.columns, axis=1)

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
        self._under_way[first, last] = self.sender.send(self.host[first:last])

    @cached_property
    def _under_way(self) -> dict[tuple[int, int], Any]:
        return {}

    def read_columns(self, part: slice) -> Any:
        wanted = part if self.columns is None else to_numpy(self.columns[part])
        return moved(self.host[:, wanted], self.place)

    def take(self, rows: Rows) -> DeviceSource:
        chosen = rows if isinstance(rows, slice) else to_numpy(rows)
        return DeviceSource(moved(self.host[chosen], self.place), self.columns)

    def on_host(self) -> np.ndarray:
        return self.host

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "An explainer whose rows wait on the host for a device cannot be pickled. "
            "Fit it with backend='numpy' first."
        )
