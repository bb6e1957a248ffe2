"""The contract of a deletion: of rows, and of groups of rows."""

import abc
from collections.abc import Sequence
from math import inf
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence.solvers import (
    Point,
    indices_of,
    own_norm_outputs,
    own_outputs,
    row_terms,
)


class Deltas(NamedTuple):
    """Deletion deltas of b rows or groups, ``theta(without) - theta``, certified."""

    theta: Any  # (b, G, D); NaN where the delta does not exist
    n_steps: Any  # (b,) Newton steps taken
    last_step: Any  # (b, G, D) the step that the certificate measures; inf if none was
    converged: Any  # (b,) bool
    unidentified: Any  # (b,) bool: the rows left do not determine the model
    unbounded: Any  # (b,) bool: the rows left have no finite optimum
    active_set_changes: Any = None  # (b,) bool; None where the penalty has no corners
    missed_changes: Any = None  # (b,) bool: those of them that the deltas do not follow
    error: Any = None  # (b,) bound of the error, rounding apart, in the norm of H
    stretch: Any = None  # (b,) bound of how much longer inv(H) is without the rows
    doubtful: Any = None  # (b,) bool: the error may be as large as the delta

    @classmethod
    def of(
        cls,
        theta: Array,
        last_step: Array,
        n_steps: int,
        converged: Array | bool = True,
        unidentified: Array | bool = False,
        unbounded: Array | bool = False,
        error: Array | float = inf,
        stretch: Array | float = 1.0,
    ) -> "Deltas":
        """Deltas after the same number of steps; one flag for all, or one for each."""
        xp, device = array_namespace(theta), device_of(theta)
        no = xp.zeros(theta.shape[0], dtype=xp.bool, device=device)
        steps = xp.full(theta.shape[0], n_steps, dtype=xp.int64, device=device)
        zero = xp.zeros(theta.shape[0], dtype=xp.float64, device=device)
        flags = no | converged, no | unidentified, no | unbounded
        known = {"error": zero + error, "stretch": zero + stretch, "doubtful": no}
        return cls(theta, steps, last_step, *flags, **known)

    @classmethod
    def missing(
        cls, theta: Array, *, unidentified: bool = False, unbounded: bool = False
    ) -> "Deltas":
        """The delta of one group that has none, for parameters theta (G, D): NaN."""
        nothing = array_namespace(theta).full_like(theta, float("nan"))[None, ...]
        flags = {"unidentified": unidentified, "unbounded": unbounded}
        return cls.of(nothing, nothing, 0, **flags)

    @classmethod
    def joined(cls, parts: Sequence["Deltas"]) -> "Deltas":
        """Deltas of several blocks of rows or groups as one."""
        xp = array_namespace(parts[0].theta)
        columns = zip(*parts, strict=True)
        return cls(*(None if c[0] is None else xp.concat(c, axis=0) for c in columns))

    def at(self, indices: Array) -> "Deltas":
        """Some of the deltas, by their indices."""
        take = array_namespace(self.theta).take
        return Deltas(*(None if c is None else take(c, indices, axis=0) for c in self))

    @property
    def flags(self) -> "Deltas":
        """The same without vectors, which take the memory."""
        return self._replace(theta=None, last_step=None)

    @property
    def is_missing(self) -> Any:
        """Where the delta does not exist, (b,)."""
        return self.unidentified | self.unbounded


class AbstractDeletion(abc.ABC):
    """A way to know the model without rows, at the minimum ``point`` of all rows.

    A row is a group of one. Rows that leave one at a time are deleted many at once,
    which is faster; so are groups of one row.
    """

    point: Point
    linear: ClassVar[bool] = False  # a derivative: effects on losses are linear too

    @abc.abstractmethod
    def deltas(self, rows: Rows) -> Deltas:
        """Deltas of the parameters when each row of a slice or index array leaves."""

    def group_deltas(self, groups: Sequence[Array]) -> Deltas:
        """Deltas of the parameters when each group of row indices leaves."""
        single = [k for k, rows in enumerate(groups) if rows.shape[0] == 1]
        several = [k for k, rows in enumerate(groups) if rows.shape[0] != 1]
        parts = [self.group_delta(groups[k]) for k in several]
        xp = array_namespace(self.point.theta)
        if single:
            parts.append(self.deltas(xp.concat([groups[k] for k in single])))
        order = np.argsort(several + single)
        return Deltas.joined(parts).at(
            xp.asarray(order, device=device_of(self.point.theta))
        )

    @abc.abstractmethod
    def group_delta(self, rows: Array) -> Deltas:
        """The delta when these rows (indices) leave together, (1, G, D)."""

    def outputs(self, rows: Rows) -> tuple[Any, Any, Any]:
        """Linear outputs of each row by the model without it.

        Returns ``u`` (b, K), NaN where they do not exist, and the masks
        ``unidentified`` and ``unbounded``, each (b,).
        """
        u, flags = self.left_out(rows)
        return u, flags.unidentified, flags.unbounded

    def left_out(self, rows: Rows) -> tuple[Any, Deltas]:
        """The same outputs (b, K) with all flags, in deltas without vectors."""
        deltas = self.deltas(rows)
        terms = row_terms(self.point, rows)
        layout = self.point.objective.layout
        moves = own_outputs(terms.block, deltas.theta, layout)
        u = terms.outputs + layout.ungrouped(moves)
        return u + self._of_own_length(rows, deltas.theta), deltas.flags

    def _of_own_length(self, rows: Rows, theta: Array) -> Any:
        """What outputs of rows gain as they get other lengths, (b, K) or 0."""
        point, indices = self.point, indices_of(rows, self.point)
        growths = point.objective.growths(
            indices, "derivative" if self.linear else "without"
        )
        if growths is None:
            return 0.0
        theta = point.theta + (0.0 if self.linear else 1.0) * theta
        known = indices, theta, growths, self.linear
        return own_norm_outputs(point.objective, *known)

    def missed_changes(self, rows: Rows) -> Any:
        """Rows whose deletion changes the active set, which ``outputs`` does not follow.

        A mask (b,); None where it follows, or where the penalty has no corners.
        """
        return None
