"""Frames of numbers as columns, none of them copied."""

import sys
from typing import Any

import numpy as np


def numeric_columns(X: Any) -> tuple[np.ndarray, ...] | None:
    """Columns of a frame of pandas or polars as arrays, each of its own type.

    None for anything else: a frame of other columns, or one that pandas keeps in a single
    array, which is read like any array.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        if not all(isinstance(dtype, np.dtype) for dtype in X.dtypes):
            return None
        columns = tuple(X.iloc[:, j].to_numpy() for j in range(X.shape[1]))
        owners = {id(column.base) for column in columns}
        if len(owners) == 1 and columns[0].base is not None:
            return None
    elif polars is not None and isinstance(X, polars.DataFrame):
        if not all(dtype.is_numeric() for dtype in X.dtypes):
            return None
        columns = tuple(column.to_numpy() for column in X.get_columns())
    else:
        return None
    numeric = all(column.dtype.kind in "fiub" for column in columns)
    return columns if numeric and 0 not in X.shape else None
