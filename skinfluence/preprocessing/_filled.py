"""Gaps in the training rows that steps have filled in, and what is learned over them."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skinfluence._array import Array, array_namespace, like, take_rows
from skinfluence._following import AbstractFills, Affine
from skinfluence._sources import AbstractSource
from skinfluence.preprocessing._base import AbstractFillState, AbstractState
from skinfluence.preprocessing._columns import observed, own_columns, read_rows


@final
@dataclass(frozen=True, eq=False)
class FilledColumns:
    """Columns of a step that another one before it has filled."""

    state: AbstractFillState
    gaps: Any  # (n, q) bool, beside the training rows

    def observed(self, X: Array, rows: Array) -> Any:
        """Rows X (b, q) with NaN where they have gaps."""
        return observed(X, self.gaps, rows)


@final
@dataclass(frozen=True, eq=False)
class AveragedState(AbstractState):
    """Mean m and deviation s over all entries, the filled ones among them.

    ``inner`` knows both without rows, what is filled in staying as it is: v. Where that
    moves by e, in entries of weight G of W, the mean moves by ``G e / W`` and the mean
    square about the old mean by ``G (2 e (v - m) + e^2) / W``.
    """

    inner: AbstractState
    filled: FilledColumns
    weight: Any  # (n,) that the step was fitted with
    total: float
    of_gaps: Any  # (q,) G

    def without(self, X: Array, rows: Array) -> Affine:
        w = take_rows(self.weight, rows)[:, None]
        gaps = self.of_gaps - w * self._gaps(X, rows)
        moves = self.filled.state.without(self.filled.observed(X, rows), rows)
        return self._moved(self.inner.without(X, rows), gaps, self.total - w, moves)

    def without_group(self, X: Array, rows: Array) -> Affine:
        xp, w = array_namespace(X), take_rows(self.weight, rows)[:, None]
        gaps = self.of_gaps - xp.sum(w * self._gaps(X, rows), axis=0, keepdims=True)
        left = self.total - xp.sum(w, axis=0, keepdims=True)
        moves = self.filled.state.without_group(self.filled.observed(X, rows), rows)
        return self._moved(self.inner.without_group(X, rows), gaps, left, moves)

    def derivative(self, X: Array, rows: Array) -> Affine:
        ratio, shift = self.inner.derivative(X, rows)
        moves = self.filled.state.derivative(self.filled.observed(X, rows), rows)
        moves = self.of_gaps / self.total * moves
        return Affine(ratio + self.filled.state.value * moves, shift + moves)

    def _gaps(self, X: Array, rows: Array) -> Any:
        xp = array_namespace(X)
        return xp.astype(take_rows(self.filled.gaps, rows), X.dtype)

    def _moved(self, held: Affine, gaps: Any, left: Any, moves: Any) -> Affine:
        """With what is filled in moved, from what it is where that stays."""
        xp, share = array_namespace(moves), gaps / left
        variance = held.ratio**2 + share * (1 - share) * moves**2
        variance += 2 * share * moves * (self.filled.state.value - held.shift)
        # Where all that is left is equal, the unit is another, and nothing moves it.
        moving = (moves != 0) & (variance > 0)
        ratio = xp.sqrt(xp.where(moving, variance, held.ratio**2))
        return Affine(ratio, held.shift + share * moves)


@final
@dataclass(frozen=True, eq=False)
class FilledPart:
    """Columns that one step fills, and where they are."""

    filled: FilledColumns
    columns: np.ndarray  # (q,) in the output
    factor: np.ndarray | None  # (q,) what they were multiplied by since


@final
@dataclass(frozen=True, eq=False)
class Fills(AbstractFills):
    """Steps that fill columns of the output, each column by one of them."""

    source: AbstractSource
    parts: tuple[FilledPart, ...]

    @property
    def columns(self) -> np.ndarray:
        return np.concatenate([part.columns for part in self.parts])

    def without(self, rows: Array, which: np.ndarray) -> Any:
        return self._moves("without", rows, which)

    def without_group(self, rows: Array, which: np.ndarray) -> Any:
        return self._moves("without_group", rows, which)

    def derivative(self, rows: Array, which: np.ndarray) -> Any:
        return self._moves("derivative", rows, which)

    def _moves(self, of: str, rows: Array, which: np.ndarray) -> Any:
        """Moves of all steps side by side, in the units of the output."""
        (rows, X), moves = read_rows(self.source, rows), []
        for part in self.parts:
            own = own_columns(X, part.columns, part.factor)
            own = part.filled.observed(own, rows)
            move = getattr(part.filled.state, of)(own, rows)
            moves.append(move if part.factor is None else move * like(part.factor, X))
        xp = array_namespace(X)
        every = moves[0] if len(moves) == 1 else xp.concat(moves, axis=1)
        return xp.take(every, like(which, every, xp.int64), axis=1)
