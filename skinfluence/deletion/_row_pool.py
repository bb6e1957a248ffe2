"""Rows that may be deleted or put back, and what each choice does to one value.

Around a minimum the objective is nearly quadratic and the value nearly linear; for least
squares and a coefficient both are so everywhere. Then all that matters of some rows are
the products ``x_i inv(H) x_j'``, and sets of them can be tried by the million.
"""

from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from typing import final

import numpy as np

from skinfluence._tolerances import LEAST_REMAINDER

_BATCH = 2**15  # sets that are tried at once
# An exchange that lowers the value by less, relatively, is rounding.
_LEAST_GAIN = 1e-9


@final
@dataclass(frozen=True)
class Pool:
    """P rows, in or out, and a value f at the model of those in. Host arrays.

    Outputs are not coupled: each of G groups has one, and effects add up over them.
    """

    rows: np.ndarray  # (P,) their indices
    inside: np.ndarray  # (P,) bool
    A: np.ndarray  # (G, P, P) x_i inv(H) x_j'
    pull: np.ndarray  # (G, P) grad f' inv(H) x_i
    slope: np.ndarray  # (G, P) s_i g_i
    bend: np.ndarray  # (G, P) s_i M_i
    value: float  # f

    @property
    def sign(self) -> np.ndarray:
        """Weight that a change of a row adds: -1 takes it out, +1 puts it back."""
        return np.where(self.inside, -1.0, 1.0)

    def effects(self) -> np.ndarray:
        """Change of f by changing each row alone, (P,); infinite where it cannot be."""
        return _effects(self.sign, self.pull, self.slope, self.bend, self._leverage)

    def changed(self, i: int) -> "Pool":
        """The pool when row i has changed sides."""
        sign, column = self.sign[i], self.A[:, i, :]
        left = 1 + sign * self.bend[:, i] * column[:, i]
        part = (sign * self.bend[:, i] / left)[:, None] * column
        step = (sign * self.slope[:, i] / left)[:, None] * column  # minus outputs' move
        inside = self.inside.copy()
        inside[i] = ~inside[i]
        return Pool(
            self.rows,
            inside,
            self.A - part[:, :, None] * column[:, None, :],
            self.pull - self.pull[:, [i]] * part,
            self.slope - self.bend * step,
            self.bend,
            self.value + float(self.effects()[i]),
        )

    def best_swap(self) -> tuple[int, int, float]:
        """The row to put back, the row to take out, and f after both."""
        out, into = np.flatnonzero(self.inside), np.flatnonzero(~self.inside)
        if len(out) == 0 or len(into) == 0:
            return -1, -1, np.inf
        effect = np.zeros((len(into), len(out)))
        for g in range(len(self.A)):
            effect += self._pair_effects(g, into, out)
        i, j = np.unravel_index(np.argmin(effect), effect.shape)
        return int(into[i]), int(out[j]), self.value + float(effect[i, j])

    def _pair_effects(self, g: int, into: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Change of f by putting each of some rows back and taking each other out."""
        d, w, v = self.bend[g], self.slope[g], self.pull[g]
        di, dj = d[into][:, None], -d[out][None, :]
        wi, wj = w[into][:, None], -w[out][None, :]
        aij, leverage = self.A[g][np.ix_(into, out)], self._leverage[g]
        left_i = 1 + di * leverage[into][:, None]
        left_j = 1 + dj * leverage[out][None, :]
        det = left_i * left_j - di * dj * aij**2
        lost = det < LEAST_REMAINDER
        det = np.where(lost, 1.0, det)
        yi, yj = left_j * wi - di * aij * wj, left_i * wj - dj * aij * wi
        effect = -(v[into][:, None] * yi + v[out][None, :] * yj) / det
        return np.where(lost, np.inf, effect)

    @property
    def _leverage(self) -> np.ndarray:
        return np.einsum("gii->gi", self.A)

    # --- searches --------------------------------------------------------------------

    def grown(self, size: int, below: float = -np.inf) -> "Pool":
        """Greedily lower f by taking ``size`` rows out; stop where f is below.

        Columns of A are brought up to date one by one, the whole of A once at the end.
        """
        pull, slope, leverage = (
            self.pull.copy(),
            self.slope.copy(),
            self._leverage.copy(),
        )
        inside, value = self.inside.copy(), self.value
        columns = np.empty((len(self.A), size, len(self.rows)))
        factors = np.empty((len(self.A), size, 1))
        n_taken = 0
        while n_taken < size and not value < below:
            effects = _effects(-1.0, pull, slope, self.bend, leverage)
            i = int(np.argmin(np.where(inside, effects, np.inf)))
            if not (inside[i] and np.isfinite(effects[i])):
                break
            before = columns[:, :n_taken]
            known = np.swapaxes(factors[:, :n_taken] * before[:, :, [i]], 1, 2)
            column = self.A[:, i, :] - (known @ before)[:, 0, :]
            bend = self.bend[:, [i]]
            left = 1 - bend * leverage[:, [i]]
            pull -= pull[:, [i]] * (-bend / left) * column
            slope -= self.bend * (-slope[:, [i]] / left) * column
            leverage -= (-bend / left) * column**2
            columns[:, n_taken], factors[:, n_taken] = column, -bend / left
            value, inside[i] = value + float(effects[i]), False
            n_taken += 1
        C, F = columns[:, :n_taken], factors[:, :n_taken]
        A = self.A - np.swapaxes(F * C, 1, 2) @ C
        return Pool(self.rows, inside, A, pull, slope, self.bend, value)

    def swapped(self, most: int) -> "Pool":
        """Exchange one row out for one in, the best pair first, while f falls."""
        pool = self
        for _ in range(most):
            i, j, value = pool.best_swap()
            if not value < pool.value - _LEAST_GAIN * (abs(pool.value) + abs(value)):
                break
            pool = pool.changed(i).changed(j)
        return pool

    def shrunk(self) -> "Pool":
        """Put the row back that raises f least."""
        effects = np.where(self.inside, np.inf, self.effects())
        return self.changed(int(np.argmin(effects)))

    @property
    def removed(self) -> np.ndarray:
        """Indices of the rows that are out."""
        return self.rows[~self.inside]

    @property
    def _weighed(self) -> np.ndarray:
        """Rows in, those of leverage near 1 apart: these have to be asked otherwise."""
        left = 1 - self.bend * self._leverage
        return np.flatnonzero(self.inside & (left >= LEAST_REMAINDER).all(axis=0))

    def best_subset(self, size: int) -> tuple[np.ndarray, float, list[np.ndarray]]:
        """The set of ``size`` rows, of those in, without which f is lowest: all tried.

        And the sets that together leave too little of a direction to be weighed.
        """
        subsets = combinations(self._weighed.tolist(), size)
        best, least, unknown = np.arange(0), np.inf, []
        while batch := list(islice(subsets, _BATCH)):
            tried = np.array(batch)
            values = self._without(tried)
            unknown += list(self.rows[tried[np.isinf(values)]])
            i = int(np.argmin(values))
            if values[i] < least:
                best, least = self.rows[tried[i]], float(values[i])
        return best, least, unknown

    def _without(self, sets: np.ndarray) -> np.ndarray:
        """The value f without each set of rows (b, k), by its k x k system, (b,)."""
        total = np.full(len(sets), self.value)
        lost = np.zeros(len(sets), dtype=bool)
        eye = np.eye(sets.shape[1])
        for g in range(len(self.A)):
            pairs = self.A[g][sets[:, :, None], sets[:, None, :]]
            left = eye - self.bend[g][sets][:, :, None] * pairs
            gone = ~(np.linalg.det(left) > LEAST_REMAINDER)
            left = np.where(gone[:, None, None], eye, left)
            inner = np.linalg.solve(left, self.slope[g][sets][:, :, None])[..., 0]
            total += np.sum(self.pull[g][sets] * inner, axis=1)
            lost |= gone
        return np.where(lost, np.inf, total)

    def n_subsets(self, size: int) -> int:
        """How many sets ``best_subset`` would try."""
        return comb(len(self._weighed), size)


def _effects(
    sign: np.ndarray | float,
    pull: np.ndarray,
    slope: np.ndarray,
    bend: np.ndarray,
    leverage: np.ndarray,
) -> np.ndarray:
    """``-pull sign slope / (1 + sign bend leverage)``, infinite for leverage 1, (P,)."""
    left = 1 + sign * bend * leverage
    lost = (left < LEAST_REMAINDER).any(axis=0)
    left = np.where(lost, 1.0, left)
    effect = -np.sum(pull * sign * slope / left, axis=0)
    return np.where(lost, np.inf, effect)
