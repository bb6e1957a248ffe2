"""The contract of a deletion."""

import abc
from typing import Any, ClassVar, NamedTuple

from skinfluence._array import Rows
from skinfluence.solvers import Point, own_outputs, row_terms


class Deltas(NamedTuple):
    """Deletion deltas of some rows, ``theta(without i) - theta``, and their certificate."""

    theta: Any  # (b, G, D); NaN where the delta does not exist
    n_steps: Any  # (b,) Newton steps taken
    last_step: Any  # (b, G, D) the step that the certificate measures; inf if none was
    converged: Any  # (b,) bool
    unidentified: Any  # (b,) bool: the other rows do not determine the model
    unbounded: Any  # (b,) bool: without the row there is no finite optimum
    active_set_changes: Any = None  # (b,) bool; None where the penalty has no corners
    missed_changes: Any = None  # (b,) bool: those of them that the deltas do not follow


class AbstractDeletion(abc.ABC):
    """A way to know the model without a row, at the minimum ``point`` of all rows."""

    point: Point
    linear: ClassVar[bool] = False  # a derivative: effects on losses are linear too

    @abc.abstractmethod
    def deltas(self, rows: Rows) -> Deltas:
        """Deltas of the parameters for the rows of a slice or index array."""

    def outputs(self, rows: Rows) -> tuple[Any, Any, Any]:
        """Linear outputs of each row by the model without it.

        Returns ``u`` (b, K), NaN where they do not exist, and the masks
        ``unidentified`` and ``unbounded``, each (b,).
        """
        found = self.deltas(rows)
        terms = row_terms(self.point, rows)
        layout = self.point.objective.layout
        moves = own_outputs(terms.block, found.theta, layout)
        u = terms.outputs + layout.ungrouped(moves)
        return u, found.unidentified, found.unbounded

    def missed_changes(self, rows: Rows) -> Any:
        """Rows whose deletion changes the active set, which ``outputs`` does not follow.

        A mask (b,); None where it follows, or where the penalty has no corners.
        """
        return None
