"""What has one entry per row, in the user's own types: its rows, by their indices."""

from typing import Any

import numpy as np
from scipy.sparse import issparse


def take_rows(data: Any, rows: np.ndarray) -> Any:
    """Rows of an array, sparse matrix, frame or list by their indices, in its own type."""
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    if not hasattr(data, "shape"):
        data = np.asarray(data)
    if issparse(data):
        data = data.tocsr()
    return data[rows]


def by_row(value: Any, y: Any) -> bool:
    """Whether a piece of metadata has one entry per row."""
    return n_rows_of(value) == n_rows_of(y) != -1


def n_rows_of(values: Any) -> int:
    """Length of what holds one entry per row, -1 of a text or a single value."""
    if isinstance(values, str):
        return -1
    if hasattr(values, "__array__") and not hasattr(values, "__len__"):
        values = np.asarray(values)
    shape = getattr(values, "shape", None)
    if shape is not None:
        return shape[0] if shape else -1
    return len(values) if hasattr(values, "__len__") else -1
