"""Columns of the training rows, and the few sums over all rows that states need."""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    indices_in,
    like,
    take_rows,
    to_numpy,
)
from skinfluence._kernels import densified
from skinfluence._sources import AbstractSource, rows_in_block

# Entries of columns of all rows that are read at a time.
_ENTRIES = 2**22


class Moments(NamedTuple):
    """Of the observed entries x of columns, with weights w, each (q,)."""

    weight: Any  # total W
    mean: Any
    scatter: Any  # sum of w (x - mean)^2
    largest: Any  # part of it that one row makes: w (x - mean)^2 W / (W - w)


class Greatest(NamedTuple):
    """The greatest entry of columns, how often it is there, and the next, each (q,)."""

    first: Any
    count: Any
    second: Any  # -inf where there is none; of use where the first is there once


class AbstractColumns(abc.ABC):
    """Columns of all training rows (n, q), read from a source when asked for.

    NaN marks what was not observed; it is left out of every sum.
    """

    @property
    @abc.abstractmethod
    def place(self) -> Array:
        """Any array of the library, and on the device, that blocks belong to."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows n and columns q."""

    @abc.abstractmethod
    def block(self, rows: Rows) -> Any:
        """Entries of some rows, (b, q)."""

    @abc.abstractmethod
    def some(self, which: np.ndarray) -> "AbstractColumns":
        """Some of the columns, by their indices among these."""

    @abc.abstractmethod
    def moments(self, weight: Array, without: np.ndarray | None = None) -> Moments:
        """Moments of the entries, where asked without that of one row per column (q,)."""

    @abc.abstractmethod
    def worst_rows(self, weight: Array, moments: Moments) -> np.ndarray:
        """For each column, the row that makes the largest part of the scatter, (q,)."""

    @abc.abstractmethod
    def greatest(
        self, of: Callable[[Any], Any], leaving: np.ndarray | None = None
    ) -> Greatest:
        """The greatest ``of`` the entries, a function with ``of(0) = 0``.

        ``leaving`` are rows that are not asked.
        """

    @abc.abstractmethod
    def nonzeros(self) -> Any:
        """Entries that are not zero, (q,)."""

    def pieces(self) -> Iterator[np.ndarray]:
        """Indices of so many columns that all their rows may be held at once."""
        n, q = self.shape
        size = max(_ENTRIES // max(n, 1), 1)
        for first in range(0, q, size):
            yield np.arange(first, min(first + size, q))

    def vector(self, values: Any) -> Any:
        """Values on the host as an array beside the columns."""
        return like(values, self.place)


def read_rows(source: AbstractSource, rows: Rows) -> tuple[Any, Any]:
    """Training rows (b, p) of a slice or indices, and their indices beside the source."""
    place = source.place
    indices = indices_in(rows, source.shape[0], place)
    where = rows if isinstance(rows, slice) else indices
    centre = like(np.zeros(source.width), place)
    return indices, densified(source.block(where, centre, False))


def own_columns(X: Any, which: np.ndarray, factor: np.ndarray | None) -> Any:
    """Columns of rows X (b, p) of one step, divided by a factor for each (q,)."""
    xp = array_namespace(X)
    if len(which) < X.shape[1] or np.any(np.diff(which) != 1):
        X = xp.take(X, like(which, X, xp.int64), axis=1)
    return X if factor is None else X / like(factor, X)


def observed(X: Any, gaps: Array, rows: Rows) -> Any:
    """Rows X (b, q) with NaN where their entries are gaps, (n, q) of all rows."""
    xp = array_namespace(X)
    return xp.where(take_rows(gaps, rows), xp.nan, X)


def columns_of(
    source: AbstractSource,
    which: np.ndarray,
    factor: np.ndarray | None = None,
    gaps: Array | None = None,
) -> AbstractColumns:
    """Some columns of a source, divided by a factor for each (q,).

    Gaps (n, q) count as not observed.
    """
    every = len(which) == source.shape[1] and np.array_equal(
        which, np.arange(len(which))
    )
    place = source.place
    indices = None if every else like(which, place, array_namespace(place).int64)
    dense = DenseColumns(source.with_columns(indices), factor, gaps)
    if gaps is not None or not dense.source.is_sparse:
        return dense
    X = dense.source.on_host()[:, which].tocsc()
    return SparseColumns(dense, X.data, X.indices, X.indptr)


@final
@dataclass(frozen=True, eq=False)
class DenseColumns(AbstractColumns):
    """Columns that are read block by block."""

    source: AbstractSource
    factor: np.ndarray | None = None  # (q,)
    gaps: Any = None  # (n, q) bool: entries that count as not observed

    @property
    def place(self) -> Array:
        return self.source.place

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape[0], self.source.width

    def block(self, rows: Rows) -> Any:
        centre = self.vector(np.zeros(self.source.width))
        X = densified(self.source.block(rows, centre, False))
        X = X if self.factor is None else X / self.vector(self.factor)
        return X if self.gaps is None else observed(X, self.gaps, rows)

    def some(self, which: np.ndarray) -> AbstractColumns:
        columns = self.source.columns
        own = which if columns is None else to_numpy(columns)[which]
        factor = None if self.factor is None else self.factor[which]
        if self.gaps is None:
            return columns_of(self.source, own, factor)
        xp = array_namespace(self.gaps)
        index = like(which, self.gaps, xp.int64)
        some = self.source.with_columns(
            index if columns is None else xp.take(columns, index)
        )
        return DenseColumns(some, factor, xp.take(self.gaps, index, axis=1))

    def _blocks(self) -> Iterator[tuple[slice, Any]]:
        n, q = self.shape
        size = rows_in_block(q, self.place)
        for first in range(0, n, size):
            rows = slice(first, min(first + size, n))
            yield rows, self.block(rows)

    def _weighted(
        self, weight: Array, without: np.ndarray | None
    ) -> Iterator[tuple[slice, Any, Any]]:
        """Blocks of entries and of their weights, both zero where one is not asked."""
        xp, device = array_namespace(self.place), device_of(self.place)
        spared = None if without is None else like(without, self.place, xp.int64)
        for rows, X in self._blocks():
            asked = ~xp.isnan(X)
            if spared is not None:
                indices = xp.arange(rows.start, rows.stop, device=device)
                asked = asked & (indices[:, None] != spared)
            zeros = xp.zeros_like(X)
            w = xp.where(asked, weight[rows][:, None] + zeros, zeros)
            yield rows, xp.where(asked, X, zeros), w

    def moments(self, weight: Array, without: np.ndarray | None = None) -> Moments:
        xp = array_namespace(self.place)
        if without is None:
            moments = self._moments_of_all(weight)
            if not bool(xp.any(xp.isnan(moments.mean))):
                return moments
        total = first = self.vector(np.zeros(self.shape[1]))
        for _, X, w in self._weighted(weight, without):
            total, first = total + xp.sum(w, axis=0), first + xp.sum(w * X, axis=0)
        mean = first / xp.where(total > 0, total, xp.ones_like(total))
        error = scatter = largest = xp.zeros_like(mean)
        for _, X, w in self._weighted(weight, without):
            d = w * (X - mean)
            error = error + xp.sum(d, axis=0)
            d = d * (X - mean)
            scatter = scatter + xp.sum(d, axis=0)
            largest = xp.maximum(largest, xp.max(_alone(d, w, total), axis=0))
        error = error / xp.where(total > 0, total, xp.ones_like(total))
        scatter = xp.maximum(scatter - total * error**2, xp.zeros_like(mean))
        return Moments(total, mean + error, scatter, largest)

    def _moments_of_all(self, weight: Array) -> Moments:
        """Moments of columns without gaps; NaN in others."""
        xp = array_namespace(self.place)
        total = xp.sum(weight)
        divisor = xp.where(total > 0, total, xp.ones_like(total))
        zeros = self.vector(np.zeros(self.shape[1]))
        first = sum((weight[rows] @ X for rows, X in self._blocks()), zeros)
        if bool(xp.any(xp.isnan(first))):
            return Moments(first, first, first, first)
        mean = first / divisor
        alone = _alone(weight, weight, total)[:, None]
        error = scatter = largest = zeros
        for rows, X in self._blocks():
            d = X - mean
            error = error + weight[rows] @ d
            d = d**2
            scatter = scatter + weight[rows] @ d
            largest = xp.maximum(largest, xp.max(alone[rows, :] * d, axis=0))
        error = error / divisor
        scatter = xp.maximum(scatter - total * error**2, zeros)
        return Moments(total + zeros, mean + error, scatter, largest)

    def worst_rows(self, weight: Array, moments: Moments) -> np.ndarray:
        xp = array_namespace(self.place)
        top, worst = np.full(self.shape[1], -np.inf), np.zeros(self.shape[1], dtype=int)
        for rows, X, w in self._weighted(weight, None):
            part = _alone(w * (X - moments.mean) ** 2, w, moments.weight)
            height = to_numpy(xp.max(part, axis=0))
            at = to_numpy(xp.argmax(part, axis=0))
            worst = np.where(height > top, rows.start + at, worst)
            top = np.maximum(height, top)
        return worst

    def greatest(
        self, of: Callable[[Any], Any], leaving: np.ndarray | None = None
    ) -> Greatest:
        xp = array_namespace(self.place)
        kept = np.ones(self.shape[0])
        if leaving is not None:
            kept[leaving] = 0.0
        kept = self.vector(kept)
        lowest = self.vector(np.full(self.shape[1], -np.inf))
        first = second = lowest
        count = xp.zeros_like(lowest)
        for rows, X in self._blocks():
            X = of(X)
            asked = ~xp.isnan(X) & (kept[rows][:, None] > 0)
            X = xp.where(asked, X, xp.full_like(X, -np.inf))
            top = xp.max(X, axis=0)
            is_top = X == top
            n_top = xp.sum(xp.astype(is_top & asked, X.dtype), axis=0)
            below = xp.max(xp.where(is_top, xp.full_like(X, -np.inf), X), axis=0)
            second = xp.maximum(xp.maximum(second, below), xp.minimum(top, first))
            count = xp.where(
                top == first, count + n_top, xp.where(top > first, n_top, count)
            )
            first = xp.maximum(first, top)
        return Greatest(first, count, second)

    def nonzeros(self) -> Any:
        xp = array_namespace(self.place)
        counts = self.vector(np.zeros(self.shape[1]))
        for _, X in self._blocks():
            counts = counts + xp.sum(xp.astype(X != 0, counts.dtype), axis=0)
        return counts


def _alone(parts: Any, w: Any, total: Any) -> Any:
    """What leaves the scatter with each entry, from ``w (x - mean)^2``."""
    xp, rest = array_namespace(parts), total - w
    return parts * total / xp.where(rest > 0, rest, xp.ones_like(rest))


@final
@dataclass(frozen=True, eq=False)
class SparseColumns(AbstractColumns):
    """Many columns of a sparse source: sums over the entries that it stores."""

    rows: DenseColumns  # the same, by rows
    data: np.ndarray  # (nnz,) by columns, with their rows
    indices: np.ndarray
    indptr: np.ndarray  # (q + 1,)

    @property
    def place(self) -> Array:
        return self.rows.place

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape

    def block(self, rows: Rows) -> Any:
        return self.rows.block(rows)

    def some(self, which: np.ndarray) -> AbstractColumns:
        return self.rows.some(which)

    def _stored(self) -> tuple[np.ndarray, np.ndarray]:
        """Stored entries in the units of the step, and their columns."""
        at = np.repeat(np.arange(self.shape[1]), np.diff(self.indptr))
        factor = self.rows.factor
        return (self.data if factor is None else self.data / factor[at]), at

    def moments(self, weight: Array, without: np.ndarray | None = None) -> Moments:
        (x, at), weight, q = self._stored(), to_numpy(weight), self.shape[1]
        missing = np.isnan(x)
        total = weight.sum() - np.bincount(at, weight[self.indices] * missing, q)
        w, x = np.where(missing, 0.0, weight[self.indices]), np.where(missing, 0.0, x)
        if without is not None:
            own = self.indices == without[at]
            total = total - weight[without] + np.bincount(at, own * missing, q)
            w = np.where(own, 0.0, w)
        divisor = np.where(total > 0, total, 1.0)
        mean = np.bincount(at, w * x, q) / divisor
        of_zeros = total - np.bincount(at, w, q)
        parts = w * (x - mean[at]) ** 2
        scatter = np.bincount(at, parts, q) + np.maximum(of_zeros, 0.0) * mean**2
        largest = np.zeros(q)
        np.maximum.at(largest, at, _alone(parts, w, total[at]))
        return Moments(total, mean, scatter, largest)

    def worst_rows(self, weight: Array, moments: Moments) -> np.ndarray:
        """Among stored entries."""
        x, at = self._stored()
        w = np.where(np.isnan(x), 0.0, to_numpy(weight)[self.indices])
        parts = _alone(w * (x - moments.mean[at]) ** 2, w, moments.weight[at])
        is_worst = parts == moments.largest[at]
        worst = np.full(self.shape[1], -1)
        worst[at[is_worst]] = self.indices[is_worst]
        return worst

    def greatest(
        self, of: Callable[[Any], Any], leaving: np.ndarray | None = None
    ) -> Greatest:
        (n, q), (x, at) = self.shape, self._stored()
        x, kept = of(x), ~np.isnan(x)
        n_stored = np.bincount(at, minlength=q)
        if leaving is not None:
            leaves = np.isin(self.indices, leaving)
            kept &= ~leaves
            n_stored = np.bincount(at[~leaves], minlength=q)
            n -= len(leaving)
        x, at, n_zeros = x[kept], at[kept], n - n_stored
        first = np.where(n_zeros > 0, 0.0, -np.inf)
        np.maximum.at(first, at, x)
        is_first = x == first[at]
        count = np.bincount(at, is_first, q) + n_zeros * (first == 0)
        second = np.where((n_zeros > 0) & (first > 0), 0.0, -np.inf)
        np.maximum.at(second, at[~is_first], x[~is_first])
        return Greatest(first, count, second)

    def nonzeros(self) -> Any:
        x, at = self._stored()
        return np.bincount(at, x != 0, self.shape[1]).astype(float)
