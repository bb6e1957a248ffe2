"""A table as it was written: rows can be taken out, and no other byte changes."""

import abc
import bz2
import csv
import gzip
import io
import lzma
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from skinfluence.cli._errors import UsageError
from skinfluence.cli._table import PARQUET, separator

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class AbstractOriginal(abc.ABC):
    """The rows of a file, in the order in which they were read."""

    #: Names of the columns, as the table has them, and that of the target.
    names: list[str]
    target: str

    @abc.abstractmethod
    def cells(self, row: int) -> list[str]:
        """Cells of one row as text."""

    def target_of(self, row: int) -> str:
        """Target of one row as text."""
        return self.cells(row)[self.names.index(self.target)]

    @abc.abstractmethod
    def write(self, path: Path, kept: np.ndarray, like: dict[int, int]) -> None:
        """Write some of the rows.

        Parameters
        ----------
        path : Path
            New file; its name says whether it is compressed.
        kept : ndarray of int
            Rows to write, in order.
        like : dict of int to int
            Row whose target changes, to a row that has the new one.
        """


def read_original(
    path: str, n_rows: int, target: str, *, sep: str | None, encoding: str
) -> AbstractOriginal:
    """Read a file again, as it was written.

    Parameters
    ----------
    path : str
        The file that a table was read from.
    n_rows : int
        Rows of that table.
    target : str
        Column of which cells may change.
    sep : str or None
        Separator of a CSV file; None finds it, as for the table.
    encoding : str
        Encoding of a CSV file.

    Raises
    ------
    UsageError
        If its lines cannot be matched to the rows of the table.
    """
    if Path(path).suffix.lower() in PARQUET:
        return ParquetOriginal.of(path, target)
    original = CsvOriginal.of(path, target, sep or separator(path, encoding), encoding)
    if len(original.records) != n_rows or not original.agrees(path):
        raise UsageError(
            f"The lines of {path} cannot be matched to its {n_rows} rows, so no row can "
            "be taken out safely. Save the file again as CSV, or as Parquet."
        )
    return original


def same_kind(path: Path, other: str) -> bool:
    """Whether both are Parquet, or neither."""
    return (path.suffix.lower() in PARQUET) == (Path(other).suffix.lower() in PARQUET)


@final
@dataclass(frozen=True)
class CsvOriginal(AbstractOriginal):
    """Text, record by record, each with its own quotes and line end.

    Parameters
    ----------
    head : str
        Everything up to the end of the header.
    records : list of str
        Rows, which may have several lines.
    names : list of str
        Names of the columns.
    target : str
        Name of the target.
    sep, encoding : str
        Separator and encoding of the file.
    """

    head: str
    records: list[str]
    names: list[str]
    target: str
    sep: str
    encoding: str

    @classmethod
    def of(cls, path: str, target: str, sep: str, encoding: str) -> "CsvOriginal":
        """Divide a file into records as the standard library's parser does."""
        text = _decompressed(path).decode(encoding)
        lines = list(io.StringIO(text, newline=""))
        reader = csv.reader(lines, delimiter=sep)
        records, names, start = [], None, 0
        try:
            for cells in reader:
                record = "".join(lines[start : reader.line_num])
                if names is None and _is_blank(record, sep):
                    continue  # blank lines above the header stay with it
                if names is None:
                    names, head = cells, "".join(lines[: reader.line_num])
                elif not _is_blank(record, sep):
                    records.append(record)
                start = reader.line_num
        except csv.Error as error:
            raise UsageError(f"{path}, line {reader.line_num}: {error}.") from None
        names = [name.removeprefix("\ufeff") for name in names or []]
        if target not in names:
            raise UsageError(f"The header of {path} does not hold the name '{target}'.")
        return cls(head, records, names, target, sep, encoding)

    def agrees(self, path: str) -> bool:
        """Whether pandas finds the same text in the target of every row."""
        import pandas as pd

        read = pd.read_csv(
            path,
            sep=self.sep,
            encoding=self.encoding,
            usecols=[self.target],
            dtype=str,
            keep_default_na=False,
        )
        targets = [self.target_of(row) for row in range(len(self.records))]
        return read[self.target].tolist() == targets

    def cells(self, row):
        """Cells of one row, their quotes removed; as many as there are names."""
        # A cell may have several lines, each of which the parser wants for itself.
        lines = io.StringIO(self.records[row], newline="")
        cells = next(csv.reader(lines, delimiter=self.sep))
        return cells + [""] * (len(self.names) - len(cells))

    def write(self, path, kept, like):
        """Write the records as they were; of one with a new target, only the cells."""
        text = self.head + "".join(self._record(int(row), like) for row in kept)
        # The byte-order mark was decoded as a character, and is written as one.
        with OPENERS.get(path.suffix.lower(), open)(path, "wb") as file:
            file.write(text.encode(self.encoding))

    def _record(self, row: int, like: dict[int, int]) -> str:
        record = self.records[row]
        end = _line_end(record) or _line_end(self.head)
        if row not in like:
            return record.removesuffix(end) + end
        cells = self.cells(row)
        cells[self.names.index(self.target)] = self.target_of(like[row])
        text = io.StringIO()
        csv.writer(text, delimiter=self.sep, lineterminator=end).writerow(cells)
        return text.getvalue()


@final
@dataclass(frozen=True)
class ParquetOriginal(AbstractOriginal):
    """An Arrow table: types, metadata and all.

    Parameters
    ----------
    table : pyarrow.Table
        As it was read.
    names : list of str
        Names of the columns.
    target : str
        Name of the target.
    """

    table: Any
    names: list[str]
    target: str

    @classmethod
    def of(cls, path: str, target: str) -> "ParquetOriginal":
        """Read with Arrow's own types, which pandas might change."""
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        return cls(table, table.column_names, target)

    def cells(self, row):
        """Cells of one row as text, empty for null."""
        values = self.table.slice(row, 1).to_pylist()[0].values()
        return ["" if value is None else str(value) for value in values]

    def write(self, path, kept, like):
        """Take rows, and targets of others where these are new."""
        import pyarrow.parquet

        kept = np.asarray(kept, dtype=np.int64)
        table = self.table.take(kept)
        if like:
            column = self.table.column(self.target)
            source = np.array([like.get(row, row) for row in kept.tolist()])
            where = self.table.column_names.index(self.target)
            field = self.table.schema.field(where)
            table = table.set_column(where, field, column.take(source))
        pyarrow.parquet.write_table(table, path)


def _line_end(text: str) -> str:
    return text[len(text.rstrip("\r\n")) :]


def _is_blank(record: str, sep: str) -> bool:
    """Whether pandas passes over a line: nothing but white space that is no separator."""
    return not record.replace(sep, "x").strip()


def _decompressed(path: str) -> bytes:
    suffix = Path(path).suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0])
    if suffix == ".zst":
        raise UsageError(f"{path}: .zst files are not cleaned; decompress it first.")
    with OPENERS.get(suffix, open)(path, "rb") as file:
        return file.read()
