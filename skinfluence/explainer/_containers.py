"""Answers as tables that keep the user's labels."""

from typing import Any

from skinfluence._array import to_numpy
from skinfluence.exceptions import MissingDependencyError


def in_container(kind: str, values: Any, columns: list[str], index: Any = None) -> Any:
    """Values (m, n) or (n,) with names for the n columns, as "pandas" or "polars".

    "default" leaves the array as it is. Of (n,) values pandas makes a Series, polars a
    frame of one row, since its series have no labels.
    """
    if kind == "default":
        return values
    table = to_numpy(values)
    if kind == "pandas":
        pandas = _imported("pandas")
        if table.ndim == 1:
            return pandas.Series(table, index=columns)
        return pandas.DataFrame(table, index=index, columns=columns)
    rows = table.reshape(-1, len(columns))
    return _imported("polars").DataFrame(rows, schema=columns, orient="row")


def _imported(library: str) -> Any:
    try:
        return __import__(library)
    except ImportError as error:
        raise MissingDependencyError(
            f"set_output(transform={library!r}) needs {library}: pip install {library}."
        ) from error
