"""Curvature as a sum over rows, ``sum_i s_i X~_i' M_i X~_i + penalty''``."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final

from skinfluence._array import array_namespace, device_of
from skinfluence._kernels import kernels
from skinfluence._layout import gauge_basis
from skinfluence._objective import FirstOrder, Objective
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

    def matvec(self, vectors: Any) -> Any:
        objective, layout = self.objective, self.objective.layout
        xp = array_namespace(vectors)
        flat = layout.side_by_side(vectors)  # (q, K m)
        shape = (-1, layout.n_outputs, vectors.shape[-1])

        def product(total: Any, block: Any, y: Any, u: Any, s: Any) -> Any:
            moves = xp.reshape(block @ flat, shape)  # (b, K, m)
            slopes = s[:, None, None] * objective.loss.hessian_product(y, u, moves)
            return total + xp.reshape(slopes, (moves.shape[0], -1)).T @ block

        start = xp.zeros_like(flat.T)
        aligned = objective.targets, self.first_order.outputs, objective.weight
        total = sum_over_rows(product, start, objective.design, *aligned)
        return layout.stacked(total) + self.diagonal_part[..., None] * vectors

    def diagonal(self) -> Any:
        """Diagonal of H, (G, D), in one pass over the rows."""
        objective, layout = self.objective, self.objective.layout
        xp = array_namespace(self.theta)

        def add(total: Any, block: Any, y: Any, u: Any, s: Any) -> Any:
            bends = xp.linalg.diagonal(
                self._weighted_hessian(y, u, s)
            )  # (b, G or 1, Kb)
            bends = layout.ungrouped(xp.broadcast_to(bends, layout.grouped(u).shape))
            return total + kernels(block).squared_columns(block, bends)

        start = xp.zeros_like(layout.unpack(self.theta))
        aligned = objective.targets, self.first_order.outputs, objective.weight
        total = sum_over_rows(add, start, objective.design, *aligned)
        return layout.pack(total.T) + self.diagonal_part

    def output_block(self, k: int) -> Any:
        """The block (q, q) of H that belongs to one output."""
        objective, layout = self.objective, self.objective.layout
        g, part = divmod(k, layout.group_size)

        def add(total: Any, block: Any, y: Any, u: Any, s: Any) -> Any:
            M = self._weighted_hessian(y, u, s)
            bend = M[:, min(g, M.shape[1] - 1), part, part]
            return kernels(block).add_gram(total, block, bend)

        kernel = kernels(self.theta)
        start = kernel.empty_gram(layout.width, self.theta)
        aligned = objective.targets, self.first_order.outputs, objective.weight
        gram = kernel.finished_gram(
            sum_over_rows(add, start, objective.design, *aligned)
        )
        ridge = self.diagonal_part[min(g, self.diagonal_part.shape[0] - 1), :]
        ridge = ridge[part * layout.width : (part + 1) * layout.width]
        xp = array_namespace(gram)
        eye = xp.eye(layout.width, dtype=gram.dtype, device=device_of(gram))
        return gram + ridge * eye

    def as_matrix(self) -> Any:
        objective, layout = self.objective, self.objective.layout
        xp = array_namespace(self.theta)
        B = layout.unpack(self.theta).T
        pairs = _output_pairs(layout.group_size)
        kernel = kernels(self.theta)
        n_groups = self._row_groups
        grams = [
            [kernel.empty_gram(layout.width, self.theta) for _ in pairs]
            for _ in range(n_groups)
        ]

        # One pass gives the first derivatives as well: reading X costs more than they.
        def add(total: _Expansion, block: Any, y: Any, s: Any) -> _Expansion:
            u = block @ B
            M = s[:, None, None, None] * objective.loss.hessian(y, u)
            slope = s[:, None] * objective.loss.gradient(y, u)
            add_gram = kernels(block).add_gram
            for g, row in enumerate(total.grams):
                for part, (k, j) in enumerate(pairs):
                    row[part] = add_gram(row[part], block, M[:, g, k, j])
            return _Expansion(
                total.grams,
                total.gradient + slope.T @ block,
                [*total.outputs, u],
            )

        start = _Expansion(grams, xp.zeros_like(B.T), [])
        aligned = objective.targets, objective.weight
        total = sum_over_rows(add, start, objective.design, *aligned)
        self._remember(total)
        groups = [[kernel.finished_gram(part) for part in row] for row in total.grams]
        data = xp.stack([_assembled(row, pairs, layout.group_size) for row in groups])
        eye = xp.eye(layout.size, dtype=data.dtype, device=device_of(data))
        return data + self.diagonal_part[..., None] * eye

    def _remember(self, total: "_Expansion") -> None:
        penalty = self.objective.penalty
        vars(self)["first_order"] = FirstOrder(
            self.objective.layout.pack(total.gradient.T) + penalty.gradient(self.theta),
            array_namespace(self.theta).concat(total.outputs, axis=0),
        )

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
        one = slice(0, 1)
        u = (
            self.objective.design.block(one)
            @ self.objective.layout.unpack(self.theta).T
        )
        y = self.objective.targets[one, ...]
        return self.objective.loss.hessian(y, u).shape[1]

    def _weighted_hessian(self, y: Any, u: Any, s: Any) -> Any:
        return s[:, None, None, None] * self.objective.loss.hessian(y, u)


class _Expansion(NamedTuple):
    """Sums over rows of the derivatives of the loss, and the outputs."""

    grams: list[list[Any]]  # of each group, (q, q) for each pair of outputs
    gradient: Any  # (K, q)
    outputs: list[Any]  # of each block, (b, K)


def _output_pairs(group_size: int) -> list[tuple[int, int]]:
    return [(k, j) for k in range(group_size) for j in range(k, group_size)]


def _assembled(parts: Any, pairs: list[tuple[int, int]], group_size: int) -> Any:
    """(q, q) parts of the pairs (k <= l) as one (Kb q, Kb q) matrix."""
    xp = array_namespace(parts[0])
    part = dict(zip(pairs, parts, strict=True))
    rows = [
        xp.concat([part[min(k, j), max(k, j)] for j in range(group_size)], axis=1)
        for k in range(group_size)
    ]
    return xp.concat(rows, axis=0)


def _diagonal_rows(ridge: Any, group: int) -> Any:
    """Rows whose Gram matrix is the ridge of a group, (D, D)."""
    xp = array_namespace(ridge)
    values = ridge[min(group, ridge.shape[0] - 1), :]
    eye = xp.eye(values.shape[0], dtype=values.dtype, device=device_of(values))
    return eye * xp.sqrt(values)


def _root_rows(block: Any, M: Any) -> Any:
    """Rows (b Kb, D) whose Gram matrix is ``sum_i X~_i' M_i X~_i``."""
    xp = array_namespace(block)
    values, vectors = xp.linalg.eigh(M)  # (b, Kb), (b, Kb, Kb)
    # A softmax has an eigenvalue of exactly 0; the root of its rounding would be 1e-8.
    rounding = 1e-15 * M.shape[-1] * values[:, -1:]
    values = xp.where(values > rounding, values, xp.zeros_like(values))
    root = xp.sqrt(values)[:, :, None] * xp.matrix_transpose(vectors)
    rows = root[..., None] * block[:, None, None, :]  # (b, Kb, Kb, q)
    return xp.reshape(rows, (-1, M.shape[1] * block.shape[1]))
