"""RobustScaler: quantiles without rows, from the order statistics beside each."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
from scipy.stats import norm
from sklearn.preprocessing import RobustScaler

from skinfluence._array import Array, array_namespace, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._base import AbstractState, Rule, StepColumns
from skinfluence.preprocessing._columns import AbstractColumns
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._ranges import LEAST_RANGE
from skinfluence.preprocessing._registry import register_transformer

# Entries that are kept for groups: 32 MiB, and a group of a few rows needs as few.
_WINDOW_ENTRIES = 2**22


@final
@dataclass(frozen=True, eq=False)
class Quantile:
    """A quantile of columns, interpolated: of all rows, and without one.

    Without a row it lies between the order statistics k and k + 1 of the others, counted
    from 0, for ``k = floor(q (n - 2))``: two of k, k + 1 and k + 2 of all n rows, by the
    rank of the row that leaves.
    """

    whole: Any  # (q,)
    near: Any  # (2, q) order statistics k and k + 1
    without_one: Any  # (3, q) without a row below them, between them, or above

    def without(self, X: Array) -> Any:
        """The quantile without each row alone, (b, q)."""
        xp, of = array_namespace(X), self.without_one
        value = xp.where(X > self.near[0, :], of[1, :], of[0, :])
        return xp.where(X > self.near[1, :], of[2, :], value)


class Window(NamedTuple):
    """Order statistics about a quantile: enough of them for small groups to leave.

    Of n observed entries without g of them, the order statistic k is one of the order
    statistics k to k + g of all: the first that is not less than k + 1 of those left.
    """

    share: np.ndarray  # (q,) of the quantile
    first: np.ndarray  # (q,) rank of the first, from 0
    entries: np.ndarray  # (m, q) ascending
    upto: np.ndarray  # (m, q) how many of all entries are no greater
    n_observed: np.ndarray  # (q,) n

    def without_group(self, X: np.ndarray) -> np.ndarray:
        """The quantile without the rows X (b, q), NaN where none is left, (q,)."""
        values = np.full(len(self.n_observed), np.nan)
        for j, n in enumerate(self.n_observed):
            leaving = np.sort(X[~np.isnan(X[:, j]), j])
            n_left = n - len(leaving)
            if n_left > 0:
                at = self.share[j] * (n_left - 1)
                low = self._entry(j, int(at), leaving)
                high = self._entry(j, min(int(at) + 1, n_left - 1), leaving)
                values[j] = low + (at - int(at)) * (high - low)
        return values

    def _entry(self, j: int, k: int, leaving: np.ndarray) -> float:
        """Order statistic k of column j without some sorted entries."""
        start = max(k - self.first[j], 0)
        near = slice(start, start + len(leaving) + 1)
        entries = self.entries[near, j]
        left = self.upto[near, j] - np.searchsorted(leaving, entries, side="right")
        return entries[np.argmax(left > k)]


@final
@dataclass(frozen=True, eq=False)
class RobustState(AbstractState):
    """Median and range of quantiles, in units of the fitted scaler."""

    scaler: RobustScaler
    columns: AbstractColumns
    scale: Any  # (q,) of x per unit of y
    quantiles: tuple[Quantile, ...]  # median, low, high

    @classmethod
    def of(cls, scaler: RobustScaler, step: StepColumns, weight: Any) -> AbstractState:
        """The state of a fitted scaler, whose columns have to be those it was fitted to."""
        columns = step.columns
        ones = columns.vector(np.ones(columns.shape[1]))
        scale = step.fitted(scaler.scale_) if scaler.with_scaling else ones
        state = cls(scaler, columns, scale, quantiles(columns, _shares(scaler)))
        fitted = state._affine(*(each.whole for each in state.quantiles))
        refuse_other_rows(fitted.ratio, ones)
        refuse_other_rows(fitted.shift, 0.0 * ones, ones)
        return state

    def without(self, X: Array, rows: Array) -> Affine:
        xp = array_namespace(X)
        answer = self._affine(*(each.without(X) for each in self.quantiles))
        missing = xp.isnan(X)
        if not bool(xp.any(missing)):
            return answer
        whole = self._affine(*(each.whole for each in self.quantiles))
        return Affine(
            *(xp.where(missing, w, a) for w, a in zip(whole, answer, strict=True))
        )

    def without_group(self, X: Array, rows: Array) -> Affine:
        """From order statistics about the quantiles; of many rows, sorted anew."""
        if X.shape[0] <= self._most_leaving:
            host = to_numpy(X)
            values = [window.without_group(host) for window in self._windows]
            return self._affine(
                *(self.columns.vector(each)[None, :] for each in values)
            )
        rest = quantiles(self.columns, _shares(self.scaler), to_numpy(rows))
        return self._affine(*(each.whole[None, :] for each in rest))

    @property
    def _most_leaving(self) -> int:
        """Rows of a group that windows hold enough order statistics for."""
        n, q = self.columns.shape
        return min(_WINDOW_ENTRIES // (6 * max(q, 1)), n)

    @cached_property
    def _windows(self) -> list[Window]:
        """About each quantile, made when a group is asked for."""
        pieces = []
        for piece in self.columns.pieces():
            ordered, count = map(to_numpy, _sorted(self.columns.some(piece), None))
            pieces.append(
                [
                    _window(ordered, count, share, self._most_leaving)
                    for share in _shares(self.scaler)
                ]
            )
        return [
            Window(
                *(np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
            )
            for parts in zip(*pieces, strict=True)
        ]

    def _affine(self, median: Any, low: Any, high: Any) -> Affine:
        xp, span = array_namespace(median), high - low
        constant = span * self.scale < LEAST_RANGE
        ratio = xp.where(constant, 1 / self.scale + 0.0 * span, span) / _adjust(
            self.scaler
        )
        if not self.scaler.with_scaling:
            ratio = xp.where(xp.isnan(median), median, xp.ones_like(median))
        return Affine(ratio, median if self.scaler.with_centering else 0.0 * median)


def _shares(scaler: RobustScaler) -> tuple[float, float, float]:
    """The quantiles that are asked: median, low and high."""
    low, high = scaler.quantile_range
    return 0.5, low / 100.0, high / 100.0


def _adjust(scaler: RobustScaler) -> float:
    """What the range is divided by: that of a standard normal variable, or 1."""
    _, low, high = _shares(scaler)
    return float(norm.ppf(high) - norm.ppf(low)) if scaler.unit_variance else 1.0


def quantiles(
    columns: AbstractColumns,
    shares: tuple[float, ...],
    leaving: np.ndarray | None = None,
) -> tuple[Quantile, ...]:
    """Quantiles of all rows but those that are ``leaving``."""
    xp = array_namespace(columns.place)
    pieces = []
    for piece in columns.pieces():
        ordered, count = _sorted(columns.some(piece), leaving)
        pieces.append([_quantile(ordered, count, share) for share in shares])
    return tuple(
        Quantile(
            xp.concat([each.whole for each in parts]),
            xp.concat([each.near for each in parts], axis=1),
            xp.concat([each.without_one for each in parts], axis=1),
        )
        for parts in zip(*pieces, strict=True)
    )


def _sorted(columns: AbstractColumns, leaving: np.ndarray | None) -> tuple[Any, Any]:
    """Observed entries by size, (n, q), behind them infinity; and how many, (q,)."""
    xp, X = array_namespace(columns.place), columns.block(slice(None))
    asked = ~xp.isnan(X)
    if leaving is not None:
        kept = np.ones((columns.shape[0], 1))
        kept[leaving] = 0.0
        asked = asked & (columns.vector(kept) > 0)
    ordered = xp.sort(xp.where(asked, X, xp.full_like(X, np.inf)), axis=0)
    return ordered, xp.sum(xp.astype(asked, xp.int64), axis=0)


def _quantile(ordered: Any, count: Any, share: float) -> Quantile:
    xp = array_namespace(ordered)

    def entry(k: Any) -> Any:
        last = xp.where(count > 0, count - 1, xp.zeros_like(count))
        k = xp.where(k < last, k, last)
        return xp.take_along_axis(ordered, k[None, :], axis=0)[0, :]

    def place(n: Any) -> tuple[Any, Any]:
        at = share * xp.astype(xp.where(n > 0, n - 1, xp.zeros_like(n)), ordered.dtype)
        k = xp.astype(xp.floor(at), xp.int64)
        return k, at - xp.astype(k, ordered.dtype)

    k, part = place(count)
    low, high = entry(k), entry(k + 1)
    nan = xp.full_like(low, np.nan)
    some = count > 0
    low, high = xp.where(some, low, nan), xp.where(some, high, nan)
    whole = low + part * (high - low)
    k, part = place(count - 1)
    k0, k1, k2 = (xp.where(count > 1, entry(k + j), nan) for j in range(3))
    pairs = (k1, k2), (k0, k2), (k0, k1)
    without_one = xp.stack([low + part * (high - low) for low, high in pairs])
    return Quantile(whole, xp.stack([k0, k1]), without_one)


def _window(ordered: np.ndarray, count: np.ndarray, share: float, most: int) -> Window:
    """Order statistics that a quantile may be, without ``most`` rows or fewer."""
    first = np.maximum(np.floor(share * (count - most - 1)), 0).astype(int)
    ranks = np.minimum(first + np.arange(most + 4)[:, None], np.maximum(count - 1, 0))
    entries = np.take_along_axis(ordered, ranks, axis=0)
    upto = [
        np.searchsorted(column, near, side="right")
        for column, near in zip(ordered.T, entries.T, strict=True)
    ]
    shares = np.full(len(count), share)
    return Window(shares, first, entries, np.stack(upto, axis=1), count)


def _rule(scaler: RobustScaler) -> Rule | str:
    return Rule(
        RobustState.of,
        shifts=scaler.with_centering,
        scales=scaler.with_scaling,
        absorbs_shifts=scaler.with_centering,
        absorbs_scales=scaler.with_scaling,
    )


register_transformer(RobustScaler, _rule)
