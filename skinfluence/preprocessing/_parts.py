"""The states of all steps that move or fill columns, made once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from skinfluence._array import Array, array_namespace, like, moved, to_numpy
from skinfluence._sources import AbstractSource
from skinfluence.preprocessing._base import AbstractState, NotFollowed, StepColumns
from skinfluence.preprocessing._columns import columns_of
from skinfluence.preprocessing._filled import (
    AveragedState,
    FilledColumns,
    FilledPart,
)
from skinfluence.preprocessing._fitted import refuse_other_rows
from skinfluence.preprocessing._imputer import fill_state
from skinfluence.preprocessing._trace import STILL, Origins, Step

WEIGHT = "__sample_weight"
_State = TypeVar("_State")


class Part(NamedTuple):
    """The state of one step, and where its columns are in the output."""

    name: str
    state: AbstractState
    columns: np.ndarray  # (q,)
    factor: np.ndarray | None  # (q,)
    gaps: Any = None  # (n, q) bool: entries that it has not learned from
    norm: int | None = None  # power of the lengths that rows are divided by


@dataclass
class Parts:
    """Parts of the steps of a transformer, and reasons why some have to be held."""

    source: AbstractSource
    weights: Mapping[str, Any]
    notes: Mapping[str, np.ndarray]  # gaps in the input of the steps that fill
    states: dict[tuple[str, str, bytes], Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def of_filling(self, steps: list[Step], out: Origins) -> list[FilledPart]:
        """Parts of the steps that fill columns."""
        parts = []
        for k in out.filling:
            columns = np.flatnonzero(out.fill == k)
            filled = self._filled(steps[k], out, columns)
            if filled is not None:
                parts.append(FilledPart(filled, columns, _factor(out, columns)))
        return parts

    def of_moving(
        self, steps: list[Step], filling: list[Step], out: Origins
    ) -> list[Part]:
        """Parts of the steps that move columns."""
        parts = []
        before = np.where(out.over, out.fill, STILL)
        for k in out.moving:
            for j in np.unique(before[out.step == k]):
                columns = np.flatnonzero((out.step == k) & (before == j))
                filled = None if j == STILL else filling[j]
                parts.append(self._part(steps[k], filled, filling, out, columns))
        return [part for part in parts if part is not None]

    def _part(
        self,
        step: Step,
        before: Step | None,
        filling: list[Step],
        out: Origins,
        columns: np.ndarray,
    ) -> Part | None:
        """The part of one step, columns of which all or none are filled before it."""
        name, fitted, rule, given = step
        if not rule.averages_fills:  # type: ignore[union-attr]
            before = None
        gaps = None if before else self._gaps(filling, out, columns)
        factor, weight = _factor(out, columns), self.weights.get(name + WEIGHT)
        own = StepColumns(
            columns_of(self.source, columns, factor, gaps), out.own[columns], given
        )

        def make() -> AbstractState:
            state = rule.state(fitted, own, weight)  # type: ignore[union-attr, misc]
            if before is None:
                return state
            return self._averaged(state, own, weight, before, out, columns)

        state = self._made(name, "moves", columns, make)
        if state is None:
            return None
        return Part(name, state, columns, factor, gaps, rule.norm)  # type: ignore[union-attr]

    def _averaged(
        self,
        state: AbstractState,
        own: StepColumns,
        weight: Any,
        before: Step,
        out: Origins,
        columns: np.ndarray,
    ) -> AbstractState:
        filled = self._filled(before, out, columns)
        if filled is None:
            raise NotFollowed("what is filled in before it is not known")
        n = self.source.shape[0]
        host = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
        of_gaps = host @ self._mask(before, out, columns)
        vector = own.columns.vector
        total = float(host.sum())
        return AveragedState(state, filled, vector(host), total, vector(of_gaps))

    def _filled(
        self, step: Step, out: Origins, columns: np.ndarray
    ) -> FilledColumns | None:
        """What a step fills in these columns."""
        mask = self._mask(step, out, columns)
        gaps, factor = moved(mask, self.source.place), _factor(out, columns)

        def make() -> FilledColumns:
            if np.any(np.count_nonzero(~mask, axis=0) < 2):
                raise NotFollowed(
                    "a column has nothing left to fill with without its only value"
                )
            observed = columns_of(self.source, columns, factor, gaps)
            own = StepColumns(observed, out.filled[columns], step.given)
            state = fill_state(step.transformer, own)
            plain = columns_of(self.source, columns, factor)
            _refuse_other_values(state.value, plain, mask)
            return FilledColumns(state, gaps)

        return self._made(step.name, "fills", columns, make)

    def _made(
        self, name: str, of: str, columns: np.ndarray, make: Callable[[], _State]
    ) -> _State | None:
        """A state made once, or None with the reason why there is none."""
        key = name, of, columns.tobytes()
        if key not in self.states:
            try:
                self.states[key] = make()
            except NotFollowed as reason:
                self.reasons[name] = str(reason)
                return None
        return self.states[key]

    def _mask(self, step: Step, out: Origins, columns: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.notes[step.name][:, out.filled[columns]])

    def _gaps(
        self, filling: list[Step], out: Origins, columns: np.ndarray
    ) -> Array | None:
        """Entries of these columns that steps have filled, (n, q); None without any."""
        fill = out.fill[columns]
        if np.all(fill == STILL):
            return None
        mask = np.zeros((self.source.shape[0], len(columns)), dtype=bool)
        for k in np.unique(fill[fill != STILL]):
            of_step = fill == k
            mask[:, of_step] = self._mask(filling[k], out, columns[of_step])
        return moved(mask, self.source.place)


def _factor(out: Origins, columns: np.ndarray) -> np.ndarray | None:
    factor = out.factor[columns]
    return None if np.all(factor == 1) else factor


def _refuse_other_values(value: Any, columns: Any, mask: np.ndarray) -> None:
    """Refuse gaps that hold another value than these rows give."""
    held = np.flatnonzero(mask.any(axis=0))
    rows = like(
        mask[:, held].argmax(axis=0),
        columns.place,
        array_namespace(columns.place).int64,
    )
    seen = to_numpy(columns.block(rows))[np.arange(len(held)), held]
    wanted = to_numpy(value)[held]
    refuse_other_rows(seen, wanted, 1.0 + abs(wanted))
