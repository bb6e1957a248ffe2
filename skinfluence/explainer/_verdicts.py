"""Rows whose deletion has no answer: one warning in bulk, an error when asked by name."""

import warnings
from typing import Any

import numpy as np

from skinfluence._array import to_numpy
from skinfluence.exceptions import (
    ActiveSetWarning,
    NotConvergedWarning,
    SeparableDataError,
    SeparableDeletionWarning,
    UnidentifiedDeletionError,
    UnidentifiedDeletionWarning,
)

_SHOWN = 10


class Verdicts:
    """Collects the flags of deletions, and speaks once at the end."""

    def __init__(self) -> None:
        self.unidentified: list[int] = []
        self.unbounded: list[int] = []
        self.unconverged: list[int] = []
        self.changing: list[int] = []

    def add(
        self,
        rows: Any,
        unidentified: Any,
        unbounded: Any,
        converged: Any = None,
        changing: Any = None,
    ) -> None:
        """Take note of the flagged rows of one block (a slice or indices)."""
        if isinstance(rows, slice):
            rows = np.arange(rows.start, rows.start + unidentified.shape[0])
        rows, unbounded = to_numpy(rows), to_numpy(unbounded)
        self.unidentified += rows[to_numpy(unidentified)].tolist()
        self.unbounded += rows[unbounded].tolist()
        if converged is not None:
            late = ~to_numpy(converged) & ~unbounded
            self.unconverged += rows[late].tolist()
        if changing is not None:
            self.changing += rows[to_numpy(changing)].tolist()

    def watch(self, rows: Any, found: Any) -> None:
        """Take note of ``Deltas``."""
        self.add(
            rows,
            found.unidentified,
            found.unbounded,
            found.converged,
            found.missed_changes,
        )

    def speak(self, *, strict: bool = False) -> None:
        """Warn about the flagged rows; raise if ``strict``."""
        if self.unidentified:
            text = (
                f"{_named(self.unidentified)} leverage 1: without it, the other rows do "
                "not determine the model, so its deletion has no answer. Penalise the "
                "model, drop the feature that only this row carries, or use "
                "deletion='jackknife', which never deletes."
            )
            if strict:
                raise UnidentifiedDeletionError(text)
            warnings.warn(
                text + " Its deltas are NaN.", UnidentifiedDeletionWarning, stacklevel=4
            )
        if self.unbounded:
            text = (
                f"{_named(self.unbounded)} no finite refit: without it, the classes can "
                "be separated and the coefficients grow without end. Penalise the model "
                "(a finite C), or use deletion='newton' for one step."
            )
            if strict:
                raise SeparableDataError(text)
            warnings.warn(
                text + " Its deltas are NaN.", SeparableDeletionWarning, stacklevel=4
            )
        if self.unconverged:
            warnings.warn(
                f"{len(self.unconverged)} deletions did not converge "
                f"(rows {self.unconverged[:_SHOWN]}): their error is larger than that of "
                "the others. With deletion='exact', see error_bound of loo_params and "
                "raise max_iter; 'halley' has kept their Newton step: use 'exact'.",
                NotConvergedWarning,
                stacklevel=4,
            )
        if self.changing:
            warnings.warn(
                f"{len(self.changing)} deletions would change the active set (rows "
                f"{self.changing[:_SHOWN]}): a coefficient would become zero, or cease "
                "to be, which their deltas do not see. Fit with deletion='exact', which "
                "follows the change; loo_params().active_set_changes names the rows.",
                ActiveSetWarning,
                stacklevel=4,
            )


def _named(rows: list[int]) -> str:
    if len(rows) == 1:
        return f"Row {rows[0]} has"
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"Rows {rows[:_SHOWN]}{more} each have"
