"""Deletions without an answer: one warning in bulk, an error when asked by name.

Questions note the flags of what they delete; ``listening`` says it once, at their end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence import exceptions
from skinfluence._array import Rows, to_numpy
from skinfluence._warn import listed, warn
from skinfluence.deletion import Deltas
from skinfluence.solvers import AbstractSolver


class _Verdict(NamedTuple):
    """What one kind of flag means, and whether a delta exists all the same."""

    text: str  # with the names of what was deleted
    category: type[Warning]
    error: type[exceptions.SkinfluenceError] | None = None  # where it was named
    lacks: str = ""  # what such rows have
    answer: str = ""  # what is given in bulk all the same


_VERDICTS = {
    "unidentified": _Verdict(
        "{}: the other rows do not determine the model. Penalise the model, "
        "drop the features that only these rows carry, or use deletion='jackknife', "
        "which never deletes.",
        exceptions.UnidentifiedDeletionWarning,
        exceptions.UnidentifiedDeletionError,
        "leverage 1",
        " What the others leave open is of minimum norm, as in scikit-learn's refit of "
        "LinearRegression.",
    ),
    "unbounded": _Verdict(
        "{}: a class is absent from the other rows, whose intercept then falls without "
        "end whatever the penalty (its left-out probability is 0), or the classes can be "
        "separated and nothing is penalised (then a finite C helps). "
        "deletion='jackknife' never deletes.",
        exceptions.SeparableDeletionWarning,
        exceptions.SeparableDataError,
        "no finite refit",
        " The deltas are NaN.",
    ),
    "late": _Verdict(
        "{} did not converge: the error is larger than that of others. With "
        "deletion='exact', raise max_iter, and see error_bound of loo_params; those of "
        "'halley' have kept their Newton step: use 'exact'.",
        exceptions.NotConvergedWarning,
    ),
    "doubtful": _Verdict(
        "{} cannot be vouched for: one step may end far from the refit there, and the "
        "bound of its error is as large as the delta. Use deletion='exact'.",
        exceptions.DoubtfulDeletionWarning,
    ),
    "missed_changes": _Verdict(
        "{} would change the active set: a coefficient would become "
        "zero, or cease to be, which the deltas do not see. Fit with deletion='exact', "
        "which follows the change; loo_params().active_set_changes tells which rows.",
        exceptions.ActiveSetWarning,
    ),
}


@final
class Verdicts:
    """The flags of deletions so far, by kind and by the name of what was deleted."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {kind: [] for kind in _VERDICTS}
        self._groups: dict[str, list[str]] = {kind: [] for kind in _VERDICTS}
        self._answered: list[Any] = []

    def answered(self, labels: Sequence[Any]) -> None:
        """Take no note of these rows, or groups, for which something else answers."""
        self._answered = list(labels)

    def note_rows(self, rows: Rows, deltas: Deltas) -> None:
        """Take note of deletions of single rows, by a slice or indices."""
        self._note(_indices(rows), deltas, self._rows)

    def note_groups(self, names: Sequence[str], deltas: Deltas) -> None:
        """Take note of deletions of groups, by their names."""
        self._note(np.asarray(names, dtype=object), deltas, self._groups)

    def _note(self, labels: np.ndarray, deltas: Deltas, noted: dict[str, list]) -> None:
        for kind, mask in _flags(deltas).items():
            if mask is not None:
                labelled = labels[mask].tolist()
                noted[kind] += [each for each in labelled if each not in self._answered]

    def refuse(self) -> None:
        """Raise for the first kind of row that has no delta."""
        for kind, verdict in _VERDICTS.items():
            if verdict.error is not None and (text := self._text(kind)):
                raise verdict.error(text)

    def warn(self) -> None:
        """Warn, once for each kind."""
        for kind, verdict in _VERDICTS.items():
            if text := self._text(kind):
                warn(text + verdict.answer, verdict.category)

    def _text(self, kind: str) -> str:
        """What is to be said of this kind; empty where nothing is."""
        rows, groups = sorted(self._rows[kind]), self._groups[kind]
        if not (rows or groups):
            return ""
        named = listed(groups)
        if rows:
            named = f"{'row' if len(rows) == 1 else 'rows'} {listed(rows)}"
        if _VERDICTS[kind].error is None:
            count = len(rows) or len(groups)
            subject = f"{count} deletion{'s' if count > 1 else ''} of {named}"
        elif rows:
            verb = "has" if len(rows) == 1 else "have"
            subject = f"{named.capitalize()} {verb} {_VERDICTS[kind].lacks}"
        else:
            start = "There is no fit without" if kind == "unbounded" else "Without"
            subject = f"{start} {named}"
        return _VERDICTS[kind].text.format(subject)


def _indices(rows: Rows) -> np.ndarray:
    if isinstance(rows, slice):
        return np.arange(rows.start, rows.stop)
    return to_numpy(rows)


def _flags(deltas: Deltas) -> dict[str, np.ndarray | None]:
    """Masks by kind of verdict; None where the deletion does not tell."""
    unbounded = to_numpy(deltas.unbounded)
    missed, converged = deltas.missed_changes, deltas.converged
    doubtful = deltas.doubtful
    return {
        "unidentified": to_numpy(deltas.unidentified),
        "unbounded": unbounded,
        "late": None if converged is None else ~to_numpy(converged) & ~unbounded,
        "doubtful": None if doubtful is None else to_numpy(doubtful),
        "missed_changes": None if missed is None else to_numpy(missed),
    }


_listening: ContextVar[Verdicts] = ContextVar("verdicts of the question being answered")


def verdicts() -> Verdicts:
    """Those of the question that is being answered."""
    return _listening.get()


@contextmanager
def listening(solver: AbstractSolver) -> Iterator[Verdicts]:
    """Collect the verdicts of a question, and say at its end what has to be said."""
    collected = Verdicts()
    token = _listening.set(collected)
    try:
        yield collected
    finally:
        _listening.reset(token)
    collected.warn()
    warn_of_residuals(solver)


def warn_of_residuals(solver: AbstractSolver) -> None:
    """Warn, once, about columns that an iterative solver could not finish."""
    residuals = solver.residuals
    if residuals is None or residuals.n_late == 0:
        return
    n_late, residuals.n_late = residuals.n_late, 0
    warn(
        f"solver={solver.name!r} stopped before its tolerance in {n_late} of "
        f"{residuals.n_columns} columns; the largest relative residual is "
        f"{residuals.largest:.1e}. Penalise more, add damping, or use solver='direct' or "
        "'dual' where their factors fit in memory.",
        exceptions.NotConvergedWarning,
    )
