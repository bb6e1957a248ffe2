"""What a transformer would have learned without some rows: the contracts.

This module knows no scikit-learn: the mathematics may import it.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from skinfluence._array import Array, array_namespace, like, to_numpy
from skinfluence._following import Affine
from skinfluence.preprocessing._columns import AbstractColumns


class AbstractState(abc.ABC):
    """What one step has learned about its columns, and how that moves without rows.

    ``X`` (b, q) are the rows that leave, as the step itself transforms them.
    """

    @abc.abstractmethod
    def without(self, X: Array, rows: Array) -> Affine:
        """What is learned without each of the rows alone, (b, q)."""

    @abc.abstractmethod
    def without_group(self, X: Array, rows: Array) -> Affine:
        """What is learned without all of the rows, (1, q)."""

    def derivative(self, X: Array, rows: Array) -> Affine:
        """First-order change as each row's weight goes to 0, (b, q)."""
        zeros = array_namespace(X).zeros_like(X)
        return Affine(zeros, zeros)


class NotFollowed(Exception):
    """A step that cannot be followed on these rows; the message is the user's reason."""


class StepColumns(NamedTuple):
    """Output columns of one step that reach the linear model, as the step gives them."""

    columns: AbstractColumns
    own: Any  # (q,) which of the step's output columns they are, on the host

    def fitted(self, values: Any) -> Any:
        """What the step has fitted for each of its columns, for these, (q,)."""
        return like(to_numpy(values)[self.own], self.columns.place)


@dataclass(frozen=True)
class Rule:
    """How the deletion of rows moves the columns of a fitted transformer.

    ``state`` makes what it has learned from the transformer, its own output columns and
    the weights (n,) that its ``fit`` was given, or None. It raises ``NotFollowed`` where
    these rows do not allow that. Without it, the columns of other rows stay as they are.

    A rule that absorbs is of a step which takes columns one by one, and whose output does
    not show whether they were shifted, or scaled, before.
    """

    state: Callable[[Any, StepColumns, Any], AbstractState] | None = None
    shifts: bool = False  # its columns are shifted when rows leave
    scales: bool = False
    absorbs_shifts: bool = False
    absorbs_scales: bool = False
    passes: bool = False  # columns come out as they come in
    takes_weights: bool = False
