"""Small sets of rows whose joint deletion moves one value most, or flips its sign.

The additive ranking of rows by influence (AMIP) ignores that deleting a row changes what
the others do. Here rows are chosen one after the other with that taken into account,
and exchanged in pairs as long as it helps; where there are few rows, every set is tried.
"""

import abc
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    array_namespace,
    device_of,
    take_rows,
    to_numpy,
)
from skinfluence._kernels import densified
from skinfluence._objective import Objective
from skinfluence._rows import row_blocks
from skinfluence.deletion._one_step import Newton
from skinfluence.deletion._row_pool import Pool
from skinfluence.deletion._small_systems import pair_blocks
from skinfluence.solvers import (
    AbstractSolver,
    Point,
    expand,
    learned_gradients,
    polish,
    row_terms,
)

# Rows that are weighed against each other at once, and chosen from them at once.
_MOST_POOLED, _MOST_CHOSEN = 2048, 512
# Exchanges of rows; where the pool is an approximation, each costs a model.
_MOST_SWAPS, _MOST_MODELS = 500, 20
# Where the pool is an approximation, a model is made each time that one part in so many
# of the rows still to go is chosen.
_PARTS = 8
# Sets that are tried one by one, in all.
_MOST_SETS = 250_000
# Last step of the model without a set, relative to the distance that it started from.
_TOLERANCE = 1e-9
# A ratio that differs from another by less is equal.
_ROUNDING = 1e-14
# Rows of leverage near 1 that are taken out to look on without them, and of those how
# many one after the other.
_MOST_HIDDEN, _MOST_DEPTH = 8, 2
# The rows determine a value if this is left of its gradient at the most.
_OPEN = 1e-7


class AbstractTarget(abc.ABC):
    """A value that the parameters give."""

    linear: ClassVar[bool]

    @abc.abstractmethod
    def value(self, theta: Array) -> float:
        """The value at theta (G, D)."""

    @abc.abstractmethod
    def gradient(self, theta: Array) -> Any:
        """Its gradient, (G, D)."""


@final
@dataclass(frozen=True, eq=False)
class LinearTarget(AbstractTarget):
    """``sum(direction * theta)``: a coefficient, or a linear predictor."""

    direction: Any  # (G, D)
    linear: ClassVar[bool] = True

    def value(self, theta: Array) -> float:
        return float(array_namespace(theta).sum(self.direction * theta))

    def gradient(self, theta: Array) -> Any:
        return self.direction


@final
@dataclass(frozen=True, eq=False)
class LossTarget(AbstractTarget):
    """The mean loss of some rows."""

    objective: Objective  # of these rows, each weighing 1 / m, without a penalty
    linear: ClassVar[bool] = False

    def value(self, theta: Array) -> float:
        return self.objective.value(theta, self.objective.outputs(theta))

    def gradient(self, theta: Array) -> Any:
        return self.objective.first_order(theta).gradient


class FoundSet(NamedTuple):
    """A set of rows, and how it was found."""

    rows: np.ndarray  # indices, ascending
    method: str
    bound: float | None  # proved: no set does better, or no smaller one flips
    reached: bool  # whether the sign is flipped, or the value moved as was asked


