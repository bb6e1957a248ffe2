"""From a fitted transformer to how its output moves when training rows leave."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from scipy.sparse import issparse

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    like,
    to_numpy,
)
from skinfluence._following import (
    AbstractFills,
    AbstractFollowing,
    Affine,
    Gaps,
    Norm,
)
from skinfluence._sources import AbstractSource, source_of
from skinfluence.preprocessing._base import AbstractState, NotFollowed, StepColumns
from skinfluence.preprocessing._columns import (
    AbstractColumns,
    columns_of,
    observed,
    own_columns,
    read_rows,
)
from skinfluence.preprocessing._filled import FilledPart, Fills
from skinfluence.preprocessing._gaps import GapReader, gaps_in
from skinfluence.preprocessing._given import Given
from skinfluence.preprocessing._parts import WEIGHT, Part, Parts
from skinfluence.preprocessing._trace import STILL, Origins, Step, Trace

# Why a step is held where all are.
AS_ASKED = "all steps are held, as asked"
# Most rows that are answered by refits of the whole estimator, of all n, because they
# decide what columns a step makes: a number of refits that a user waits for.
_MOST_REFITS, _MOST_SHARE = 20, 0.05


def most_refits(n: int) -> int:
    """Of n deletions, how many may be answered by refits where they decide columns."""
    return max(_MOST_REFITS, int(_MOST_SHARE * n))


class Followed(NamedTuple):
    """A transformer whose steps are followed, or held as they were fitted."""

    following: AbstractFollowing | None  # None: no column ever moves
    followed_steps: list[str]
    held_steps: list[str]
    reasons: dict[str, str]  # for each step that is held, a clause
    reader: GapReader | None = None  # of gaps that the followed steps fill
    gaps: Gaps | None = None  # in the training rows

    @property
    def spreads(self) -> bool:
        """Whether other rows change by more than units: in gaps, or by their lengths."""
        fills = self.gaps is not None and len(self.gaps.which) > 0
        return fills or (self.following is not None and bool(self.following.norms))

    def in_words(self) -> str:
        """The steps that are held, and why."""
        return "; ".join(f"{name} ({self.reasons[name]})" for name in self.held_steps)

    def renamed(self, name_of: Callable[[str], str]) -> "Followed":
        """The same under other names."""
        return self._replace(
            followed_steps=[name_of(name) for name in self.followed_steps],
            held_steps=[name_of(name) for name in self.held_steps],
            reasons={name_of(name): text for name, text in self.reasons.items()},
        )

    def with_step(self, name: str, reason: str | None) -> "Followed":
        """The same, with one more step that is followed, or held for a reason."""
        if reason is not None:
            return self.holding({name: reason})
        return self._replace(followed_steps=[*self.followed_steps, name])

    def holding(self, reasons: Mapping[str, str]) -> "Followed":
        """The same, with more that is held, or held for other reasons."""
        new = [name for name in reasons if name not in self.reasons]
        return self._replace(
            followed_steps=[s for s in self.followed_steps if s not in new],
            held_steps=[*self.held_steps, *new],
            reasons={**self.reasons, **reasons},
        )


NOTHING_FOLLOWED = Followed(None, [], [], {})


class _Unseen(NamedTuple):
    """The state of a step that rows decide, and its own output."""

    name: str
    state: AbstractState
    columns: AbstractColumns

    def is_decided_by(self, rows: np.ndarray) -> bool:
        """Whether a group decides more than a shift and a scale."""
        ratio, _ = self.state.without_group(self.columns.block(rows), rows)
        return bool(np.isnan(to_numpy(ratio)).any())


@final
@dataclass(frozen=True, eq=False)
class Following(AbstractFollowing):
    """Steps that move columns of the output, each column by one of them."""

    source: AbstractSource
    parts: tuple[Part, ...]
    unseen: tuple[_Unseen, ...] = ()
    fills: AbstractFills | None = None

    @property
    def moving(self) -> np.ndarray:
        """Whether a column ever moves, (p,) bool, on the host."""
        moving = np.zeros(self.source.shape[1], dtype=bool)
        for part in self.parts:
            moving[part.columns] = True
        return moving

    @property
    def norms(self) -> tuple[Norm, ...]:
        parts = [part for part in self.parts if part.norm is not None]
        return tuple(Norm(part.columns, part.norm or 1) for part in parts)

    def without(self, rows: Rows) -> Affine:
        indices, X = read_rows(self.source, rows)
        answers = [
            part.state.without(self._of(X, part, rows), indices) for part in self.parts
        ]
        return self._together(answers, 1.0, X)

    def changes(self, rows: Rows) -> Any:
        indices, X = read_rows(self.source, rows)
        answers = [
            part.state.changes(self._of(X, part, rows), indices) for part in self.parts
        ]
        return self._side_by_side(answers, 0.0, X)

    def without_group(self, rows: Array) -> Affine:
        rows, X = read_rows(self.source, rows)
        answers = [
            part.state.without_group(self._of(X, part, rows), rows)
            for part in self.parts
        ]
        affine, left = self._together(answers, 1.0, X[:1, :]), to_numpy(rows)
        if any(step.is_decided_by(left) for step in self.unseen):
            return Affine(*(np.nan * each for each in affine))
        return affine

    def derivative(self, rows: Rows) -> Affine:
        indices, X = read_rows(self.source, rows)
        answers = [
            part.state.derivative(self._of(X, part, rows), indices)
            for part in self.parts
        ]
        return self._together(answers, 0.0, X)

    def decides(self) -> np.ndarray | None:
        steps: list[Part | _Unseen] = [*self.parts, *self.unseen]
        known = [each.rows for step in steps if (each := step.state.decides())]
        return np.any(known, axis=0) if known else None

    def _of(self, X: Any, part: Part, rows: Any) -> Any:
        """Columns of one step, as the step itself gives them; NaN if it has seen none."""
        X = own_columns(X, part.columns, part.factor)
        return X if part.gaps is None else observed(X, part.gaps, rows)

    def _together(self, answers: list[Affine], ratio: float, X: Any) -> Affine:
        """Answers of all steps side by side; columns that stay have this ratio."""
        shifts = [
            answer.shift if part.factor is None
            else answer.shift * like(part.factor, answer.shift)
            for answer, part in zip(answers, self.parts, strict=True)
        ]  # fmt: skip
        ratios = [answer.ratio for answer in answers]
        return Affine(
            self._side_by_side(ratios, ratio, X), self._side_by_side(shifts, 0.0, X)
        )

    def _side_by_side(self, values: list[Any], of_others: float, X: Any) -> Any:
        """Values of the columns of all steps (b, p); columns that stay have another."""
        if not values:
            return array_namespace(X).zeros_like(X) + of_others
        columns = np.concatenate([part.columns for part in self.parts])
        width = self.source.shape[1]
        if np.array_equal(columns, np.arange(width)):
            return _beside(values)
        xp = array_namespace(values[0])
        zeros = xp.zeros_like(values[0][:, :1])
        # Behind the last of the steps' columns stands one for all that stay.
        place = np.full(width, len(columns))
        place[columns] = np.arange(len(columns))
        index = like(place, zeros, xp.int64)
        return xp.take(_beside([*values, zeros + of_others]), index, axis=1)


def _beside(arrays: list[Any]) -> Any:
    if len(arrays) == 1:
        return arrays[0]
    return array_namespace(*arrays).concat(arrays, axis=1)


def follow(
    transformer: Any,
    source: AbstractSource,
    weights: Mapping[str, Any],
    *,
    absorbs_shifts: bool,
    mode: str = "auto",
    X: Any = None,
) -> Followed:
    """Follow what the steps of a fitted transformer learn as rows leave.

    Parameters
    ----------
    transformer : fitted transformer or None
        Usually a Pipeline; ColumnTransformer, FeatureUnion and Pipeline may be nested.
    source : AbstractSource
        Its output for all training rows, (n, p), all columns in use.
    weights : mapping of str to array of shape (n,)
        What ``fit`` passed to its steps, as ``{"standardscaler__sample_weight": w}``.
    absorbs_shifts : bool
        Whether the model behind has an intercept that is free to take up shifts.
    mode : {"auto", "held", "refitted"}
        "held" follows nothing. "refitted" follows what "auto" does: whoever asks for it
        refuses the steps that are held.
    X : array, frame, sparse matrix, list of texts or None, default=None
        The rows as the transformer is given them, n rows on the host, where deletions of
        few of them may be answered by refits: then a step is followed that changes other
        columns only without ``most_refits(n)`` rows at most. Where they are not given,
        steps that fill gaps are held.

    Returns
    -------
    followed : Followed
        Every step that could learn something is followed or held, never both.
    """
    if transformer is None:
        return NOTHING_FOLLOWED
    held: dict[str, str] = {}
    given = None if X is None else Given(lambda: X)
    trace = Trace(held, absorbs_shifts)
    trace.through(transformer, "", None, source.shape[1], given)
    if mode == "held":
        reasons = dict.fromkeys(trace.names, AS_ASKED)
        return Followed(None, [], list(reasons), reasons)
    notes = {
        step.name: gaps_in(step.transformer, step.given.rows)
        for step in trace.filling
        if step.given is not None
    }
    has_gaps = {name: np.any(mask, axis=0) for name, mask in notes.items()}
    made = Parts(source, weights, notes)
    while True:
        trace = Trace(held, absorbs_shifts, has_gaps)
        out = trace.through(transformer, "", None, source.shape[1], given)
        conflicts = trace.conflicts or _unread(trace, out, source, weights)
        conflicts |= {
            step.name: "the rows that it was fitted to are not at hand"
            for step in trace.filling
            if step.name not in notes
        }
        fills: list[FilledPart] = []
        parts: list[Part] = []
        unseen: list[_Unseen] = []
        if not conflicts and out is not None:
            fills = made.of_filling(trace.filling, out)
            parts = made.of_moving(trace.moving, trace.filling, out)
            conflicts, made.reasons = made.reasons, {}
        if not conflicts:
            unseen, conflicts = _unseen(trace.unseen(out), weights, made.states)
        if not conflicts:
            most = 0 if X is None else most_refits(source.shape[0])
            conflicts = _deciding_more(most, [*parts, *unseen])
        if not conflicts:
            break
        held.update(conflicts)
    of_fills = Fills(source, tuple(fills)) if fills else None
    following = None
    if parts or unseen or fills:
        following = Following(source, tuple(parts), tuple(unseen), of_fills)
    followed = [name for name in trace.names if name not in held]
    reasons = {name: held[name] for name in trace.names if name in held}
    gaps = reader = None
    filling = [name for name in notes if name not in held]
    if filling:
        columns, features = _filled(trace, out)
        reader = GapReader(transformer, filling, columns, features)
        gaps = reader.of_notes(notes, source.place) if columns else None
    return Followed(following, followed, list(reasons), reasons, reader, gaps)


def _filled(
    trace: Trace, out: Origins | None
) -> tuple[list[tuple[str, int]], np.ndarray]:
    """Columns that steps fill: step and its input column, and where they come out."""
    if out is None:
        return [], np.zeros(0, dtype=int)
    features = np.flatnonzero(out.fill != STILL)
    features = features[np.argsort(out.fill[features], kind="stable")]
    names = [trace.filling[k].name for k in out.fill[features]]
    return list(zip(names, out.filled[features].tolist(), strict=True)), features


def _unread(
    trace: Trace,
    out: Origins | None,
    source: AbstractSource,
    weights: Mapping[str, Any],
) -> dict[str, str]:
    """Steps whose weights or columns cannot be read."""
    steps = {step.name: step for step in trace.moving}
    conflicts = {
        name: "it was fitted with weights, and how they move what it learns is not known"
        for name, step in steps.items()
        if name + WEIGHT in weights and not step.rule.takes_weights  # type: ignore[union-attr]
    }
    if out is not None and len(out.step) != source.shape[1]:
        reason = "it is not known which of the columns are its own"
        conflicts |= dict.fromkeys(steps, reason)
    return conflicts


def _unseen(
    steps: list[Step],
    weights: Mapping[str, Any],
    states: dict[tuple[str, str, bytes], Any],
) -> tuple[list[_Unseen], dict[str, str]]:
    """States of steps that rows decide, by their own output, or reasons against it."""
    unseen, reasons = [], {}
    for name, fitted, rule, given in steps:
        if given is None:
            reasons[name] = "some rows may decide what it makes, which is out of sight"
            continue
        source = source_of(_numbers(given.after(fitted).rows))
        columns = columns_of(source, np.arange(source.shape[1]))
        try:
            if (name, "", b"") not in states:
                step = StepColumns(columns, np.arange(source.shape[1]), given)
                weight = weights.get(name + WEIGHT)
                states[name, "", b""] = rule.state(fitted, step, weight)  # type: ignore[union-attr, misc]
        except NotFollowed as reason:
            reasons[name] = str(reason)
            continue
        unseen.append(_Unseen(name, states[name, "", b""], columns))
    return unseen, reasons


def _numbers(Z: Any) -> Any:
    """Rows that a step makes, where they are numbers; else a column of zeros."""
    if issparse(Z):
        return Z
    Z = np.asarray(Z)
    return Z.astype(float) if Z.dtype.kind in "biuf" else np.zeros((len(Z), 1))


def _deciding_more(most: int, parts: Sequence[Part | _Unseen]) -> dict[str, str]:
    """Steps that more rows decide, with those of the steps before them, and the reason."""
    rows: Any = False
    for part in parts:
        deciding = part.state.decides()
        if deciding is None:
            continue
        rows = rows | deciding.rows
        n_rows = np.count_nonzero(rows)
        if n_rows > most:
            reason = deciding.reason
            if most:
                reason += f" ({n_rows} rows decide that, and {most} may be refitted)"
            return {part.name: reason}
    return {}
