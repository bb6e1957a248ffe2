"""MinMaxScaler and MaxAbsScaler: the extreme entries of columns without rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler

from skinfluence._array import Array, array_namespace, masked, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._assembled import in_rows
from skinfluence.preprocessing._base import AbstractState, Rule, StepColumns
from skinfluence.preprocessing._columns import AbstractColumns, Greatest
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._registry import register_transformer

# scikit-learn takes a smaller range for that of a constant column, and 1 in its place.
LEAST_RANGE = 10 * float(np.finfo(np.float64).eps)


@final
@dataclass(frozen=True, eq=False)
class Extreme:
    """The greatest of a function of the entries of columns, and what comes after it."""

    columns: AbstractColumns
    of: Callable[[Any], Any]
    greatest: Greatest

    @classmethod
    def of_rows(cls, columns: AbstractColumns, of: Callable[[Any], Any]) -> "Extreme":
        """That of all rows."""
        return cls(columns, of, columns.greatest(of))

    def is_met(self, X: Array) -> Any:
        """Whether a row has the greatest in any column, (b,)."""
        return array_namespace(X).any(self.of(X) >= self.greatest.first, axis=1)

    def without(self, X: Array) -> Any:
        """The greatest without each row alone, (b, q); -inf where nothing is left."""
        first, count, second = self.greatest
        xp = array_namespace(X)
        is_only = (self.of(X) == first) & (count == 1)
        return xp.where(is_only, second + 0.0 * first, first)

    def without_group(self, X: Array, rows: Array) -> Any:
        """The greatest without all of the rows, (1, q)."""
        first, count, _ = self.greatest
        xp = array_namespace(X)
        leaving = xp.sum(xp.astype(self.of(X) == first, first.dtype), axis=0)
        gone = np.flatnonzero(to_numpy(leaving == count))
        values = np.array(to_numpy(first))
        if len(gone):
            rest = self.columns.some(gone).greatest(self.of, to_numpy(rows))
            values[gone] = to_numpy(rest.first)
        return self.columns.vector(values)[None, :]


@final
@dataclass(frozen=True, eq=False)
class MinMaxState(AbstractState):
    """Least and greatest entry of ``y = a + (x - least) (b - a) / range``."""

    least: Extreme  # of -y
    greatest: Extreme
    scale: Any  # (q,) of y per unit of x
    feature_range: tuple[float, float]  # (a, b)

    @classmethod
    def of(cls, scaler: MinMaxScaler, step: StepColumns, weight: Any) -> AbstractState:
        """The state of a fitted scaler, whose columns have to be those it was fitted to."""
        least = Extreme.of_rows(step.columns, _negated)
        greatest = Extreme.of_rows(step.columns, _itself)
        scale, low = step.fitted(scaler.scale_), float(scaler.feature_range[0])
        span = scaler.feature_range[1] - low
        refuse_other_rows(-least.greatest.first, low + 0.0 * scale, span + 0.0 * scale)
        wanted = low + step.fitted(scaler.data_range_) * scale
        refuse_other_rows(greatest.greatest.first, wanted, span + 0.0 * scale)
        return cls(least, greatest, scale, scaler.feature_range)

    def without(self, X: Array, rows: Array) -> Affine:
        met = self.least.is_met(X) | self.greatest.is_met(X)
        few = masked(X, met)
        return in_rows(
            self._affine(-self.least.greatest.first, self.greatest.greatest.first),
            self._affine(-self.least.without(few), self.greatest.without(few)),
            met,
        )

    def without_group(self, X: Array, rows: Array) -> Affine:
        least = -self.least.without_group(X, rows)
        return self._affine(least, self.greatest.without_group(X, rows))

    def _affine(self, least: Any, greatest: Any) -> Affine:
        xp, (a, b) = array_namespace(least), self.feature_range
        left = least <= greatest  # else inf and -inf: of no rows
        least = xp.where(left, least, xp.zeros_like(least))
        span = xp.where(left, greatest - least, xp.full_like(least, np.nan))
        constant = span / self.scale < LEAST_RANGE
        ratio = xp.where(constant, self.scale + 0.0 * span, span) / (b - a)
        return Affine(ratio, least - a * ratio)


@final
@dataclass(frozen=True, eq=False)
class MaxAbsState(AbstractState):
    """Greatest magnitude of ``y = x / max |x|``."""

    size: Extreme
    scale: Any  # (q,) of x per unit of y

    @classmethod
    def of(cls, scaler: MaxAbsScaler, step: StepColumns, weight: Any) -> AbstractState:
        """The state of a fitted scaler, whose columns have to be those it was fitted to."""
        size, scale = Extreme.of_rows(step.columns, abs), step.fitted(scaler.scale_)
        wanted = step.fitted(scaler.max_abs_) / scale
        refuse_other_rows(size.greatest.first, wanted)
        return cls(size, scale)

    def without(self, X: Array, rows: Array) -> Affine:
        met = self.size.is_met(X)
        few = self._affine(self.size.without(masked(X, met)))
        return in_rows(self._affine(self.size.greatest.first), few, met)

    def without_group(self, X: Array, rows: Array) -> Affine:
        return self._affine(self.size.without_group(X, rows))

    def _affine(self, size: Any) -> Affine:
        xp = array_namespace(size)
        size = xp.where(size >= 0, size, xp.full_like(size, np.nan))  # -inf: of no rows
        constant = size * self.scale < LEAST_RANGE
        ratio = xp.where(constant, 1 / self.scale + 0.0 * size, size)
        return Affine(ratio, 0.0 * ratio)


def _itself(x: Any) -> Any:
    return x


def _negated(x: Any) -> Any:
    return -x


_CLIPS = "clip=True bends the columns of a row that leaves, where it lies outside"


def _rule_of_min_max(scaler: MinMaxScaler) -> Rule | str:
    if scaler.clip:
        return _CLIPS
    return Rule(
        MinMaxState.of,
        shifts=True,
        scales=True,
        absorbs_shifts=True,
        absorbs_scales=True,
        ignores_fills=True,  # what is filled in lies between
    )


def _rule_of_max_abs(scaler: MaxAbsScaler) -> Rule | str:
    if getattr(scaler, "clip", False):
        return _CLIPS
    return Rule(MaxAbsState.of, scales=True, absorbs_scales=True, ignores_fills=True)


register_transformer(MinMaxScaler, _rule_of_min_max)
register_transformer(MaxAbsScaler, _rule_of_max_abs)
