"""How columns of X move when rows leave, and what was learned of them is learned again."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import Array, Rows, to_numpy


class Affine(NamedTuple):
    """``x_without = (x - shift) / ratio`` for the columns x of the fitted transformer.

    NaN stands where a column is not shifted and scaled by the deletion: the rows of a
    group may be all of a category, or all that was observed.
    """

    ratio: Any  # (b, p)
    shift: Any  # (b, p)


class AbstractFollowing(abc.ABC):
    """How the output columns of a whole transformer move when training rows leave.

    In the coordinates of all rows, a column in another unit is one with another penalty,
    and a shift is the intercept's. Subclasses are frozen dataclasses, their arrays beside
    the training rows.
    """

    @abc.abstractmethod
    def without(self, rows: Rows) -> Affine:
        """What is learned without each row of a slice or index array alone, (b, p)."""

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


@final
@dataclass(frozen=True, eq=False)
class OnHost(AbstractFollowing):
    """The same in NumPy, of rows that are elsewhere."""

    there: AbstractFollowing

    def without(self, rows: Rows) -> Affine:
        return Affine(*map(to_numpy, self.there.without(rows)))

    def without_group(self, rows: Array) -> Affine:
        return Affine(*map(to_numpy, self.there.without_group(rows)))

    def derivative(self, rows: Rows) -> Affine:
        return Affine(*map(to_numpy, self.there.derivative(rows)))

    def decides(self) -> np.ndarray | None:
        return self.there.decides()
