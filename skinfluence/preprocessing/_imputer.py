"""SimpleImputer: what it fills in without rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from sklearn.impute import SimpleImputer

from skinfluence._array import Array, array_namespace, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._base import (
    AbstractFillState,
    AbstractState,
    Deciding,
    NotFollowed,
    Rule,
    StepColumns,
)
from skinfluence.preprocessing._columns import Moments
from skinfluence.preprocessing._gaps import gaps_in
from skinfluence.preprocessing._quantiles import Quantile, quantiles
from skinfluence.preprocessing._registry import register_transformer


@final
@dataclass(frozen=True, eq=False)
class MeanFill(AbstractFillState):
    """The mean of the observed entries: without x it moves by ``-(x - mean) / (n - 1)``."""

    moments: Moments

    @classmethod
    def of(cls, step: StepColumns) -> AbstractFillState:
        """The state of columns whose gaps are NaN."""
        columns = step.columns
        return cls(columns.moments(columns.vector(np.ones(columns.shape[0]))))

    @property
    def value(self) -> Any:
        return self.moments.mean

    def without(self, X: Array, rows: Array) -> Any:
        return -self._distances(X) / (self.moments.weight - 1)

    def without_group(self, X: Array, rows: Array) -> Any:
        xp = array_namespace(X)
        n = xp.sum(xp.astype(~xp.isnan(X), X.dtype), axis=0, keepdims=True)
        left = self.moments.weight - n
        left = xp.where(left > 0, left, xp.nan * left)  # nothing to fill with
        return -xp.sum(self._distances(X), axis=0, keepdims=True) / left

    def derivative(self, X: Array, rows: Array) -> Any:
        return -self._distances(X) / self.moments.weight

    def _distances(self, X: Array) -> Any:
        xp = array_namespace(X)
        return xp.where(xp.isnan(X), xp.zeros_like(X), X - self.moments.mean)


@final
@dataclass(frozen=True, eq=False)
class MedianFill(AbstractFillState):
    """The median of the observed entries; it does not move with a weight."""

    step: StepColumns
    median: Quantile

    @classmethod
    def of(cls, step: StepColumns) -> AbstractFillState:
        """The state of columns whose gaps are NaN."""
        (median,) = quantiles(step.columns, (0.5,))
        return cls(step, median)

    @property
    def value(self) -> Any:
        return self.median.whole

    def without(self, X: Array, rows: Array) -> Any:
        xp = array_namespace(X)
        moved = self.median.without(X) - self.median.whole
        return xp.where(xp.isnan(X), xp.zeros_like(X), moved)

    def without_group(self, X: Array, rows: Array) -> Any:
        (median,) = quantiles(self.step.columns, (0.5,), to_numpy(rows))
        return (median.whole - self.median.whole)[None, :]


@final
@dataclass(frozen=True, eq=False)
class ModeState(AbstractState):
    """The most frequent entries, the least of several: few rows decide them, or a group.

    Without others they stay, and so do all columns.
    """

    codes: (
        np.ndarray
    )  # (n, q) places of entries among those of their column; -1 for gaps
    counts: list[np.ndarray]  # of each column, by places

    @classmethod
    def of(cls, imputer: SimpleImputer, step: StepColumns, weight: Any) -> "ModeState":
        """By the rows that the step was given, of any type."""
        if step.given is None:
            raise NotFollowed("the rows that it was fitted to are not at hand")
        X = step.given.rows
        table, gaps = np.asarray(X, dtype=object), gaps_in(imputer, X)
        codes, counts = np.full(gaps.shape, -1), []
        for j in range(table.shape[1]):
            try:
                values = np.unique(table[~gaps[:, j], j], return_inverse=True)
            except TypeError as error:
                raise NotFollowed("it fills in entries that have no order") from error
            codes[~gaps[:, j], j] = values[1]
            counts.append(np.bincount(values[1], minlength=len(values[0])))
        return cls(codes, counts)

    def without(self, X: Array, rows: Array) -> Affine:
        xp = array_namespace(X)
        return Affine(xp.ones_like(X), xp.zeros_like(X))

    def without_group(self, X: Array, rows: Array) -> Affine:
        xp, leaving = array_namespace(X), self.codes[to_numpy(rows)]
        ones = xp.ones_like(X[:1, :])
        if any(map(self._changes, range(len(self.counts)), leaving.T)):
            ones = xp.nan * ones
        return Affine(ones, ones - 1)

    def decides(self) -> Deciding:
        rows = np.zeros(len(self.codes), dtype=bool)
        for j, counts in enumerate(self.counts):
            mode = np.argmax(counts) if len(counts) else -1
            if self._changes(j, np.array([mode])):
                rows |= self.codes[:, j] == mode
        return Deciding(rows, "another entry is the most frequent when a row leaves")

    def _changes(self, j: int, leaving: np.ndarray) -> bool:
        """Whether column j has another mode without entries of these places."""
        counts = self.counts[j]
        if not len(counts):
            return False
        left = counts - np.bincount(leaving[leaving >= 0], minlength=len(counts))
        return not left.any() or bool(np.argmax(left) != np.argmax(counts))


_STATES: dict[str, Callable[[StepColumns], AbstractFillState]] = {
    "mean": MeanFill.of,
    "median": MedianFill.of,
}


def fill_state(imputer: SimpleImputer, step: StepColumns) -> AbstractFillState:
    """The state of columns that an imputer fills, their gaps NaN."""
    return _STATES[imputer.strategy](step)


def _rule(imputer: SimpleImputer) -> Rule | str:
    if imputer.strategy == "constant":
        return Rule()
    if imputer.strategy == "most_frequent":
        return Rule(ModeState.of, fills=True, decides=True)
    if imputer.strategy not in _STATES:
        return (
            "its strategy is a function, and how that moves without a row is not known"
        )
    return Rule(fills=True)


register_transformer(SimpleImputer, _rule)