@final
@dataclass(frozen=True, eq=False)
class SetSearch:
    """Searches for rows to delete so that ``sign * target`` falls.

    References
    ----------
    .. [1] Broderick, Giordano & Meager (2020). An automatic finite-sample robustness
       metric. arXiv:2011.14999. Section 2.2: the additive ranking.
    .. [2] Kuschnig, Zens & Crespo Cuaresma (2021). Hidden in plain sight: influential
       sets in linear models. CESifo 8981. Algorithm 2: one row after the other.
    """

    point: Point  # the minimum of all rows
    solver: AbstractSolver
    target: AbstractTarget
    sign: float  # +1 to lower the target, -1 to raise it
    depth: int = 0  # rows of leverage near 1 that are out already

    @property
    def exact(self) -> bool:
        """Whether the value without a set follows from products of its rows."""
        objective = self.point.objective
        plain = objective.penalty.share == 0 and objective.wider is None
        plain = plain and not objective.learns
        return self.target.linear and objective.loss.quadratic and plain

    def of_size(self, k: int) -> FoundSet:
        """The k rows whose deletion lowers the value most."""
        if k == 0:
            value = self.target.value(self.point.theta)
            return FoundSet(np.arange(0), "exhaustive", value, False)
        best = self._of_size(k)
        for row, rest in self._without_hidden:
            best = self._better(best, rest.of_size(k - 1), row)
        return best if self._answers_all else best._replace(bound=None)

    def flipping(self, most: int) -> FoundSet:
        """The fewest rows, up to ``most``, without which the value is negative."""
        best = self._flipping(most)
        for row, rest in self._without_hidden:
            fewer = len(best.rows) - 2 if best.reached else most - 1
            if self.sign * rest.target.value(rest.point.theta) < 0:
                other = FoundSet(np.arange(0), "exhaustive", 0.0, True)
            elif fewer > 0:
                other = rest.flipping(fewer)
            else:
                continue
            best = self._fewer(best, other, row)
        return best if self._answers_all else best._replace(bound=None)

    # --- rows of leverage near 1 -----------------------------------------------------

    @cached_property
    def _hidden(self) -> np.ndarray:
        """Rows of leverage near 1: rounding hides their deletion from products of rows."""
        return self._present[~np.isfinite(self._start_effects[self._present])]

    @cached_property
    def _without_hidden(self) -> list[tuple[int, "SetSearch"]]:
        """The search among the others, without each of the hidden rows."""
        if self.depth == _MOST_DEPTH:
            return []
        states = [self._state(self._hidden[i : i + 1]) for i in range(self._n_asked)]
        return [
            (int(row), replace(self, point=state.point, depth=self.depth + 1))
            for row, state in zip(self._hidden, states, strict=False)
            if np.isfinite(state.value)
        ]

    @property
    def _n_asked(self) -> int:
        return min(len(self._hidden), _MOST_HIDDEN)

    @property
    def _answers_all(self) -> bool:
        """Whether every hidden row has been taken out."""
        return not len(self._hidden) or (
            self.depth < _MOST_DEPTH and len(self._hidden) == self._n_asked
        )

    def _better(self, best: FoundSet, other: FoundSet, row: int) -> FoundSet:
        """The better of two sets of one size, the other one with a row more."""
        other = other._replace(rows=np.sort(np.append(other.rows, row)))
        better, value = best, self._state(best.rows).value
        state = self._state(other.rows)
        if state.value < value or not len(best.rows):
            better = self._ended(state, other.method, None)
        bound = None
        if best.bound is not None and other.bound is not None:
            bound = self.sign * min(self.sign * best.bound, self.sign * other.bound)
        return better._replace(bound=bound)

    def _fewer(self, best: FoundSet, other: FoundSet, row: int) -> FoundSet:
        """The smaller of two sets that flip the sign, the other one with a row more."""
        state = self._state(np.append(other.rows, row).astype(int))
        better = best
        if state.value < (np.inf if not best.reached else 0.0) and (
            not best.reached or len(state.removed) < len(best.rows)
        ):
            found = self._ended(state, other.method, None, flips=True)
            nearer = state.value < self._state(best.rows).value
            better = found if found.reached or nearer else best
        bound = None
        if best.bound is not None and other.bound is not None:
            bound = min(best.bound, other.bound + 1)
        return better._replace(bound=bound)

    # --- rows that products weigh ----------------------------------------------------

    def _of_size(self, k: int) -> FoundSet:
        """The k rows, hidden ones apart, whose deletion lowers the value most."""
        start = self._at(self.point, np.arange(0))
        ratio = _Ratio.of(self) if self.exact else None
        if ratio is not None:
            rows = ratio.of_size(k)
            state = self._state(rows)
            return self._ended(state, "Dinkelbach", self.sign * state.value)
        if self._pools_all:
            pool = self._pool(start, self._present)
            if pool.n_subsets(k) <= _MOST_SETS and self.exact:
                rows, value, unknown = pool.best_subset(k)
                state = self._state(rows)
                bound: float | None = self.sign * value
                if unknown:
                    state, bound = self._best_of(state, unknown)
                return self._ended(state, "exhaustive", bound)
        state, method = self._refined(self._grown(start, k))
        other, _ = self._refined(self._additive(start, k))
        return self._ended(
            min(state, other, key=lambda state: state.value), method, None
        )

    def _best_of(
        self, state: "_State", sets: list[np.ndarray]
    ) -> tuple["_State", float | None]:
        """The best of a model and those without sets that rounding hides, and its bound."""
        models = [self._state(rows) for rows in sets[:_MOST_MODELS]]
        best = min([state, *models], key=lambda each: each.value)
        return best, self.sign * best.value if len(sets) <= _MOST_MODELS else None

    def _flipping(self, most: int) -> FoundSet:
        """The fewest rows, hidden ones apart, without which the value is negative."""
        start = self._at(self.point, np.arange(0))
        ratio = _Ratio.of(self) if self.exact else None
        if ratio is not None:
            rows = ratio.flipping(most)
            if rows is not None:
                return self._ended(self._state(rows), "top-k", float(len(rows)), True)
        state, method = self._refined(self._grown(start, most, flips=True))
        if state.value < 0:
            state, method = self._shrunk(state, method)
        if len(state.removed) > 1:
            fewer = len(state.removed) - (state.value < 0)
            other, _ = self._refined(self._additive(start, fewer))
            if other.value < min(state.value, 0):
                state, method = self._shrunk(other, method)
        bound = None
        if self._pools_all and self.exact:
            state, method, bound = self._proved(start, state, method, most)
        return self._ended(state, method, bound, flips=True)

    # --- models without some rows ----------------------------------------------------

    def _at(self, point: Point, removed: np.ndarray) -> "_State":
        return _State(point, removed, self.sign * self.target.value(point.theta))

    def _state(self, removed: np.ndarray) -> "_State":
        """The model without rows; of infinite value where there is none."""
        removed = np.unique(removed)
        if len(removed) == 0:
            return self._at(self.point, removed)
        objective = self.point.without(removed)
        damping = self.point.curvature.damping
        point = expand(objective, self.point.theta, self.solver, damping)
        if point.factor.rank_deficient and not self._determines(point):
            return _State(point, removed, np.inf)
        length = _TOLERANCE * (self.point.distance + point.distance)
        end = polish(point, self.solver, length=length, max_iter=50)
        if end.unbounded:
            return _State(point, removed, np.inf)
        return self._at(end.point, removed)

    def _determines(self, point: Point) -> bool:
        """Whether the rows of a model determine the target."""
        gradient = self.target.gradient(point.theta)[None, ...]
        xp, H = array_namespace(gradient), point.curvature
        columns = xp.permute_dims(point.factor.steps(gradient), (1, 2, 0))
        left = H.matvec(columns)[..., 0] - gradient[0, ...]
        scale = xp.sqrt(H.diagonal())
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        length = float(xp.max(xp.abs(gradient[0, ...] / scale)))
        return float(xp.max(xp.abs(left / scale))) <= _OPEN * length

    def _ended(
        self, state: "_State", method: str, bound: float | None, flips: bool = False
    ) -> FoundSet:
        most = 0.0 if flips else self.sign * self.target.value(self.point.theta)
        rows = np.sort(state.removed)
        return FoundSet(rows, method, bound, bool(state.value < most))

    # --- choosing rows ---------------------------------------------------------------

    @cached_property
    def _present(self) -> np.ndarray:
        """Rows of positive weight."""
        return np.flatnonzero(to_numpy(self.point.objective.weight))

    @property
    def _pairs(self) -> bool:
        """Whether pairs of rows can be weighed: outputs are not coupled."""
        return self.point.objective.layout.group_size == 1

    @property
    def _pools_all(self) -> bool:
        return self._pairs and len(self._present) <= _MOST_POOLED

    def _grown(self, state: "_State", k: int, flips: bool = False) -> "_State":
        """Rows taken out until there are k, or the sign has flipped."""
        kept: list[int] = []  # rows that the others cannot do without
        while len(state.removed) < k and not (flips and state.value < 0):
            effects = np.array(self._row_effects(state))
            effects[kept] = np.inf
            left = k - len(state.removed)
            need = _needed(state.value, effects, left) if flips else left
            rows = self._chosen(state, effects, need, left, flips)
            if len(rows) == 0:
                break
            grown = self._state(np.concatenate([state.removed, rows]))
            enough = state.value if flips else np.inf
            while not grown.value < enough and len(rows) > 1:
                rows = rows[: len(rows) // 2]
                grown = self._state(np.concatenate([state.removed, rows]))
            if grown.value < enough:
                state = grown
            elif len(kept) == _MOST_MODELS:
                break
            else:
                kept.append(int(rows[0]))
        return state

    def _additive(self, start: "_State", k: int) -> "_State":
        """The k rows of the best single effects: another start for exchanges."""
        if not self._pools_all:
            return start._replace(value=np.inf)
        order = np.argsort(self._row_effects(start), kind="stable")
        return self._state(order[:k])

    def _chosen(
        self, state: "_State", effects: np.ndarray, need: int, left: int, flips: bool
    ) -> np.ndarray:
        """The next rows to take out."""
        if flips and not np.min(effects) < 0:
            return np.arange(0)
        if not self._pairs or need > _MOST_CHOSEN:
            some = max(1, need // 2 if self._pairs else need // _PARTS)
            order = np.argsort(effects)[:some]
            return order[np.isfinite(effects[order])]
        some = need if self.exact else ceil(need / _PARTS)
        some = min(max(some, 1), left)
        size = min(len(effects), 2 * some + _MOST_POOLED // 4)
        if len(self._present) <= _MOST_POOLED:
            size = len(effects)
        best = np.argpartition(effects, size - 1)[:size]
        pool = self._pool(state, best[np.isfinite(effects[best])])
        most = min(left, 2 * some) if flips and self.exact else some
        removed = pool.grown(most, 0.0 if flips else -np.inf).removed
        new = np.setdiff1d(removed, state.removed)
        return new[np.argsort(effects[new])]

    def _pull(self, point: Point) -> Any:
        """``inv(H) grad f`` of the signed target f, (G, D)."""
        gradient = self.sign * self.target.gradient(point.theta)
        return point.factor.loss_steps(gradient[None, ...])[0, ...]

    def _row_effects(self, state: "_State") -> np.ndarray:
        """Change of the value by deleting each row, (n,); infinite where it cannot be."""
        return self._start_effects if not len(state.removed) else self._effects(state)

    @cached_property
    def _start_effects(self) -> np.ndarray:
        return self._effects(self._at(self.point, np.arange(0)))

    def _effects(self, state: "_State") -> np.ndarray:
        point, steps = state.point, self._pull(state.point)
        objective, layout = point.objective, point.objective.layout
        xp = array_namespace(point.theta)
        penalty = float(xp.sum(steps * objective.penalty.gradient(point.theta)))
        B, newton, effects = layout.unpack(steps).T, Newton(point, self.solver), []
        for rows in row_blocks(objective.n_rows, objective.design.row_entries):
            terms = row_terms(point, rows)
            c, unidentified = newton.coefficients(terms)
            effect = xp.sum(layout.ungrouped(c) * (terms.block @ B), axis=1)
            if terms.share is not None:
                effect = effect + terms.share * penalty
            learned = learned_gradients(point, rows)
            if learned is not None:
                effect = effect + xp.sum(learned * steps, axis=(1, 2))
            effects.append(xp.where(unidentified, xp.inf, effect))
        present = to_numpy(objective.weight) != 0
        return np.where(present, to_numpy(xp.concat(effects)), np.inf)

    def _pool(self, state: "_State", rows: np.ndarray) -> Pool:
        """The rows given and those that are out, weighed against each other."""
        rows = np.union1d(rows, state.removed)
        objective, point = self.point.objective, state.point
        layout, xp = objective.layout, array_namespace(point.theta)
        chosen = xp.asarray(rows, device=device_of(point.theta))
        y, u = take_rows(objective.targets, chosen), take_rows(point.outputs, chosen)
        s = take_rows(objective.weight, chosen)
        block = densified(objective.design.block(chosen))
        steps = self._pull(point)
        bend = s[:, None] * objective.loss.hessian(y, u)[:, :, 0, 0]  # (P, G or 1)
        shape = (len(rows), layout.n_groups)
        return Pool(
            rows,
            ~np.isin(rows, state.removed),
            to_numpy(pair_blocks(point, block)[:, :, 0, :, 0]),
            to_numpy((block @ layout.unpack(steps).T).T),
            to_numpy((s[:, None] * objective.loss.gradient(y, u)).T),
            to_numpy(xp.broadcast_to(bend, shape).T),
            state.value,
        )

    # --- improving a set -------------------------------------------------------------

    def _refined(self, state: "_State") -> tuple["_State", str]:
        """Rows exchanged in pairs as long as that lowers the value."""
        if not self._pairs or len(state.removed) > _MOST_POOLED // 2:
            return state, "greedy"
        if len(state.removed) == 0 or not np.isfinite(state.value):
            return state, "greedy"
        for _ in range(1 if self.exact else _MOST_MODELS):
            pool = self._pool(state, self._candidates(state))
            swapped = pool.swapped(_MOST_SWAPS if self.exact else 1)
            better = self._state(swapped.removed)
            if not better.value < state.value:
                break
            state = better
        return state, "greedy with swaps"

    def _candidates(self, state: "_State") -> np.ndarray:
        """Rows that are worth weighing against those that are out."""
        if len(self._present) <= _MOST_POOLED:
            return self._present
        effects = self._row_effects(state)
        most = min(_MOST_POOLED // 4, len(effects))
        best = np.argpartition(effects, most - 1)[:most]
        return best[np.isfinite(effects[best])]

    def _shrunk(self, state: "_State", method: str) -> tuple["_State", str]:
        """Fewer rows, as long as the sign stays flipped."""
        while self._pairs and 1 < len(state.removed) <= _MOST_POOLED // 2:
            pool = self._pool(state, self._candidates(state)).shrunk()
            if pool.value >= 0:
                pool = pool.swapped(_MOST_SWAPS if self.exact else 1)
            fewer = self._state(pool.removed)
            if not fewer.value < 0:
                break
            state = fewer
        return state, method

    def _proved(
        self, start: "_State", state: "_State", method: str, most: int
    ) -> tuple["_State", str, float]:
        """Smaller sets, all of them, as far as that can be afforded."""
        pool, tried, size = self._pool(start, self._present), 0, 1
        largest = len(state.removed) - 1 if state.value < 0 else most
        while size <= largest:
            tried += pool.n_subsets(size)
            if tried > _MOST_SETS:
                break
            rows, value, unknown = pool.best_subset(size)
            if unknown:
                model, known = self._best_of(self._state(rows), unknown)
                if known is None:
                    break
                rows, value = model.removed, model.value
            if value < 0:
                return self._state(rows), "exhaustive", float(size)
            if value < state.value:
                state = self._state(rows)
            size += 1
        return state, "exhaustive" if size > largest else method, float(size)


class _State(NamedTuple):
    """A model without some rows."""

    point: Point
    removed: np.ndarray  # indices of rows
    value: float  # sign * target; infinite where there is no model


def _needed(value: float, effects: np.ndarray, most: int) -> int:
    """How many of the best rows the additive ranking takes to flip the sign."""
    falling = np.sort(effects[effects < 0])
    n = int(np.searchsorted(-np.cumsum(falling), value)) + 1
    return min(max(n, 1), most, max(len(falling), 1))


@final
@dataclass(frozen=True)
class _Ratio:
    """One parameter, a ratio of sums over rows: its best sets are found exactly.

    ``f = sum n_i / (strength + sum h_i)`` over the rows that are kept. The smallest ratio
    over sets of k that leave solves ``min sum_kept (n_i - f h_i) = 0`` by sorting and
    updating f.

    References
    ----------
    .. [1] Dinkelbach (1967). On nonlinear fractional programming. Management Science
       13(7). :doi:`10.1287/mnsc.13.7.492`. Theorem 1 and the algorithm of section 2.
    """

    rows: np.ndarray  # (P,) indices
    n: np.ndarray  # (P,)
    h: np.ndarray  # (P,) never negative
    strength: float  # of the penalty, in the denominator

    @classmethod
    def of(cls, search: SetSearch) -> "_Ratio | None":
        """The ratio, if the target is one of a single parameter."""
        point, xp = search.point, array_namespace(search.point.theta)
        layout = point.objective.layout
        direction = to_numpy(search.target.gradient(point.theta))[:, 0]
        groups = np.flatnonzero(direction)
        if layout.width != 1 or layout.group_size != 1 or len(groups) != 1:
            return None
        g, scale = int(groups[0]), search.sign * float(direction[groups[0]])
        rows = np.flatnonzero(to_numpy(point.objective.weight))
        terms = row_terms(point, xp.asarray(rows, device=device_of(point.theta)))
        x = to_numpy(densified(terms.block))[:, 0]
        bend = to_numpy(terms.bend)[:, min(g, terms.bend.shape[1] - 1), 0, 0]
        slope = to_numpy(terms.weight) * to_numpy(terms.slope)[:, g, 0]
        h, theta = bend * x**2, float(point.theta[g, 0])
        strength = point.curvature.diagonal_part
        own = float(strength[min(g, strength.shape[0] - 1), 0])
        return cls(rows, scale * (h * theta - slope * x), h, own)

    def of_size(self, k: int) -> np.ndarray:
        """The k rows without which the ratio is smallest."""
        f, best = np.inf, np.arange(0)
        D = self.h.sum() + self.strength
        ratio = self.n.sum() / D
        while ratio < f - _ROUNDING * abs(f) or f == np.inf:
            f = ratio
            best = np.argsort(-(self.n - f * self.h), kind="stable")[:k]
            # Sums of those kept: differences would lose what a large row hides.
            kept = np.delete(np.arange(len(self.rows)), best)
            left = self.h[kept].sum() + self.strength
            if not left > 0:
                break
            ratio = self.n[kept].sum() / left
        return self.rows[best]

    def flipping(self, most: int) -> np.ndarray | None:
        """The fewest rows without which the ratio is negative; None if too many."""
        order = np.argsort(-self.n, kind="stable")
        kept = self.n[order][:0:-1]  # without the first one
        left = np.append(np.cumsum(kept)[::-1], 0.0)
        sizes = np.append(np.cumsum(np.abs(kept))[::-1], 0.0)
        flipped = np.flatnonzero(left < -10 * _ROUNDING * sizes)
        if len(flipped) == 0 or flipped[0] + 1 > most:
            return None
        rows = order[: flipped[0] + 1]
        D = np.delete(self.h, rows).sum() + self.strength
        return self.rows[rows] if D > 0 else None
