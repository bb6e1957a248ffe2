"""Curvature as a sum over rows, ``sum_i s_i X~_i' M_i X~_i + penalty''``."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from skinfluence._array import Array, array_namespace, device_of
from skinfluence._design import Design
from skinfluence._kernels import AbstractGrams, kernels, weighted_grams
from skinfluence._layout import gauge_basis
from skinfluence._objective import FirstOrder, FirstOrderSum, Objective, shifted
from skinfluence._rows import iterate, sum_over_rows
from skinfluence.curvature._base import AbstractCurvature


@final
@dataclass(frozen=True, eq=False)
class RowwiseCurvature(AbstractCurvature):
    """Second derivatives of an objective at theta, formed only when asked for."""

    objective: Objective
    theta: Any  # (G, D)
    damping: float = 0.0  # added to the Hessian of the average loss, H / S

    @property
    def size(self) -> int:
        return self.objective.layout.size

    @cached_property
    def first_order(self) -> FirstOrder:
        """Gradient of the objective at theta, and the outputs of the rows."""
        return self.objective.first_order(self.theta)

    @cached_property
    def value(self) -> float:
        """The objective at theta."""
        return self.objective.value(self.theta, self.first_order.outputs)

    @property
    def diagonal_part(self) -> Any:
        """What the rows do not give, (G or 1, D): penalty and damping."""
        ridge = self.objective.penalty.hessian_diagonal
        if self.damping == 0:  # no pass over the weights for nothing
            return ridge
        return ridge + self.damping * self.objective.weight_sum

    @property
    def gauge(self) -> Any:
        """Basis (D, z) of the directions that the objective does not see, or None."""
        layout, loss = self.objective.layout, self.objective.loss
        shift, free = loss.shift_invariant, self.objective.free
        if not shift:
            return None
        xp, penalty = array_namespace(self.theta), self.objective.penalty
        # Shifting all outputs of a column costs what the slopes of L1 do not balance.
        slope = penalty.slope + xp.zeros_like(self.theta)
        tilt = xp.abs(layout.pack(layout.summed_over_outputs(slope)))
        if penalty.corners is not None:
            tilt = tilt + xp.astype(penalty.corners.present, tilt.dtype)
        return gauge_basis(self.diagonal_part + tilt, layout, shift, free)

    def matvec(self, vectors: Array) -> Any:
        objective, layout = self.objective, self.objective.layout
        xp = array_namespace(vectors)
        flat = layout.side_by_side(vectors)  # (q, K m)
        shape = (-1, layout.n_outputs, vectors.shape[-1])

        def product(total: Array, block: Array, y: Array, u: Array, s: Array) -> Any:
            moves = xp.reshape(block @ flat, shape)  # (b, K, m)
            slopes = s[:, None, None] * objective.loss.hessian_product(y, u, moves)
            return total + xp.reshape(slopes, (moves.shape[0], -1)).T @ block

        start = xp.zeros_like(flat.T)
        aligned = objective.targets, self.first_order.outputs, objective.weight
        total = sum_over_rows(product, start, objective.rows, *aligned)
        return layout.stacked(total) + self.diagonal_part[..., None] * vectors

    def diagonal(self) -> Any:
        """Diagonal of H, (G, D), in one pass over the rows."""
        objective, layout = self.objective, self.objective.layout
        xp = array_namespace(self.theta)

        def add(total: Array, block: Array, y: Array, u: Array, s: Array) -> Any:
            bends = xp.linalg.diagonal(
                self._weighted_hessian(y, u, s)
            )  # (b, G or 1, Kb)
            bends = layout.ungrouped(xp.broadcast_to(bends, layout.grouped(u).shape))
            return total + kernels(block).squared_columns(block, bends)

        start = xp.zeros_like(layout.unpack(self.theta))
        aligned = objective.targets, self.first_order.outputs, objective.weight
        total = sum_over_rows(add, start, objective.rows, *aligned)
        return layout.pack(total.T) + self.diagonal_part

    def output_block(self, k: int) -> Any:
        """The block (q, q) of H that belongs to one output."""
        objective, layout = self.objective, self.objective.layout
        g, part = divmod(k, layout.group_size)

        def add(
            total: AbstractGrams, block: Array, y: Array, u: Array, s: Array
        ) -> AbstractGrams:
            M = self._weighted_hessian(y, u, s)
            total.add(block, M[:, min(g, M.shape[1] - 1), part, part][:, None])
            return total

        start = weighted_grams(objective.design.block(slice(0, 1)), 1)
        aligned = objective.targets, self.first_order.outputs, objective.weight
        total = sum_over_rows(add, start, objective.design, *aligned)
        (gram,) = total.finished()
        ridge = self.diagonal_part[min(g, self.diagonal_part.shape[0] - 1), :]
        ridge = ridge[part * layout.width : (part + 1) * layout.width]
        return kernels(gram).with_diagonal(gram, ridge)

    def as_matrix(self) -> Any:
        """H, and where ``first_order`` is not known yet, that from the same pass."""
        design = self.objective.design
        grams = self._grams(design.for_products)
        if not grams.exact:
            grams = self._grams(design)
        return self._from_grams(grams.finished())

    def _grams(self, design: Design) -> AbstractGrams:
        """The Gram matrix of each group and pair of outputs, from rows of a design."""
        objective, layout = self.objective, self.objective.layout
        xp, loss = array_namespace(self.theta), objective.loss
        pairs = self._pairs
        known = vars(self).get("first_order")
        B = layout.unpack(self.theta).T

        def add(
            total: _Expansion, block: Array, y: Array, s: Array, *given: Array
        ) -> _Expansion:
            outputs = shifted(block @ B, given) if known is None else given[0]
            M = self._weighted_hessian(y, outputs, s)
            if len(pairs) > 1:
                M = xp.stack([M[:, :, k, j] for k, j in pairs], axis=2)  # (b, G, pairs)
            total.grams.add(block, xp.reshape(M, (M.shape[0], -1)))
            if known is None:
                slopes = s[:, None] * loss.gradient(y, outputs)
                total.first.add(block, outputs, slopes)
            return total

        start = _Expansion(
            weighted_grams(design.block(slice(0, 1)), self._row_groups * len(pairs)),
            FirstOrderSum.empty(objective),
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
        loss, size = self.objective.loss, self.objective.layout.group_size
        return _output_pairs(size, diagonal=size == 1 or not loss.shift_invariant)

    def _from_grams(self, grams: list[Any]) -> Any:
        layout, pairs, ridge = self.objective.layout, self._pairs, self.diagonal_part
        groups = [
            _assembled(grams[first : first + len(pairs)], pairs, layout.group_size)
            for first in range(0, len(grams), len(pairs))
        ]
        if len(groups) < ridge.shape[0]:  # groups that only the penalty tells apart
            xp = array_namespace(ridge)
            groups = [xp.asarray(groups[0], copy=True) for _ in range(ridge.shape[0])]
        for g, matrix in enumerate(groups):
            own = ridge[min(g, ridge.shape[0] - 1), :]
            groups[g] = kernels(matrix).with_diagonal(matrix, own)
        if len(groups) == 1:
            return groups[0][None, :, :]
        return array_namespace(ridge).stack(groups)

    def upper_root(self) -> Any:
        """Upper triangular R with ``R'R = H``, (G or 1, D, D), never squaring X.

        Where the columns are nearly dependent, R keeps the digits that H has lost.
        Cost: about eight times that of ``as_matrix``.
        """
        objective = self.objective
        xp = array_namespace(self.theta)
        factor = kernels(self.theta).upper_factor
        n_groups = max(self.diagonal_part.shape[0], self._row_groups)
        roots = [_diagonal_rows(self.diagonal_part, g) for g in range(n_groups)]
        aligned = objective.targets, self.first_order.outputs, objective.weight
        for _, (block, y, u, s) in iterate(
            objective.design, *aligned, least_rows=2 * self.size, dense=True
        ):
            M = self._weighted_hessian(y, u, s)
            for g, root in enumerate(roots):
                rows = _root_rows(block, M[:, min(g, M.shape[1] - 1), :, :])
                roots[g] = factor(xp.concat([root, rows], axis=0))
        return xp.stack(roots)

    @property
    def _row_groups(self) -> int:
        """Groups that the rows tell apart, G or 1."""
        objective, one = self.objective, slice(0, 1)
        u = objective.design.block(one) @ objective.layout.unpack(self.theta).T
        return objective.loss.hessian(objective.targets[one, ...], u).shape[1]

    def _weighted_hessian(self, y: Array, u: Array, s: Array) -> Any:
        return s[:, None, None, None] * self.objective.loss.hessian(y, u)


@final
@dataclass(frozen=True, eq=False)
class _Expansion:
    """Sums over rows of the second and the first derivatives of the loss."""

    grams: AbstractGrams
    first: FirstOrderSum

    def __add__(self, other: "_Expansion") -> "_Expansion":
        return _Expansion(self.grams + other.grams, self.first + other.first)


def _output_pairs(group_size: int, *, diagonal: bool) -> list[tuple[int, int]]:
    """Pairs (k <= j) of outputs, those of an output with itself only on demand."""
    return [
        (k, j)
        for k in range(group_size)
        for j in range(k if diagonal else k + 1, group_size)
    ]


def _assembled(parts: Any, pairs: list[tuple[int, int]], group_size: int) -> Any:
    """(q, q) parts of the pairs (k <= j) as one (Kb q, Kb q) matrix.

    Without parts of an output with itself, they are what makes rows of blocks sum to
    zero: a constant added to all outputs changes nothing.
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


def _diagonal_rows(ridge: Array, group: int) -> Any:
    """Rows whose Gram matrix is the ridge of a group, (D, D)."""
    xp = array_namespace(ridge)
    values = ridge[min(group, ridge.shape[0] - 1), :]
    eye = xp.eye(values.shape[0], dtype=values.dtype, device=device_of(values))
    return eye * xp.sqrt(values)


def _root_rows(block: Array, M: Array) -> Any:
    """Rows (b Kb, D) whose Gram matrix is ``sum_i X~_i' M_i X~_i``."""
    xp = array_namespace(block)
    values, vectors = xp.linalg.eigh(M)  # (b, Kb), (b, Kb, Kb)
    # A softmax has an eigenvalue of exactly 0; the root of its rounding would be 1e-8.
    rounding = 1e-15 * M.shape[-1] * values[:, -1:]
    values = xp.where(values > rounding, values, xp.zeros_like(values))
    root = xp.sqrt(values)[:, :, None] * xp.matrix_transpose(vectors)
    rows = root[..., None] * block[:, None, None, :]  # (b, Kb, Kb, q)
    return xp.reshape(rows, (-1, M.shape[1] * block.shape[1]))
