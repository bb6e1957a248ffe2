"""Curvature as a sum over rows, ``sum_i s_i X~_i' M_i X~_i + penalty''``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, combinations_with_replacement
from typing import Any, final

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    of_group,
    take_rows,
)
from skinfluence._design import Design
from skinfluence._kernels import (
    AbstractGrams,
    kernels,
    squared_columns,
    weighted_grams,
)
from skinfluence._layout import gauge_basis
from skinfluence._objective import FirstOrder, FirstOrderSum, Objective, shifted
from skinfluence._rows import iterate, sum_over_rows
from skinfluence.curvature._base import AbstractCurvature
from skinfluence.curvature._row_roots import bends_downwards, row_roots
from skinfluence.curvature._shifts import Shifts
from skinfluence.exceptions import IndefiniteCurvatureError


@final
@dataclass(frozen=True, eq=False)
class RowwiseCurvature(AbstractCurvature):
    """Second derivatives of an objective at theta, formed only when asked for."""

    objective: Objective
    theta: Any  # (G, D)
    damping: float = 0.0  # added to the Hessian of the average loss, H / S

    @cached_property
    def first_order(self) -> FirstOrder:
        return self.objective.first_order(self.theta)

    @cached_property
    def value(self) -> float:
        """The objective at theta."""
        return self.objective.value(self.theta, self.first_order.outputs)

    @cached_property
    def diagonal_part(self) -> Any:
        damped = self.damping * self.objective.weight_sum if self.damping else 0.0
        return self._where_moving(self.objective.penalty.strength + damped)

    @cached_property
    def shared_penalty(self) -> Any:
        return self._where_moving(self.objective.penalty.strength)

    def _where_moving(self, diagonal: Array) -> Any:
        return self.on_moving(diagonal[..., None])[..., 0]

    @cached_property
    def gauge(self) -> Any:
        shift, penalty = self.objective.loss.shift_invariant, self.objective.penalty
        if not shift:
            return None
        xp, layout = array_namespace(self.theta), self.layout
        # Shifting all outputs of a column costs what the slopes of L1 do not balance.
        slope = penalty.slope + xp.zeros_like(self.theta)
        tilt = xp.abs(layout.pack(layout.summed_over_outputs(slope)))
        if penalty.corners is not None:
            tilt = tilt + xp.astype(penalty.corners.present, tilt.dtype)
        return gauge_basis(self.diagonal_part + tilt, layout, shift, self.moving)

    @cached_property
    def shifts(self) -> Shifts | None:
        if not self.objective.loss.shift_invariant:
            return None
        return Shifts.of(
            self.layout, self.diagonal_part, self.shared_penalty, self.moving
        )

    def matvec(self, vectors: Array) -> Any:
        loss, layout, xp = self.objective.loss, self.layout, array_namespace(vectors)
        vectors = self.on_moving(vectors)
        flat = layout.side_by_side(vectors)  # (q, K m)
        shape = (-1, layout.n_outputs, vectors.shape[-1])

        def add(total: Array, block: Array, y: Array, u: Array, s: Array) -> Any:
            moves = xp.reshape(block @ flat, shape)  # (b, K, m)
            slopes = s[:, None, None] * loss.hessian_product(y, u, moves)
            return total + xp.reshape(slopes, (moves.shape[0], -1)).T @ block

        total = self._summed(add, xp.zeros_like(flat.T), self.objective.rows)
        product = self.on_moving(layout.stacked(total))
        return product + self.diagonal_part[..., None] * vectors

    def diagonal(self) -> Any:
        layout, xp = self.layout, array_namespace(self.theta)

        def add(total: Array, block: Array, y: Array, u: Array, s: Array) -> Any:
            bends = xp.linalg.diagonal(self._hessians(y, u, s))  # (b, G or 1, Kb)
            bends = xp.broadcast_to(bends, layout.grouped(u).shape)
            return total + squared_columns(block, layout.ungrouped(bends))

        start = xp.zeros_like(layout.unpack(self.theta))
        total = self._summed(add, start, self.objective.rows)
        return self._where_moving(layout.pack(total.T)) + self.diagonal_part

    def output_block(self, k: int) -> Any:
        layout = self.layout
        g, part = divmod(k, layout.group_size)

        def add(
            total: AbstractGrams, block: Array, y: Array, u: Array, s: Array
        ) -> AbstractGrams:
            bends = of_group(self._hessians(y, u, s), g, axis=1)
            total.add(block, bends[:, part, part][:, None])
            return total

        design = self.objective.design
        start = weighted_grams(design.block(slice(0, 1)), 1)
        (gram,) = self._summed(add, start, design).finished()
        own = slice(part * layout.width, (part + 1) * layout.width)
        moving = None if self.moving is None else of_group(self.moving, g)[own]
        ridge = of_group(self.diagonal_part, g)[own]
        return kernels(gram).with_diagonal(_restricted(gram, moving), ridge)

    def _summed(self, add: Callable[..., Any], start: Any, design: Design) -> Any:
        """``add(total, block, y, u, s)`` over all rows."""
        objective = self.objective
        aligned = objective.targets, self.first_order.outputs, objective.weight
        return self._named(lambda: sum_over_rows(add, start, design, *aligned))

    # --- as a matrix ------------------------------------------------------------------

    def with_matrix(self, H: Array) -> "RowwiseCurvature":
        """The same curvature, with a matrix that is known from elsewhere."""
        same = replace(self)
        vars(same)["_matrix"] = H
        return same

    def as_matrix(self) -> Any:
        """H, and where ``first_order`` is not known yet, that from the same pass."""
        known = vars(self).get("_matrix")
        if known is not None:
            return known
        design = self.objective.design
        grams = self._named(lambda: self._grams(design.for_products))
        if not grams.exact:
            grams = self._grams(design)
        return self._from_grams(grams.finished())

    def _grams(self, design: Design) -> AbstractGrams:
        """The Gram matrix of each group and pair of outputs, from rows of a design."""
        objective, layout = self.objective, self.layout
        xp, loss, pairs = array_namespace(self.theta), objective.loss, self._pairs
        known = vars(self).get("first_order")
        B = layout.unpack(self.theta).T

        def add(
            total: _Expansion, block: Array, y: Array, s: Array, *given: Array
        ) -> _Expansion:
            outputs = shifted(block @ B, given) if known is None else given[0]
            M = self._hessians(y, outputs, s)
            if len(pairs) > 1:
                M = xp.stack([M[:, :, k, j] for k, j in pairs], axis=2)  # (b, G, pairs)
            total.grams.add(block, xp.reshape(M, (M.shape[0], -1)))
            if known is None:
                slopes = s[:, None] * loss.gradient(y, outputs)
                total.first.add(block, outputs, slopes)
            return total

        n_weights, one = self._row_groups * len(pairs), design.block(slice(0, 1))
        start = _Expansion(
            weighted_grams(one, n_weights), FirstOrderSum.empty(objective)
        )
        given = objective.offsets if known is None else (known.outputs,)
        aligned = objective.targets, objective.weight, *given
        total = sum_over_rows(add, start, design, *aligned)
        if known is None:
            vars(self)["first_order"] = total.first.finished(objective, self.theta)
        return total.grams

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """Pairs of outputs whose blocks are summed; they give the others."""
        size = self.layout.group_size
        if size > 1 and self.objective.loss.shift_invariant:
            return list(combinations(range(size), 2))
        return list(combinations_with_replacement(range(size), 2))

    def _from_grams(self, grams: list[Any]) -> Any:
        pairs, ridge, xp = self._pairs, self.diagonal_part, array_namespace(self.theta)
        groups = [
            _assembled(grams[first : first + len(pairs)], pairs, self.layout.group_size)
            for first in range(0, len(grams), len(pairs))
        ]
        if len(groups) < ridge.shape[0]:  # groups that only the penalty tells apart
            groups = [xp.asarray(groups[0], copy=True) for _ in range(ridge.shape[0])]
        for g, matrix in enumerate(groups):
            moving = None if self.moving is None else of_group(self.moving, g)
            matrix = _restricted(matrix, moving)
            groups[g] = kernels(matrix).with_diagonal(matrix, of_group(ridge, g))
        return groups[0][None, :, :] if len(groups) == 1 else xp.stack(groups)

    # --- by rows ----------------------------------------------------------------------

    def upper_root(self) -> Any:
        """Upper triangular R with ``R'R = H``, (G or 1, D, D), never squaring X.

        Cost: about eight times that of ``as_matrix``.
        """
        objective, xp = self.objective, array_namespace(self.theta)
        factor = kernels(self.theta).upper_factor
        n_groups = max(self.diagonal_part.shape[0], self._row_groups)
        roots = [
            _diagonal_rows(of_group(self.diagonal_part, g)) for g in range(n_groups)
        ]
        for rows, (block,) in iterate(
            objective.design, least_rows=2 * self.size, dense=True
        ):
            M = self.row_hessians(rows)
            for g, root in enumerate(roots):
                R = xp.matrix_transpose(row_roots(of_group(M, g, axis=1)))
                more = R[..., None] * block[:, None, None, :]  # (b, Kb, Kb, q)
                more = xp.reshape(more, (-1, self.size))
                if self.moving is not None:
                    more = more * xp.astype(of_group(self.moving, g), more.dtype)
                roots[g] = factor(xp.concat([root, more], axis=0))
        return xp.stack(roots)

    def row_hessians(self, rows: Rows) -> Any:
        objective, outputs = self.objective, self.first_order.outputs
        y, u, s = (
            take_rows(part, rows)
            for part in (objective.targets, outputs, objective.weight)
        )
        return self._named(lambda: self._hessians(y, u, s))

    @property
    def _row_groups(self) -> int:
        """Groups that the rows tell apart, G or 1."""
        objective, one = self.objective, slice(0, 1)
        u = objective.design.block(one) @ self.layout.unpack(self.theta).T
        return objective.loss.hessian(objective.targets[one, ...], u).shape[1]

    def _hessians(self, y: Array, u: Array, s: Array) -> Any:
        M = s[:, None, None, None] * self.objective.loss.hessian(y, u)
        if self.objective.loss.convex and bends_downwards(M):
            raise _NotConvex
        return M

    def _named(self, passed: Callable[[], Any]) -> Any:
        """Result of a pass over rows; an error names the row that is not convex."""
        try:
            return passed()
        except _NotConvex:
            objective, loss = self.objective, self.objective.loss
        M = loss.hessian(objective.targets, self.first_order.outputs)
        xp = array_namespace(M)
        least = xp.min(xp.linalg.diagonal(M), axis=(1, 2))
        least = xp.where(objective.weight > 0, least, xp.zeros_like(least))
        row = int(xp.argmin(least))
        raise IndefiniteCurvatureError(
            f"{type(loss).__name__} says it is convex, but its second derivative is "
            f"negative for row {row} ({float(least[row]):.1e}). If its formula is right, "
            "the loss has to say convex = False."
        )


class _NotConvex(Exception):
    """A block of rows has a negative second derivative, which its loss rules out."""


@final
@dataclass(frozen=True, eq=False)
class _Expansion:
    """Sums over rows of the second and the first derivatives of the loss."""

    grams: AbstractGrams
    first: FirstOrderSum

    def __add__(self, other: "_Expansion") -> "_Expansion":
        return _Expansion(self.grams + other.grams, self.first + other.first)


def _assembled(parts: Any, pairs: list[tuple[int, int]], group_size: int) -> Any:
    """Parts (q, q) of the pairs (k <= j) of outputs as one matrix (Kb q, Kb q).

    Without the pairs (k, k), their parts are those that make rows of blocks sum to zero:
    a constant added to all outputs changes nothing.
    """
    if group_size == 1:
        return parts[0]
    xp, q = array_namespace(parts[0]), parts[0].shape[0]
    shape, device = (group_size * q, group_size * q), device_of(parts[0])
    whole = xp.zeros(shape, dtype=parts[0].dtype, device=device)
    at = [slice(k * q, (k + 1) * q) for k in range(group_size)]
    given = any(k == j for k, j in pairs)
    for (k, j), part in zip(pairs, parts, strict=True):
        whole[at[k], at[j]] = part
        whole[at[j], at[k]] = part
        if not given:
            whole[at[k], at[k]] -= part
            whole[at[j], at[j]] -= part
    return whole


def _restricted(matrix: Array, moving: Array | None) -> Any:
    """A matrix with zero rows and columns for the entries that may not move."""
    if moving is None:
        return matrix
    mask = array_namespace(matrix).astype(moving, matrix.dtype)
    return mask[:, None] * matrix * mask


def _diagonal_rows(ridge: Array) -> Any:
    """Rows whose Gram matrix is ``diag(ridge)``, (D, D)."""
    xp = array_namespace(ridge)
    eye = xp.eye(ridge.shape[0], dtype=ridge.dtype, device=device_of(ridge))
    return eye * xp.sqrt(ridge)
