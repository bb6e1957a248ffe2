"""A table divided into features and target, its rows numbered as in the file."""

from dataclasses import dataclass

import numpy as np

from skinfluence.cli._console import Console
from skinfluence.cli._errors import UsageError, missing_column, plural
from skinfluence.cli._features import texts
from skinfluence.cli._table import Column, Table
from skinfluence.cli._task import is_number

FEWEST_ROWS = 3
YES, NO = {"1", "true", "yes", "y", "t"}, {"0", "false", "no", "n", "f", ""}


@dataclass(frozen=True)
class Data:
    """Rows that a model is fitted to or tested on.

    Parameters
    ----------
    source : str
        Path of the file.
    n_read : int
        Rows in the file, those without a target included.
    table : pandas.DataFrame
        The rows used, as they were read; its index is the 0-based row in the file.
    X : pandas.DataFrame
        Their features, as a model takes them.
    y : ndarray of shape (n,)
        Their target, as a model takes it.
    weight : ndarray of shape (n,) or None
        Their weights; None if all are 1.
    groups : ndarray of str of shape (n,) or None
        The group of each row.
    """

    source: str
    n_read: int
    table: Table
    X: Table
    y: np.ndarray
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def rows(self) -> np.ndarray:
        """0-based row in the file, shape (n,)."""
        return self.table.index.to_numpy()

    def __len__(self):
        return len(self.y)


def with_target(table: Table, source: str, target: str, console: Console) -> Table:
    """Rows that have a target; the others are counted in a note.

    Raises
    ------
    UsageError
        If there is no such column, or fewer than three rows have a target.
    """
    if target not in table.columns:
        raise UsageError(missing_column(source, target, table.columns))
    missing = table[target].isna()
    if is_number(table[target]):
        missing |= np.isinf(table[target].to_numpy(dtype=float, na_value=np.nan))
    count, left = int(missing.sum()), int((~missing).sum())
    if left < FEWEST_ROWS:
        raise UsageError(
            f"{source} has {plural(left, 'row')} with a value in '{target}' (of "
            f"{len(table)}); at least {FEWEST_ROWS} are needed."
        )
    if count:
        rows = plural(count, "row")
        console.note(f"dropped {rows} of {source} with no value in '{target}'")
    return table[~missing]


def weights_of(column: Column, source: str) -> np.ndarray:
    """Weights of the rows: numbers, none below 0.

    Raises
    ------
    UsageError
        If a cell is not such a number.
    """
    import pandas as pd

    values = pd.to_numeric(column.astype(object), errors="coerce")
    bad = ~(np.isfinite(values.to_numpy(dtype=float)) & (values >= 0).to_numpy())
    if bad.any():
        row = column.index[np.argmax(bad)]
        raise UsageError(
            f"The weights '{column.name}' of {source} must be numbers, 0 or more; row "
            f"{row} holds '{column[row]}'."
        )
    return values.to_numpy(dtype=float)


def groups_of(column: Column) -> np.ndarray:
    """Group of each row as text; rows without one are a group of their own kind."""
    return texts(column).fillna("(none)").to_numpy(dtype=str)


def truths_of(column: Column, source: str) -> np.ndarray:
    """Truth values: 1, true, yes, y, t; 0, false, no, n, f and empty.

    Raises
    ------
    UsageError
        If a cell is neither.
    """
    words = texts(column).fillna("").str.strip().str.lower()
    yes, no = words.isin(YES), words.isin(NO)
    if not (yes | no).all():
        row = column.index[np.argmin(yes | no)]
        raise UsageError(
            f"'{column.name}' of {source} must say yes or no (also true, 1; false, 0 or "
            f"nothing); row {row} holds '{column[row]}'."
        )
    return yes.to_numpy()
