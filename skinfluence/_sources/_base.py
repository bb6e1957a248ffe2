"""The contract of rows: what a pass over the data asks of X, however it is stored."""

import abc
from dataclasses import fields
from typing import Any

from skinfluence._array import Array, Rows
from skinfluence._sources._sizes import rows_in_block


class AbstractSource(abc.ABC):
    """Rows of X, (n, p), of which blocks are read when asked for.

    A source knows which columns are in use and where its blocks are computed with.
    Centre and intercept come with the question, so that a part of a larger data set can
    be a source as well. Subclasses are frozen dataclasses; threads may share them.
    """

    columns: Any  # (q,) indices of the columns in use, None for all p

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p, in use or not."""

    @property
    @abc.abstractmethod
    def place(self) -> Array:
        """Any array of the library, and on the device, that blocks belong to."""

    @property
    def is_sparse(self) -> bool:
        """Whether a product with a block costs by entries, not by columns."""
        return False

    @property
    def is_shared(self) -> bool:
        """Whether threads that read blocks and multiply them overlap."""
        return False

    @abc.abstractmethod
    def block(
        self, rows: Rows, centre: Array, has_intercept: bool, scratch: Any = None
    ) -> Any:
        """Working rows ``[x - centre, 1]`` of a slice or indices, (b, q).

        An array in float64, or centred rows that multiply like one. ``scratch`` is an
        earlier block, no smaller, that may be overwritten and returned: memory that is
        already in the cache is twice as fast as new memory.
        """

    @abc.abstractmethod
    def take(self, rows: Rows) -> "AbstractSource":
        """Some of the rows as a source."""

    @abc.abstractmethod
    def with_columns(self, columns: Array | None) -> "AbstractSource":
        """The same rows with other columns, of all p, in use."""

    @abc.abstractmethod
    def weighted_mean(self, weight: Array) -> Any:
        """Weighted mean of the columns in use; plain mean where all weights are zero."""

    @abc.abstractmethod
    def row_gram(self, centre: Array, weight: Array, constant: float) -> Any:
        """``(X - 1 c') diag(weight) (X - 1 c')' + constant 1 1'``, (n, n)."""

    @abc.abstractmethod
    def on_host(self) -> Any:
        """All of X as a NumPy or SciPy sparse array."""

    def for_products(self, centre: Array, has_intercept: bool) -> "AbstractSource":
        """The source whose blocks are fastest where nobody looks at their entries."""
        return self

    @property
    def width(self) -> int:
        """Number of columns in use."""
        return self.shape[1] if self.columns is None else int(self.columns.shape[0])

    @property
    def row_entries(self) -> int:
        """Entries of a row, about."""
        return self.width

    def rows_in_block(self, width: int) -> int:
        """Rows to read at a time, as working rows of this width."""
        return rows_in_block(width, self.place)

    def rows_in_answer(self, width: int) -> int:
        """Rows to read at a time where ``width`` entries are made of each."""
        return self.rows_in_block(width)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
