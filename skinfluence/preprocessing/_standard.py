"""StandardScaler: mean and variance without rows."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
from sklearn.preprocessing import StandardScaler

from skinfluence._array import (
    Array,
    array_namespace,
    like,
    masked,
    take_rows,
    to_numpy,
)
from skinfluence._following import Affine
from skinfluence.preprocessing._assembled import in_columns, in_rows
from skinfluence.preprocessing._base import AbstractState, Rule, StepColumns
from skinfluence.preprocessing._columns import AbstractColumns, Moments
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._registry import register_transformer

# Shares of a sum of squares, and of the weights, that are left when rows are subtracted.
# Together they may cost five digits; below, the other rows are added up anew.
_LEAST_LEFT, _LEAST_WEIGHT = 1e-3, 1e-2
_EPS = float(np.finfo(np.float64).eps)


class _Left(NamedTuple):
    """Of the observed rows that stay: total weight, mean, sum of squares about it."""

    weight: Any  # (b, q)
    mean: Any
    scatter: Any


@final
@dataclass(frozen=True, eq=False)
class StandardState(AbstractState):
    """Mean m and deviation s, in units of the fitted scaler: ``z = (x - m) / s``.

    Without a row of weight w and distance d from the mean of z, of W in all, the mean
    moves by ``-w d / (W - w)`` and the sum of squares by ``-w d^2 W / (W - w)``.
    """

    scaler: StandardScaler
    columns: AbstractColumns
    weight: Any  # (n,)
    offset: Any  # (q,) mean of x where z = 0
    scale: Any  # (q,) of x per unit of z
    moments: Moments  # of z
    worst: Any  # (q,) row that makes nearly all of a column's scatter, else -1
    spared: Moments  # moments without that row
    total: float  # of all weights
    # Columns that are not observed in every row, or close to constant.
    special: "tuple[np.ndarray, StandardState] | None" = None

    @classmethod
    def of(
        cls, scaler: StandardScaler, step: StepColumns, weight: Any
    ) -> AbstractState:
        """The state of a fitted scaler, whose columns have to be those it was fitted to."""
        columns, q = step.columns, step.columns.shape[1]
        weight = columns.vector(np.ones(columns.shape[0]) if weight is None else weight)
        offset, scale = columns.vector(np.zeros(q)), columns.vector(np.ones(q))
        if scaler.with_mean:
            offset = step.fitted(scaler.mean_)
        if scaler.with_std:
            scale = step.fitted(scaler.scale_)
        moments = columns.moments(weight)
        _refuse_other_moments(scaler, step, moments, offset, scale)
        worst, spared = _without_worst(columns, weight, moments)
        state = cls(
            scaler, columns, weight, offset, scale, moments, worst, spared,
            float(array_namespace(weight).sum(weight)),
        )  # fmt: skip
        which = np.flatnonzero(~to_numpy(state._is_ordinary()))
        if not len(which):
            return state
        return replace(state, special=(which, state._take(which)))

    def without(self, X: Array, rows: Array) -> Affine:
        xp, (_, mean, scatter, _) = array_namespace(X), self.moments
        w = self._own_weights(rows)
        rest = self.total - w
        heavy = rest[:, 0] < _LEAST_WEIGHT * self.total
        rest = xp.where(rest > 0, rest, xp.ones_like(rest))
        d = X - mean
        left = scatter - w * self.total / rest * d**2
        far = heavy | ~xp.all(left >= _LEAST_LEFT * scatter, axis=1)  # no gaps are
        answer = Affine(
            self._ratio(xp.sqrt(xp.maximum(left, xp.zeros_like(rest)) / rest)),
            self._shift(mean - w / rest * d),
        )
        if bool(xp.any(far)):
            few = self._careful(masked(X, far), masked(rows, far))
            answer = in_rows(answer, few, far)
        if self.special is None:
            return answer
        which, state = self.special
        few = state._careful(xp.take(X, like(which, X, xp.int64), axis=1), rows)
        return in_columns(answer, few, which)

    def changes(self, X: Array, rows: Array) -> Any:
        """In place, where no row is far out: they are many."""
        xp, (_, mean, scatter, _) = array_namespace(X), self.moments
        w = self._own_weights(rows)
        rest = self.total - w
        if self.special is None and bool(xp.all(rest >= _LEAST_WEIGHT * self.total)):
            left = X - mean
            left *= left
            left *= -w * self.total / rest**2
            left += scatter / rest - 1
            least = _LEAST_LEFT * scatter / rest - 1
            if self.scaler.with_std and bool(xp.min(left) >= xp.max(least)):
                return left
        return super().changes(X, rows)

    def without_group(self, X: Array, rows: Array) -> Affine:
        xp, (W, mean, scatter, _) = array_namespace(X), self.moments
        w = self._weights(X, rows)
        d = xp.where(w > 0, X - mean, xp.zeros_like(X))
        rest = W - xp.sum(w, axis=0, keepdims=True)
        first = xp.sum(w * d, axis=0, keepdims=True)
        second = xp.sum(w * d**2, axis=0, keepdims=True)
        divisor = xp.where(rest > 0, rest, xp.ones_like(rest))
        left = _Left(
            rest, mean - first / divisor, scatter - second - first**2 / divisor
        )
        far = self._is_little(left)
        if bool(xp.any(far)):
            left = self._anew(left, to_numpy(far), [to_numpy(rows)])
        return self._affine(left)

    def derivative(self, X: Array, rows: Array) -> Affine:
        """``dm = w (x - m) / W`` and ``ds^2 = w ((x - m)^2 - s^2) / W``, as w grows."""
        xp, (W, mean, scatter, _) = array_namespace(X), self.moments
        share, d = take_rows(self.weight, rows)[:, None], X - mean
        if self.special is not None:
            share = self._weights(X, rows)
            d = xp.where(share > 0, d, xp.zeros_like(X))
        variance = scatter / W
        moving = ~self._is_constant(_Left(W, mean, scatter)) & (variance > 0)
        root = xp.sqrt(xp.where(moving, variance, xp.ones_like(W)))
        per_ratio = xp.where(moving, 0.5 / (W * root), xp.zeros_like(W))
        zeros = xp.zeros_like(X)
        return Affine(
            share * (variance - d**2) * per_ratio if self.scaler.with_std else zeros,
            d * (-share / W) if self.scaler.with_mean else zeros,
        )

    def _own_weights(self, rows: Array) -> Any:
        """Weights of rows, (b, 1), or (1, 1) where all are alike."""
        weight = self.weight[:1] if self._alike else take_rows(self.weight, rows)
        return weight[:, None]

    @cached_property
    def _alike(self) -> bool:
        return bool(array_namespace(self.weight).all(self.weight == self.weight[:1]))

    def _is_ordinary(self) -> Any:
        """Whether no single row leaves a column (q,) near constant, but a wild one."""
        W, mean, scatter, _ = self.moments
        variance = scatter / W * self.scale**2
        mean = abs(mean) * self.scale + abs(self.offset)
        # w d^2 W / (W - w) <= scatter bounds how far the mean moves.
        mean = mean + (variance / _LEAST_WEIGHT) ** 0.5
        rounding = 2 * (W * _EPS * mean) ** 2
        return (W == self.total) & (_LEAST_LEFT * variance > rounding)

    def _take(self, which: np.ndarray) -> "StandardState":
        """The state of some of the columns."""
        xp = array_namespace(self.scale)
        index = like(which, self.scale, xp.int64)

        def some(values: Any) -> Any:
            return xp.take(values, index)

        return replace(
            self,
            columns=self.columns.some(which),
            offset=some(self.offset),
            scale=some(self.scale),
            moments=Moments(*(some(value) for value in self.moments)),
            worst=some(self.worst),
            spared=Moments(*(some(value) for value in self.spared)),
        )

    def _careful(self, X: Array, rows: Array) -> Affine:
        """What ``without`` gives, for gaps, columns near constant, and wild rows."""
        xp, (W, mean, scatter, _) = array_namespace(X), self.moments
        w = self._weights(X, rows)
        d = xp.where(w > 0, X - mean, xp.zeros_like(X))
        rest = W - w
        divisor = xp.where(rest > 0, rest, xp.ones_like(rest))
        left = _Left(rest, mean - w * d / divisor, scatter - w * d**2 * W / divisor)
        is_worst = rows[:, None] == self.worst
        left = _Left(
            *(
                xp.where(is_worst, anew, value)
                for value, anew in zip(left, self.spared, strict=False)
            )
        )
        far = (w > 0) & self._is_little(left) & ~is_worst
        if bool(xp.any(far)):
            each = [row[None] for row in to_numpy(rows)]
            left = self._anew(left, to_numpy(far), each)
        return self._affine(left)

    def _weights(self, X: Array, rows: Array) -> Any:
        """Weights of observed entries (b, q), zero elsewhere."""
        xp, zeros = array_namespace(X), 0.0 * self.scale
        w = take_rows(self.weight, rows)[:, None] + zeros
        return xp.where(xp.isnan(X), xp.zeros_like(X), w)

    def _is_little(self, left: _Left) -> Any:
        W, scatter = self.moments.weight, self.moments.scatter
        little = left.scatter < _LEAST_LEFT * scatter
        return little | (left.weight < _LEAST_WEIGHT * W)

    def _anew(self, left: _Left, far: np.ndarray, leaving: list[np.ndarray]) -> _Left:
        """Moments of the rows that stay, added up where nothing is left of a sum."""
        values = [np.array(to_numpy(value)) for value in left]
        for k in np.flatnonzero(far.any(axis=1)):
            which = np.flatnonzero(far[k])
            weight = np.array(to_numpy(self.weight))
            weight[leaving[k]] = 0.0
            rest = self.columns.some(which).moments(self.columns.vector(weight))
            for value, new in zip(values, rest, strict=False):
                value[k, which] = to_numpy(new)
        return _Left(*(self.columns.vector(value) for value in values))

    def _is_constant(self, left: _Left) -> Any:
        """Where scikit-learn cannot tell a column from a constant, and scales it by 1.

        Or where we cannot, as z has been rounded.
        """
        xp, W = array_namespace(self.scale), left.weight
        variance = left.scatter / xp.where(W > 0, W, xp.ones_like(W)) * self.scale**2
        mean = left.mean * self.scale + self.offset
        rounding = (4 * _EPS * left.mean * self.scale) ** 2
        return variance <= W * _EPS * variance + (W * mean * _EPS) ** 2 + rounding

    def _affine(self, left: _Left) -> Affine:
        xp, W = array_namespace(self.scale), left.weight
        nan = xp.full_like(W, np.nan)
        variance = left.scatter / xp.where(W > 0, W, xp.ones_like(W))
        root = xp.sqrt(xp.where(variance > 0, variance, xp.zeros_like(variance)))
        ratio = xp.where(self._is_constant(left), 1 / self.scale + 0.0 * W, root)
        ratio, shift = self._ratio(ratio), self._shift(left.mean)
        return Affine(xp.where(W > 0, ratio, nan), xp.where(W > 0, shift, nan))

    def _ratio(self, ratio: Any) -> Any:
        return (
            ratio if self.scaler.with_std else array_namespace(ratio).ones_like(ratio)
        )

    def _shift(self, shift: Any) -> Any:
        return (
            shift if self.scaler.with_mean else array_namespace(shift).zeros_like(shift)
        )


def _without_worst(
    columns: AbstractColumns, weight: Any, moments: Moments
) -> tuple[Any, Moments]:
    """The row that makes nearly all of a column's scatter, else -1; moments without it.

    Both (q,). There is one at most, unless few rows have weight: others are left to be
    added up when they are asked for.
    """
    xp, q = array_namespace(weight), columns.shape[1]
    largest, scatter = to_numpy(moments.largest), to_numpy(moments.scatter)
    wild = np.flatnonzero((scatter > 0) & (largest > (1 - _LEAST_LEFT) * scatter))
    worst, spared = np.full(q, -1), [np.zeros(q) for _ in moments]
    if len(wild):
        part = Moments(*(columns.vector(to_numpy(each)[wild]) for each in moments))
        worst[wild] = columns.some(wild).worst_rows(weight, part)
    known = np.flatnonzero(worst >= 0)
    if len(known):
        rest = columns.some(known).moments(weight, worst[known])
        for values, new in zip(spared, rest, strict=True):
            values[known] = to_numpy(new)
    vectors = Moments(*(columns.vector(values) for values in spared))
    return like(worst, weight, xp.int64), vectors


def _refuse_other_moments(
    scaler: StandardScaler, step: StepColumns, moments: Moments, offset: Any, scale: Any
) -> None:
    """Refuse columns with another mean or deviation than the scaler was fitted to."""
    n_seen = np.broadcast_to(np.asarray(scaler.n_samples_seen_), scaler.n_features_in_)
    refuse_other_rows(moments.weight, step.fitted(n_seen))
    if scaler.mean_ is not None:
        mean = step.fitted(scaler.mean_)
        size = abs(mean) + scale
        refuse_other_rows(moments.mean * scale + offset, mean, size)
    if scaler.var_ is not None:
        variance = step.fitted(scaler.var_)
        rounding = (_EPS * moments.weight * step.fitted(scaler.mean_)) ** 2
        refuse_other_rows(
            moments.scatter / moments.weight * scale**2,
            variance,
            variance + rounding * 1e4,
        )


def _rule(scaler: StandardScaler) -> Rule:
    return Rule(
        StandardState.of,
        shifts=scaler.with_mean,
        scales=scaler.with_std,
        absorbs_shifts=scaler.with_mean,
        absorbs_scales=scaler.with_std,
        takes_weights=True,
        averages_fills=scaler.with_mean and scaler.with_std,
    )


register_transformer(StandardScaler, _rule)
