"""Features of a table as a model can take them: numbers, and text for categories."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from skinfluence.cli._console import Console
from skinfluence.cli._errors import UsageError, listed, missing_column, plural
from skinfluence.cli._table import Column, Table

# Text that is different in more than half of the rows names them: nothing that a model
# could learn from one row for another. Few different values are always allowed.
NAMES_FROM = 20
# A column of more different numbers than that may hold some text, such as "n/d", that
# only means "missing".
MOST_STRAYS = 0.1


@dataclass(frozen=True)
class Features:
    """Which columns of a table a model uses, and how.

    Parameters
    ----------
    numeric, categorical : tuple of str
        Names of the columns.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, numeric ones first."""
        return self.numeric + self.categorical

    @classmethod
    def of(
        cls, table: Table, *, without: Collection[str], console: Console
    ) -> "Features":
        """Choose the columns of a training table; say which are left out and why.

        Parameters
        ----------
        table : pandas.DataFrame
            The training rows.
        without : collection of str
            The target, and columns that the user does not want.
        console : Console
            Is told about columns that are left out.
        """
        numeric, categorical, left_out = [], [], []
        for name in table.columns:
            if name in without:
                continue
            column = table[name]
            if reason := _useless(column):
                left_out.append(f"'{name}' ({reason})")
            elif is_numeric(column):
                numeric.append(name)
            else:
                categorical.append(name)
        if left_out:
            columns = plural(len(left_out), "column")
            console.note(f"left out {columns}: {listed(left_out)}")
        if not numeric and not categorical:
            raise UsageError(
                "No usable column is left besides the target; the table needs a column "
                "that takes several values."
            )
        return cls(tuple(numeric), tuple(categorical))

    def frame(self, table: Table, source: str, console: Console) -> Table:
        """Return these columns of a table: float64, or str with NaN where missing."""
        import pandas as pd

        for name in self.names:
            if name not in table.columns:
                raise UsageError(missing_column(source, name, table.columns))
        columns = {name: _floats(table[name], source, console) for name in self.numeric}
        columns |= {name: texts(table[name]) for name in self.categorical}
        return pd.DataFrame(columns, index=table.index)


def is_numeric(column: Column) -> bool:
    """Whether a column holds numbers, truth values, dates or durations.

    A few cells of text do not make it categorical, if the others are many numbers.
    """
    import pandas as pd

    # A category that is written as a number is still a category.
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_numeric_dtype(column) or _is_time(column):
        return True
    values = column.dropna()
    parsed = pd.to_numeric(values.astype(object), errors="coerce")
    few = parsed.isna().sum() <= MOST_STRAYS * len(values)
    return bool(few and parsed.nunique() > NAMES_FROM)


def texts(column: Column) -> Column:
    """Values as str, NaN where missing; 1 and 1.0 are both ``1``."""
    values = column.astype(object)
    filled = values.map(text_of, na_action="ignore").astype(object)
    return filled.where(column.notna(), np.nan)


def text_of(value: object) -> str:
    """Print a value as a category."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def stray_text(column: Column) -> str:
    """Name the first cell of a column that is no number, if other cells are."""
    import pandas as pd

    bad = pd.to_numeric(column.astype(object), errors="coerce").isna().to_numpy()
    if not 0 < bad.sum() < len(column):
        return ""
    first = int(np.flatnonzero(bad)[0])
    cells = plural(int(bad.sum()), "cell is not a number", "cells are not numbers")
    return f"{cells} (row {column.index[first]} holds '{column.iloc[first]}')"


def _is_time(column: Column) -> bool:
    import pandas as pd

    types = pd.api.types
    is_date = types.is_datetime64_any_dtype(column)
    return is_date or types.is_timedelta64_dtype(column)


def _useless(column: Column) -> str:
    values = column.dropna()
    if not len(values):
        return "no values"
    numeric = is_numeric(column)
    different = (values if numeric else values.astype(str)).nunique()
    if different == 1:
        return "one value only"
    if not numeric and different > max(NAMES_FROM, len(values) / 2):
        return f"text, {different} different values in {len(values)} rows"
    return ""


def _floats(column: Column, source: str, console: Console) -> np.ndarray:
    if _is_time(column):
        values = _seconds(column)
    else:
        values = _parsed(column, source, console)
    infinite = np.isinf(values)
    if infinite.any():
        count = plural(int(infinite.sum()), "infinite value")
        console.note(f"{source}, column '{column.name}': {count}, taken as missing")
    return np.where(infinite, np.nan, values)


def _seconds(column: Column) -> np.ndarray:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        column = pd.to_datetime(column, utc=True) - pd.Timestamp(0, tz="UTC")
    return column.dt.total_seconds().to_numpy(dtype=float, na_value=np.nan)


def _parsed(column: Column, source: str, console: Console) -> np.ndarray:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    values = pd.to_numeric(column, errors="coerce")
    if stray := stray_text(column.dropna()):
        console.note(f"{source}, column '{column.name}': {stray}, taken as missing")
    elif values.isna().all() and column.notna().any():
        raise UsageError(
            f"'{column.name}' holds numbers in the training data, but {source} holds "
            f"text, such as '{column.dropna().iloc[0]}'."
        )
    return values.to_numpy(dtype=float, na_value=np.nan)
