"""How columns of X move when rows leave, and what was learned of them is learned again."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    take_rows,
    to_numpy,
)


class Affine(NamedTuple):
    """``x_without = (x - shift) / ratio`` for the columns x of the fitted transformer.

    NaN stands where a column is not shifted and scaled by the deletion: the rows of a
    group may be all of a category, or all that was observed.

    Parameters
    ----------
    ratio : array of shape (b, p)
        Units without each of b rows, or of a group (b = 1), in those of the fit.
    shift : array of shape (b, p)
        What is subtracted before.
    """

    ratio: Any
    shift: Any


class Gaps(NamedTuple):
    """Entries of some rows that a step has filled in, where it fills any."""

    mask: Any  # (n, w) bool, beside the rows
    which: np.ndarray  # (w,) of the columns that steps fill, on the host
    features: np.ndarray  # (w,) where these are among all columns

    def take(self, rows: Rows) -> "Gaps":
        """Those of some of the rows."""
        return self._replace(mask=take_rows(self.mask, rows))

    def block(self, rows: Rows, place: Array) -> Any:
        """1 where an entry is filled in, else 0, (b, w)."""
        xp = array_namespace(place)
        return xp.astype(take_rows(self.mask, rows), place.dtype)


class Norm(NamedTuple):
    """Columns of rows that are divided by their lengths in these columns."""

    columns: np.ndarray  # (q,) on the host
    power: int  # 1: by sums of sizes; 2: by roots of sums of squares


class AbstractFills(abc.ABC):
    """How far the values move that steps fill in when rows leave.

    Of gaps in *all* rows: this is a change of other rows, not of units. Moves are in the
    units of the columns of the fit: without the rows, a gap has the value ``(x + move -
    shift) / ratio``.
    """

    @property
    @abc.abstractmethod
    def columns(self) -> np.ndarray:
        """Output columns that have gaps, or may have, (q,), on the host."""

    @abc.abstractmethod
    def without(self, rows: Array, which: np.ndarray) -> Any:
        """Without each row alone, for some of the columns by their places, (b, w)."""

    @abc.abstractmethod
    def without_group(self, rows: Array, which: np.ndarray) -> Any:
        """Without all of some distinct rows at once, (1, w)."""

    @abc.abstractmethod
    def derivative(self, rows: Array, which: np.ndarray) -> Any:
        """To first order as each row's weight goes to 0, (b, w)."""


class AbstractFollowing(abc.ABC):
    """How the output columns of a whole transformer move when training rows leave.

    In the coordinates of all rows, a column in another unit is one with another penalty,
    and a shift is the intercept's. Subclasses are frozen dataclasses, their arrays beside
    the training rows.
    """

    @abc.abstractmethod
    def without(self, rows: Rows) -> Affine:
        """What is learned without each row of a slice or index array alone, (b, p)."""

    def changes(self, rows: Rows) -> Any:
        """``ratio**2 - 1`` without each row: what a ridge penalty gains, (b, p)."""
        return self.without(rows).ratio ** 2 - 1

    @abc.abstractmethod
    def without_group(self, rows: Array) -> Affine:
        """What is learned without all of some distinct rows at once, (1, p)."""

    @abc.abstractmethod
    def derivative(self, rows: Rows) -> Affine:
        """First-order change of ratio and shift as each row's weight goes to 0, (b, p).

        ``-w_i d/dw_i`` at the weights of the fit. Order statistics and categories do not
        change with a small change of a weight: zeros.
        """

    def decides(self) -> np.ndarray | None:
        """Rows without which alone columns change by more than that, (n,) bool.

        On the host. None where no row and no group ever decides what columns there are;
        a group that does has NaN in ``without_group``.
        """
        return None

    @property
    def fills(self) -> AbstractFills | None:
        """What moves where entries are filled in; None where none ever is."""
        return None

    @property
    def norms(self) -> tuple[Norm, ...]:
        """Columns whose rows are divided by their lengths after they are scaled."""
        return ()


@final
@dataclass(frozen=True, eq=False)
class OnHost(AbstractFollowing):
    """The same in NumPy, of rows that are elsewhere."""

    there: AbstractFollowing

    def without(self, rows: Rows) -> Affine:
        return Affine(*map(to_numpy, self.there.without(rows)))

    def changes(self, rows: Rows) -> Any:
        return to_numpy(self.there.changes(rows))

    def without_group(self, rows: Array) -> Affine:
        return Affine(*map(to_numpy, self.there.without_group(rows)))

    def derivative(self, rows: Rows) -> Affine:
        return Affine(*map(to_numpy, self.there.derivative(rows)))

    def decides(self) -> np.ndarray | None:
        return self.there.decides()

    @property
    def fills(self) -> AbstractFills | None:
        fills = self.there.fills
        return None if fills is None else FillsOnHost(fills)

    @property
    def norms(self) -> tuple[Norm, ...]:
        return self.there.norms


@final
@dataclass(frozen=True, eq=False)
class FillsOnHost(AbstractFills):
    """The same in NumPy, of rows that are elsewhere."""

    there: AbstractFills

    @property
    def columns(self) -> np.ndarray:
        return self.there.columns

    def without(self, rows: Array, which: np.ndarray) -> Any:
        return to_numpy(self.there.without(rows, which))

    def without_group(self, rows: Array, which: np.ndarray) -> Any:
        return to_numpy(self.there.without_group(rows, which))

    def derivative(self, rows: Array, which: np.ndarray) -> Any:
        return to_numpy(self.there.derivative(rows, which))
