"""Which step each column of a transformer's output comes from, and through what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import FeatureUnion, Pipeline

from skinfluence.preprocessing._base import Rule
from skinfluence.preprocessing._given import Given
from skinfluence.preprocessing._registry import rule_of

# The step of columns that stay as they are when rows leave.
STILL = -1
_UNKNOWN = "a step beside it does not tell how many columns it makes"


class Origins(NamedTuple):
    """For each of some columns: steps that move or fill it, and what became of it since."""

    step: np.ndarray  # (p,) position among the steps that move, or STILL
    own: np.ndarray  # (p,) which of the step's output columns it is
    factor: np.ndarray  # (p,) what it was multiplied by
    fill: np.ndarray  # (p,) position among the steps that fill, or STILL
    filled: np.ndarray  # (p,) which of its input columns it is
    over: np.ndarray  # (p,) bool: it is moved by a step behind the one that fills

    def take(self, columns: Any) -> "Origins":
        """Those of some columns."""
        return Origins(*(each[columns] for each in self))

    @property
    def moving(self) -> list[int]:
        """Steps that move any of the columns."""
        return _positions(self.step)

    @property
    def filling(self) -> list[int]:
        """Steps that fill any of the columns."""
        return _positions(self.fill)


def _positions(steps: np.ndarray) -> list[int]:
    return [int(each) for each in np.unique(steps) if each != STILL]


def _still(n_columns: int) -> Origins:
    still, zeros = np.full(n_columns, STILL), np.zeros(n_columns, dtype=int)
    ones, never = np.ones(n_columns), np.zeros(n_columns, dtype=bool)
    return Origins(still, zeros, ones, still.copy(), zeros.copy(), never)


def _beside(parts: Sequence[Origins]) -> Origins:
    return Origins(*(np.concatenate(each) for each in zip(*parts, strict=True)))


class Step(NamedTuple):
    """A step, the name that ``get_params`` gives it, and its rule or why it has none."""

    name: str
    transformer: Any
    rule: Rule | str
    given: Given | None  # the rows that it was given, where they are at hand

    @property
    def stays(self) -> bool:
        """Whether its columns stay but for rows that decide, which its own rows tell."""
        rule, knows = self.rule, self.given is not None
        return knows and isinstance(rule, Rule) and rule.decides and not rule.moves


@dataclass
class Trace:
    """One walk through a transformer, some steps of which are held by their names.

    Columns are None where all of them are still, however many there are. ``conflicts``
    are reasons why further steps have to be held; with any, nothing else is valid.
    """

    held: dict[str, str]
    shiftable: bool  # the model has an intercept that takes up shifts
    # Input columns of steps that have gaps to fill in the training rows, bool; where it is
    # not known, all of them.
    gaps: dict[str, Any] = field(default_factory=dict)
    moving: list[Step] = field(default_factory=list)
    filling: list[Step] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of all steps, in their order
    conflicts: dict[str, str] = field(default_factory=dict)

    def through(
        self,
        transformer: Any,
        name: str,
        columns: Origins | None,
        n_out: int | None,
        given: Given | None,
    ) -> Origins | None:
        """Where the output columns of a transformer come from."""
        if transformer is None or isinstance(transformer, str):  # "passthrough"
            return columns
        if isinstance(transformer, Pipeline):
            return self._through_chain(transformer, name, columns, n_out, given)
        if isinstance(transformer, ColumnTransformer):
            return self._through_parts(transformer, name, columns, given)
        if isinstance(transformer, FeatureUnion):
            return self._through_union(transformer, name, columns, n_out, given)
        return self._through_step(transformer, name, columns, n_out, given)

    def _through_chain(
        self,
        chain: Pipeline,
        name: str,
        columns: Origins | None,
        n_out: int | None,
        given: Given | None,
    ) -> Origins | None:
        last = len(chain.steps) - 1
        for k, (own, step) in enumerate(chain.steps):
            inner = n_out if k == last else None
            columns = self.through(step, _joined(name, own), columns, inner, given)
            if given is not None and step is not None and step != "passthrough":
                given = given.after(step)
        return columns

    def _through_parts(
        self,
        parts: ColumnTransformer,
        name: str,
        columns: Origins | None,
        given: Given | None,
    ) -> Origins | None:
        places = parts.output_indices_
        out = _still(max(place.stop for place in places.values()))
        weights = parts.transformer_weights or {}
        for own, step, selected in parts.transformers_:
            place = places[own]
            n_out = place.stop - place.start
            if step == "drop" or not n_out:
                continue
            which, taken, rows = _indices(parts, selected), columns, given
            if columns is not None:
                taken = columns.take(which)
            if given is not None:
                rows = given.columns(which, single=isinstance(selected, str | int))
            part = self.through(step, _joined(name, own), taken, n_out, rows)
            if part is not None and len(part.step) != n_out:
                self._hold(part, _UNKNOWN)
            elif part is not None:
                part = _weighted(part, weights.get(own))
                for values, new in zip(out, part, strict=True):
                    values[place] = new
        return out

    def _through_union(
        self,
        union: FeatureUnion,
        name: str,
        columns: Origins | None,
        n_out: int | None,
        given: Given | None,
    ) -> Origins | None:
        members = [
            (own, step) for own, step in union.transformer_list if step != "drop"
        ]
        widths = _widths([step for _, step in members], columns, n_out)
        weights, outs = union.transformer_weights or {}, []
        for (own, step), width in zip(members, widths, strict=True):
            part = self.through(step, _joined(name, own), columns, width, given)
            outs.append(None if part is None else _weighted(part, weights.get(own)))
        if all(part is None for part in outs):
            return None
        pairs = list(zip(outs, widths, strict=True))
        if any(part is None and width is None for part, width in pairs):
            for part in outs:
                self._hold(part, _UNKNOWN)
            return None
        parts = [_still(width or 0) if part is None else part for part, width in pairs]
        return _beside(parts)

    def _through_step(
        self,
        transformer: Any,
        name: str,
        columns: Origins | None,
        n_out: int | None,
        given: Given | None,
    ) -> Origins | None:
        if _passes(transformer):
            return columns
        rule = self._rule(transformer, name)
        step = Step(name, transformer, rule, given)
        if isinstance(rule, Rule) and rule.fills:
            return self._through_filling(step, columns)
        if isinstance(transformer, SelectorMixin):
            # The columns that it has chosen come through; it is held, or rows decide.
            if isinstance(rule, Rule) and self._changes_before(columns, rule):
                self.held[name] = "a step before it moves what it chooses by"
            elif isinstance(rule, Rule):
                self.moving.append(step)
            chosen = transformer.get_support(indices=True)
            return None if columns is None else columns.take(chosen)
        after = f"{type(transformer).__name__} after it"
        if isinstance(rule, str):
            self._hold(columns, f"{after} is held as it was fitted")
        elif not _is_columnwise(rule):
            self._hold(columns, f"{after} mixes or bends its columns")
        elif columns is not None:
            for k in columns.moving:
                if not _absorbed(self.moving[k].rule, rule):
                    part = columns.take(columns.step == k)
                    self._hold(part, f"{after} keeps a part of how its columns move")
            if not (rule.ignores_fills or rule.averages_fills):
                self._hold_filling(columns, f"what {after} learns of gaps is not known")
        if isinstance(rule, str) or rule.state is None:
            return None
        bends = rule.decides or not _is_columnwise(rule)
        width = n_out if bends else transformer.n_features_in_
        if width is None:
            width = _n_outputs(transformer)
        if width is None:
            self.conflicts[name] = "it does not tell how many columns it makes"
            return None
        self.moving.append(step)
        before = _still(width)
        if columns is not None and not bends:
            before = columns
        return before._replace(
            step=np.full(width, len(self.moving) - 1),
            own=np.arange(width),
            factor=np.ones(width),
            over=before.fill != STILL,
        )

    def _through_filling(self, step: Step, columns: Origins | None) -> Origins | None:
        """Columns with a value of their own come through, those of its indicator last."""
        kept = _with_value(step.transformer)
        if columns is None:
            columns = _still(step.transformer.n_features_in_)
        filled = columns.take(kept)
        every = np.ones(len(columns.step), dtype=bool)
        has_gaps = self.gaps.get(step.name, every)[kept]
        if step.rule.decides:  # type: ignore[union-attr]
            self.moving.append(step)
        elif np.any(has_gaps):
            self.filling.append(step)
            place = np.where(has_gaps, len(self.filling) - 1, filled.fill)
            of_input = np.where(has_gaps, kept, filled.filled)
            filled = filled._replace(fill=place, filled=of_input)
        indicator = getattr(step.transformer, "indicator_", None)
        n_more = 0 if indicator is None else len(indicator.features_)
        return _beside([filled, _still(n_more)])

    def _changes_before(self, columns: Origins | None, rule: Rule) -> bool:
        """Whether columns move before a step, in a way that it minds."""
        steps = [] if columns is None else [self.moving[k] for k in columns.moving]
        fills = columns is not None and bool(columns.filling)
        stays = (each.stays or _absorbed(each.rule, rule) for each in steps)
        return fills or not all(stays)

    def _rule(self, transformer: Any, name: str) -> Rule | str:
        """The rule of a step, or why it is held, which is noted."""
        self.names.append(name)
        if name in self.held:
            return self.held[name]
        rule = rule_of(transformer)
        if isinstance(rule, Rule) and rule.shifts and not self.shiftable:
            rule = "the model has no intercept to take up the shift of its columns"
        if isinstance(rule, str):
            self.held[name] = rule
        return rule

    def _hold(self, columns: Origins | None, reason: str) -> None:
        """Hold steps whose columns move; those that few rows decide are seen elsewhere."""
        for k in [] if columns is None else columns.moving:
            if not self.moving[k].stays:
                self.conflicts.setdefault(self.moving[k].name, reason)
        self._hold_filling(columns, reason)

    def _hold_filling(self, columns: Origins | None, reason: str) -> None:
        for k in [] if columns is None else columns.filling:
            self.conflicts.setdefault(self.filling[k].name, reason)

    def unseen(self, out: Origins | None) -> list[Step]:
        """Steps that rows decide, of which no column comes out as the step makes it."""
        seen = [] if out is None else out.moving
        return [
            step
            for k, step in enumerate(self.moving)
            if k not in seen and step.rule.decides  # type: ignore[union-attr]
        ]


def _with_value(imputer: Any) -> np.ndarray:
    """Input columns that an imputer has something to fill with, which are kept."""
    values = np.asarray(imputer.statistics_, dtype=object)
    empty = np.array([each is None or each != each for each in values], dtype=bool)
    return np.flatnonzero(~empty | imputer.keep_empty_features)


def _joined(*names: str) -> str:
    return "__".join(name for name in names if name)


def _passes(transformer: Any) -> bool:
    """Whether columns come out as they come in, as those of "passthrough" do."""
    rule = rule_of(transformer)
    return isinstance(rule, Rule) and rule.passes


def _is_columnwise(rule: Rule) -> bool:
    return rule.absorbs_shifts or rule.absorbs_scales


def _absorbed(before: Rule | str, rule: Rule) -> bool:
    """Whether a step undoes what a step before it does to columns."""
    if isinstance(before, str) or before.norm or not (before.shifts or before.scales):
        return False
    shifts = rule.absorbs_shifts or not before.shifts
    return shifts and (rule.absorbs_scales or not before.scales)


def _weighted(part: Origins, weight: float | None) -> Origins:
    if weight is None:
        return part
    if not weight:
        return _still(len(part.step))
    return part._replace(factor=part.factor * weight)


def _indices(parts: ColumnTransformer, selected: Any) -> np.ndarray:
    """Input columns of one part of a ColumnTransformer, by position."""
    names = list(getattr(parts, "feature_names_in_", []))
    every = np.arange(parts.n_features_in_)
    if isinstance(selected, slice) and isinstance(selected.start or selected.stop, str):
        first = 0 if selected.start is None else names.index(selected.start)
        last = len(names) if selected.stop is None else names.index(selected.stop) + 1
        return every[first : last : selected.step]
    if isinstance(selected, str):
        selected = [selected]
    if not isinstance(selected, slice | int):
        selected = [
            names.index(each) if isinstance(each, str) else each for each in selected
        ]
    return np.atleast_1d(every[selected])


def _widths(
    steps: list[Any], columns: Origins | None, n_out: int | None
) -> list[int | None]:
    """Output columns of each step; of a single one that does not tell, by the total."""
    widths = [_n_outputs(step, columns) for step in steps]
    if n_out is not None and widths.count(None) == 1:
        known = sum(width for width in widths if width is not None)
        widths[widths.index(None)] = n_out - known
    return widths


def _n_outputs(transformer: Any, columns: Origins | None = None) -> int | None:
    """Output columns of a fitted transformer, if it tells."""
    if isinstance(transformer, str) and columns is not None:  # "passthrough"
        return len(columns.step)
    try:
        return len(transformer.get_feature_names_out())
    except (AttributeError, ValueError, NotImplementedError):
        return None
