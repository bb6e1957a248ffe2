"""Steps whose columns stay as they are, unless the few rows leave that decide it."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, final

import numpy as np

from skinfluence._array import Array, array_namespace, moved, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._base import AbstractState, Deciding
from skinfluence.preprocessing._columns import AbstractColumns


@final
@dataclass(frozen=True, eq=False)
class GuardedState(AbstractState):
    """Columns that change only where rows leave that decide them; NaN for such a group.

    ``changed`` tells for the entries (b, q) of a group, and for its rows, which columns
    are others without it, (q,) bool on the host. ``without`` gives a row that decides
    alone what it gives to others: who asks has to know those rows.
    """

    changed: Callable[[Any, Any], np.ndarray]
    deciding: Deciding
    inner: AbstractState | None = None  # how they are scaled; None: they are not

    def without(self, X: Array, rows: Array) -> Affine:
        if self.inner is not None:
            return self.inner.without(X, rows)
        xp = array_namespace(X)
        return Affine(xp.ones_like(X), xp.zeros_like(X))

    def without_group(self, X: Array, rows: Array) -> Affine:
        xp = array_namespace(X)
        if self.inner is None:
            kept = Affine(xp.ones_like(X[:1, :]), xp.zeros_like(X[:1, :]))
        else:
            kept = self.inner.without_group(X, rows)
        changed = moved(self.changed(X, rows), kept.ratio)[None, :]
        nan = xp.full_like(kept.ratio, np.nan)
        return Affine(*(xp.where(changed, nan, value) for value in kept))

    def derivative(self, X: Array, rows: Array) -> Affine:
        if self.inner is not None:
            return self.inner.derivative(X, rows)
        return super().derivative(X, rows)

    def decides(self) -> Deciding:
        return self.deciding


def rows_with(columns: AbstractColumns, which: np.ndarray) -> np.ndarray:
    """Rows that are not zero in one of some columns, (n,) bool, on the host."""
    rows = np.zeros(columns.shape[0], dtype=bool)
    if len(which):
        some = columns.some(which)
        for piece in some.pieces():
            rows |= np.any(to_numpy(some.some(piece).block(slice(None))) != 0, axis=1)
    return rows


def falls(
    counts: np.ndarray, leaving: Any, minimum: float, n_rows: int, n_leaving: int
) -> np.ndarray:
    """Where what is kept for being in ``minimum`` rows is too rare without some, (q,).

    ``counts`` rows have it, ``leaving`` of them go. A float is a share of all rows. What
    vanishes is left out: its column of zeros stands for that.
    """
    rest = counts - leaving
    return (rest > 0) & (rest < _least(minimum, n_rows - n_leaving))


def may_rise(minimum: float, n_rows: int, n_leaving: int) -> bool:
    """Whether what was too rare could be frequent enough without some rows."""
    before = _least(minimum, n_rows)
    return bool(np.ceil(_least(minimum, n_rows - n_leaving)) < before)


def _least(minimum: float, n_rows: int) -> float:
    return minimum if isinstance(minimum, Integral) else minimum * n_rows
