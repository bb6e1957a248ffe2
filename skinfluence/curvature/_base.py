"""The contract of a curvature: all that a solver needs to know of an objective."""

import abc
from typing import Any

from skinfluence._array import Array, Rows, array_namespace
from skinfluence._layout import Layout
from skinfluence._objective import FirstOrder, Objective
from skinfluence.curvature._shifts import Shifts


class AbstractCurvature(abc.ABC):
    """H, the second derivatives of an objective at theta, on the entries that may move.

    A symmetric operator on vectors (G, D, m): m vectors of G groups of D entries. Entries
    that may not move have zero rows and columns here, and ``gauge`` spans directions in
    which H is zero, so neither is a solver's business. A solver finds ``x`` with
    ``H x = rhs``, and ``x`` and ``rhs`` as ``within`` leaves them.

    Where H, or the loss of a row that says it is convex, is found to have a negative
    second derivative, methods raise an ``IndefiniteCurvatureError``: nothing is clipped.
    """

    objective: Objective
    theta: Any  # (G, D)

    @property
    def layout(self) -> Layout:
        """Groups and outputs of the objective."""
        return self.objective.layout

    @property
    def size(self) -> int:
        """Entries D of one group."""
        return self.layout.size

    @property
    def moving(self) -> Any:
        """Entries that may move, (G or 1, D) bool; None for all."""
        return self.objective.free

    @property
    def n_seen(self) -> int:
        """Dimension of the space of vectors that ``within`` leaves as they are."""
        xp, shape = array_namespace(self.theta), self.theta.shape
        n_seen = shape[0] * shape[1]
        if self.moving is not None:
            moving = xp.broadcast_to(self.moving, shape)
            n_seen = int(xp.sum(xp.astype(moving, xp.int64)))
        return n_seen - (0 if self.gauge is None else self.gauge.shape[1] * shape[0])

    @property
    @abc.abstractmethod
    def first_order(self) -> FirstOrder:
        """Gradient of the objective at theta, and the outputs of the rows."""

    @property
    @abc.abstractmethod
    def gauge(self) -> Any:
        """Orthonormal directions (D, z) that the objective does not see, or None."""

    @property
    @abc.abstractmethod
    def shifts(self) -> Shifts | None:
        """Eigenvectors of H that gradients of losses have no part along, or None.

        They hold the gauge, and what the penalty alone makes H see.
        """

    @property
    @abc.abstractmethod
    def diagonal_part(self) -> Any:
        """What the penalty and damping add to the diagonal of H, (G or 1, D)."""

    @property
    @abc.abstractmethod
    def shared_penalty(self) -> Any:
        """Second derivative of the penalty of which rows carry shares, (G or 1, D).

        A row with ``share`` takes ``share * shared_penalty`` off the diagonal of H when
        it leaves.
        """

    @abc.abstractmethod
    def matvec(self, vectors: Array) -> Any:
        """``H @ vectors`` for vectors (G, D, m), without forming H."""

    @abc.abstractmethod
    def diagonal(self) -> Any:
        """Diagonal of H, (G, D)."""

    @abc.abstractmethod
    def as_matrix(self) -> Any:
        """H, (G or 1, D, D): one block for all groups if they are equal."""

    @abc.abstractmethod
    def output_block(self, k: int) -> Any:
        """The block (q, q) of H that belongs to output k alone."""

    @abc.abstractmethod
    def upper_root(self) -> Any:
        """Upper triangular R with ``R'R = H``, (G or 1, D, D), never squaring X.

        Where the columns are nearly dependent, R keeps the digits that H has lost.
        """

    @abc.abstractmethod
    def row_hessians(self, rows: Rows) -> Any:
        """Weighted second derivatives ``s_i M_i`` of rows, (b, G or 1, Kb, Kb)."""

    def within(self, vectors: Array) -> Any:
        """Vectors (G, D, m) without their part in the gauge and in entries at rest."""
        vectors, gauge = self.on_moving(vectors), self.gauge
        return vectors if gauge is None else vectors - gauge @ (gauge.T @ vectors)

    def seen(self, vectors: Array) -> Any:
        """Vectors (G, D, m) within, and without the shifts, which no loss sees."""
        if self.shifts is None:
            return self.within(vectors)
        return self.shifts.without(self.on_moving(vectors))

    def seen_rows(self, rows: Array) -> Any:
        """The same for one vector per row, (b, G, D), where there are shifts."""
        if self.shifts is None:
            return rows
        xp = array_namespace(rows)
        columns = xp.permute_dims(rows, (1, 2, 0))
        return xp.permute_dims(self.seen(columns), (2, 0, 1))

    def on_moving(self, vectors: Array) -> Any:
        """Vectors (G, D, m) with zeros for the entries that may not move."""
        if self.moving is None:
            return vectors
        mask = array_namespace(vectors).astype(self.moving, vectors.dtype)
        return mask[..., None] * vectors
