"""Which entries the imputers inside a transformer fill in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from sklearn.impute import MissingIndicator, SimpleImputer

from skinfluence._array import moved
from skinfluence._following import Gaps
from skinfluence._warn import listed, warn
from skinfluence.exceptions import PreprocessingDeletionWarning
from skinfluence.preprocessing._given import Given
from skinfluence.preprocessing._trace import Trace


def gaps_in(imputer: SimpleImputer, X: Any) -> np.ndarray:
    """Where the rows that an imputer is given have gaps, (n, features) bool."""
    seen = MissingIndicator(
        missing_values=imputer.missing_values, features="all", sparse=False
    )
    return np.asarray(seen.fit_transform(X), dtype=bool)


@final
@dataclass(frozen=True, eq=False)
class GapReader:
    """Reads which entries of the output of a transformer its imputers fill in."""

    transformer: Any
    names: list[str]  # of the imputers that are followed
    columns: list[tuple[str, int]]  # (q,) imputer, and input column of it, of each
    features: np.ndarray  # (q,) where these are in the output

    def gaps(self, X: Any, place: Any) -> Gaps:
        """Gaps of rows as the user gives them, of columns that have any.

        Beside an array.
        """
        trace = Trace({}, True)
        trace.through(self.transformer, "", None, None, Given(lambda: X))
        notes = {
            step.name: gaps_in(step.transformer, step.given.rows)
            for step in trace.filling
            if step.name in self.names and step.given is not None
        }
        self._warn_of_new(notes)
        return self.of_notes(notes, place)

    def _warn_of_new(self, notes: Mapping[str, np.ndarray]) -> None:
        """Warn of gaps in columns that have none in the training rows."""
        new = []
        for name, mask in notes.items():
            known = [j for step, j in self.columns if step == name]
            if np.delete(mask, known, axis=1).any():
                new.append(name)
        if new:
            warn(
                f"X has gaps where the training rows have none: what {listed(new)} "
                "fills in there is held as it was fitted.",
                PreprocessingDeletionWarning,
            )

    def of_notes(self, notes: Mapping[str, np.ndarray], place: Any) -> Gaps:
        """The same where the input's gaps are at hand."""
        masks = [notes[name][:, j] for name, j in self.columns]
        which = np.flatnonzero([mask.any() for mask in masks])
        n_rows = len(next(iter(notes.values())))
        some = [masks[k] for k in which]
        mask = (
            np.ascontiguousarray(np.stack(some, axis=1))
            if some
            else np.zeros((n_rows, 0), dtype=bool)
        )
        return Gaps(moved(mask, place), which, self.features[which])
