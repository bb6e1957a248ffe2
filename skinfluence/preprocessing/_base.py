"""What a transformer would have learned without some rows: the contracts.

This module knows no scikit-learn: the mathematics may import it.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skinfluence._array import Array, array_namespace, like, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._columns import AbstractColumns
from skinfluence.preprocessing._given import Given


class Deciding(NamedTuple):
    """Rows without which a step makes other columns of the other rows.

    Parameters
    ----------
    rows : ndarray of shape (n,)
        bool, on the host: those that decide alone.
    reason : str
        What changes without them, as a clause.
    """

    rows: np.ndarray
    reason: str


class AbstractState(abc.ABC):
    """What one step has learned about its columns, and how that moves without rows.

    Every method gets ``X`` (b, q), the rows that leave as the step itself transforms
    them, and their indices ``rows`` (b,). Without them, all rows of the step's output have
    the columns ``(x - shift) / ratio``: 1 and 0 where nothing changes, NaN where the
    answer is not known. Arrays are of the library of ``X``.
    """

    @abc.abstractmethod
    def without(self, X: Array, rows: Array) -> Affine:
        """What is learned without each of the rows alone, (b, q)."""

    def changes(self, X: Array, rows: Array) -> Any:
        """``ratio**2 - 1`` without each of the rows alone, (b, q)."""
        return self.without(X, rows).ratio ** 2 - 1

    @abc.abstractmethod
    def without_group(self, X: Array, rows: Array) -> Affine:
        """What is learned without all of the rows, (1, q)."""

    def derivative(self, X: Array, rows: Array) -> Affine:
        """First-order change as each row's weight w goes to 0, ``-w d/dw``, (b, q).

        Zeros, unless a state defines it: what depends on order statistics or on which
        values there are does not change with a small change of a weight.
        """
        zeros = array_namespace(X).zeros_like(X)
        return Affine(zeros, zeros)

    def decides(self) -> Deciding | None:
        """Rows that decide more than a shift and a scale; None if rows never do."""
        return None


class AbstractFillState(abc.ABC):
    """What one step fills in, and how far that moves without rows.

    ``X`` (b, q) are the rows that leave, with NaN where they have gaps.
    """

    @property
    @abc.abstractmethod
    def value(self) -> Any:
        """What is filled in, (q,)."""

    @abc.abstractmethod
    def without(self, X: Array, rows: Array) -> Any:
        """How far it moves without each of the rows alone, (b, q)."""

    @abc.abstractmethod
    def without_group(self, X: Array, rows: Array) -> Any:
        """How far it moves without all of the rows, (1, q); NaN if nothing is left."""

    def derivative(self, X: Array, rows: Array) -> Any:
        """First-order move as each row's weight goes to 0, (b, q)."""
        return array_namespace(X).zeros_like(X)


class NotFollowed(Exception):
    """A step that cannot be followed on these rows; the message is the user's reason.

    ``Rule.state`` raises it, as for a step that was fitted to other rows.
    """


class StepColumns(NamedTuple):
    """Output columns of one step that reach the linear model, as the step gives them.

    ``columns.shape`` is (n, q), and ``columns.block(slice(0, n))`` reads the columns of
    those rows: all of them at once only where they fit into memory.

    Parameters
    ----------
    columns : AbstractColumns
        The columns of all training rows.
    own : ndarray of shape (q,)
        Which of the step's output columns they are, on the host.
    given : Given or None, default=None
        The rows that the step was given; None where they are not at hand.
    """

    columns: AbstractColumns
    own: Any
    given: Given | None = None

    def fitted(self, values: Any) -> Any:
        """What the step has fitted for these columns.

        Parameters
        ----------
        values : array of one entry per output column of the step
            As the transformer has them, such as its ``scale_``.

        Returns
        -------
        array of shape (q,)
            Those of these columns, where the columns are.
        """
        return like(to_numpy(values)[self.own], self.columns.place)


@dataclass(frozen=True)
class Rule:
    """How the deletion of rows moves the columns of a fitted transformer.

    ``Rule()`` is that of a transformer which learns nothing from the rows.

    Parameters
    ----------
    state : callable or None, default=None
        Maps the fitted transformer, its ``StepColumns`` and the weights (n,) that its
        ``fit`` was given, or None, to an ``AbstractState``. It raises ``NotFollowed``
        where these rows do not allow that. Without it, the columns of other rows stay as
        they are.
    shifts : bool, default=False
        Whether columns are shifted when rows leave: the model then needs an intercept.
    scales : bool, default=False
        Whether columns are scaled when rows leave.
    absorbs_shifts : bool, default=False
        Whether the step takes columns one by one, and its output is the same if a column
        is shifted before it.
    absorbs_scales : bool, default=False
        The same for a column that is multiplied by a positive number.
    passes : bool, default=False
        Whether columns come out as they come in.
    fills : bool, default=False
        Whether they do but for gaps, which ``SimpleImputer`` fills; of no other class.
    ignores_fills : bool, default=False
        Whether the step, behind one that fills gaps, learns of entries alone that are no
        gaps. A step that fills is held if this and ``averages_fills`` are False.
    averages_fills : bool, default=False
        Whether it learns means and mean squares of all entries, gaps included.
    takes_weights : bool, default=False
        Whether ``state`` minds weights. If not, a step fitted with weights is held.
    decides : bool, default=False
        Whether some rows decide what the columns of others are, as those that
        ``AbstractState.decides`` names.
    norm : {None, 1, 2}, default=None
        Whether rows are divided by their lengths afterwards: by sums of sizes (1), or by
        roots of sums of squares (2).
    """

    state: Callable[[Any, StepColumns, Any], AbstractState] | None = None
    shifts: bool = False
    scales: bool = False
    absorbs_shifts: bool = False
    absorbs_scales: bool = False
    passes: bool = False
    fills: bool = False
    ignores_fills: bool = False
    averages_fills: bool = False
    takes_weights: bool = False
    decides: bool = False
    norm: int | None = None

    @property
    def moves(self) -> bool:
        """Whether columns are shifted or scaled."""
        return self.shifts or self.scales
