"""A table from a file: CSV, compressed or not, or Parquet, through pandas."""

import difflib
from pathlib import Path
from typing import Any, TypeAlias

from skinfluence._optional import require
from skinfluence.cli._console import Console
from skinfluence.cli._errors import UsageError

# Of pandas, which is optional.
Table: TypeAlias = Any
Column: TypeAlias = Any

PARQUET = {".parquet", ".pq"}
FOREIGN = {".xlsx", ".xls", ".xlsm", ".ods", ".json", ".feather", ".sas7bdat", ".sav"}
SEPARATORS = (",", ";", "\t", "|")


def read_table(
    path: str,
    console: Console,
    *,
    sep: str | None = None,
    encoding: str = "utf-8",
    decimal: str | None = None,
) -> Table:
    """Read a table; its rows are numbered from 0 in the order of the file.

    Parameters
    ----------
    path : str
        A CSV file, possibly compressed (``.gz``, ``.bz2``, ``.xz``, ``.zip``,
        ``.zst``), or a Parquet file (``.parquet``, ``.pq``).
    console : Console
        Is told about columns that are left out.
    sep : str, optional
        Separator of a CSV file. By default that of ``, ; tab |`` which splits the
        header into most columns.
    encoding : str, default="utf-8"
        Encoding of a CSV file.
    decimal : {".", ","}, optional
        Decimal mark of a CSV file. By default the comma, if columns of a file that is
        not separated by commas look like it.

    Returns
    -------
    table : pandas.DataFrame
        At least one row and one column; index ``0..n-1``; names are strings.

    Raises
    ------
    MissingDependencyError
        If pandas is not installed.
    UsageError
        If there is no such file, or it is empty or unreadable.
    """
    require("pandas", "The command line", "cli")
    file = Path(path)
    if file.is_dir():
        raise UsageError(f"{path} is a directory; name a CSV or Parquet file.")
    if not file.exists():
        raise UsageError(f"There is no file {path}.{_hint(file)}")
    if file.suffix.lower() in FOREIGN:
        raise UsageError(
            f"{path}: {file.suffix} files are not read; save it as CSV or Parquet."
        )
    if file.suffix.lower() in PARQUET:
        table = _read_parquet(path)
    else:
        table = _read_csv(path, console, sep, encoding, decimal)
    if not len(table):
        raise UsageError(
            f"{path} has a header of {table.shape[1]} columns, but no rows."
        )
    table.columns = [str(column) for column in table.columns]
    return table.reset_index(drop=True).apply(_typed)


def _hint(file: Path) -> str:
    if not file.parent.is_dir():
        return f" There is no directory {file.parent} either."
    names = [other.name for other in file.parent.iterdir()]
    close = difflib.get_close_matches(file.name, names, n=1, cutoff=0.8)
    return "".join(f" Did you mean {file.with_name(name)}?" for name in close)


def _read_parquet(path: str) -> Table:
    import pandas as pd

    require("pyarrow", "Reading Parquet files", "cli")
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises of its own kinds
        raise UsageError(f"{path} cannot be read as Parquet: {error}") from None


def _read_csv(
    path: str, console: Console, sep: str | None, encoding: str, decimal: str | None
) -> Table:
    import pandas as pd

    def read(sep: str, decimal: str) -> Table:
        # low_memory=False: one type a column, whatever the size of the file.
        return pd.read_csv(
            path, sep=sep, encoding=encoding, decimal=decimal, low_memory=False
        )

    try:
        sep = sep or separator(path, encoding)
        table = read(sep, decimal or ".")
        if decimal is None and sep != "," and (name := _decimal_commas(table)):
            console.note(
                f"'{name}' of {path} holds numbers with a decimal comma; all are read "
                "so (--decimal . to read them as text)"
            )
            table = read(sep, ",")
    except pd.errors.EmptyDataError:
        raise UsageError(f"{path} is empty.") from None
    except (UnicodeError, LookupError) as error:
        raise UsageError(
            f"{path} is not text in {encoding} ({error}); name its encoding, "
            "for example --encoding latin-1."
        ) from None
    except Exception as error:  # the parser and four decompressors raise their own
        raise UsageError(f"{path} cannot be read as CSV: {error}") from None
    return _without_row_names(table, path, console)


def _decimal_commas(table: Table) -> str | None:
    """First column of text that is all numbers once its commas are points."""
    for name in table.select_dtypes(["object", "string"]):
        cells = table[name].dropna().astype(str)
        if len(cells) and cells.str.fullmatch(r"\s*[-+]?\d+(,\d+)?\s*").all():
            return str(name)
    return None


def separator(path: str, encoding: str) -> str:
    """The separator that splits the header into most columns."""
    import pandas as pd

    def columns(sep: str) -> int:
        return pd.read_csv(path, sep=sep, encoding=encoding, nrows=0).shape[1]

    return max(SEPARATORS, key=columns)  # the first of equals


def _without_row_names(table: Table, path: str, console: Console) -> Table:
    import pandas as pd

    if not isinstance(table.index, pd.RangeIndex):
        console.note(
            f"the lines of {path} have more cells than its header; the first cells are "
            "taken as row names and left out"
        )
        table = table.reset_index(drop=True)
    first = table.columns[0]
    if str(first).startswith("Unnamed: ") and _counts(table[first]):
        console.note(f"the first column of {path} only counts the rows and is left out")
        table = table.drop(columns=[first])
    return table


def _counts(column: Column) -> bool:
    values = list(column)
    return values in (list(range(len(values))), list(range(1, len(values) + 1)))


def _typed(column: Column) -> Column:
    """Give Python objects of one kind their column type; leave other columns alone."""
    import pandas as pd

    if column.dtype != object:
        return column
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        return column.astype("boolean")
    if kind in {"decimal", "integer", "floating", "mixed-integer-float"}:
        return column.astype(float)
    if kind in {"date", "datetime"}:
        return pd.to_datetime(column, utc=True)
    return pd.to_timedelta(column) if kind == "timedelta" else column
