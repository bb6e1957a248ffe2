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
        return gauge_basis(self.diagonal_part, layout, shift, free)

    def matvec(self, vectors: Any) -> Any:
        objective, layout = self.objective, self.objective.layout
        xp = array_namespace(vectors)
        m = vectors.shape[-1]
        columns = layout.columns(vectors)  # (K, q, m)

        def product(total: Any, block: Any, y: Any, u: Any, s: Any) -> Any:
            outputs = xp.matmul(block[None, :, :], columns)  # (K, b, m)
            outputs = layout.grouped(xp.permute_dims(outputs, (1, 2, 0)))
            M = self._weighted_hessian(y, u, s)[:, None, ...]  # (b, 1, G, Kb, Kb)
            slopes = xp.matmul(M, outputs[..., None])[..., 0]  # (b, m, G, Kb)
            slopes = xp.permute_dims(layout.ungrouped(slopes), (2, 0, 1))  # (K, b, m)
            return total + xp.matmul(block.T[None, :, :], slopes)

        start = xp.zeros_like(columns)
        aligned = objective.targets, self.first_order.outputs, objective.weight
        total = sum_over_rows(product, start, objective.design, *aligned)
        shape = (layout.n_groups, layout.size, m)
        return xp.reshape(total, shape) + self.diagonal_part[..., None] * vectors

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
            for g, row in enumerate(total.grams):
                for part, (k, j) in enumerate(pairs):
                    row[part] = kernel.add_gram(row[part], block, M[:, g, k, j])
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
            objective.design, *aligned, least_rows=2 * self.size
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
