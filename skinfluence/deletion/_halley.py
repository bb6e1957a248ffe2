"""The Newton step corrected by third derivatives: no pass over all pairs of rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from skinfluence._array import array_namespace, device_of
from skinfluence._rows import sum_over_rows
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._one_step import (
    Newton,
    downdated_inverse,
    downdated_rhs,
)
from skinfluence.exceptions import InvalidParameterError
from skinfluence.solvers import (
    Point,
    RowTerms,
    own_outputs,
    row_gradients,
    row_terms,
    taken,
)

# Third derivatives are this number cubed: 67 MB at 256.
MOST_COLUMNS = 256
_FIXED_POINT_STEPS = 3
# The series is trusted where its last two changes shrink to this, and while the whole
# correction stays small against the Newton step.
_LEAST_CONTRACTION = 0.3
_MOST_CORRECTION = 0.3


@final
@dataclass(frozen=True)
class Halley(AbstractDeletion):
    """``H_-i D + 1/2 T_-i[D, D] = s_i g_i + share``, by fixed-point steps from Newton's.

    ``T = sum_j s_j loss'''_j x_j x_j x_j`` is formed once, ``n D**3`` flops and
    ``D**3 / 2`` numbers, and downdated by row i. A row whose correction is not small
    against its Newton step, or does not settle, keeps its Newton step and is flagged.

    References
    ----------
    .. [1] Giordano et al. (2019). A higher-order Swiss army infinitesimal jackknife.
       Section 3.
    """

    point: Point

    @classmethod
    def of(cls, point: Point) -> "Halley":
        """The deletion at this point; refused where its tensor is not to be had."""
        layout, loss = point.objective.layout, point.objective.loss
        if layout.group_size > 1 or not (loss.has_third or loss.quadratic):
            raise InvalidParameterError(
                f"deletion='halley' needs third derivatives of uncoupled outputs, which "
                f"{type(loss).__name__} does not have. Use 'newton' or 'exact'."
            )
        if layout.width > MOST_COLUMNS:
            raise InvalidParameterError(
                f"deletion='halley' holds {layout.width}**3 / 2 third derivatives; it is "
                f"meant for at most {MOST_COLUMNS} columns. Use 'newton' or 'exact'."
            )
        return cls(point)

    def deltas(self, rows: Any) -> Deltas:
        newton = Newton(self.point).deltas(rows)
        if self.point.objective.loss.quadratic:
            return newton
        terms = row_terms(self.point, rows)
        theta, settled = self.corrected(terms)
        xp = array_namespace(theta)
        return newton._replace(
            theta=xp.where(settled[:, None, None], theta, newton.theta),
            n_steps=newton.n_steps + _FIXED_POINT_STEPS * xp.astype(settled, xp.int64),
            converged=settled | newton.unidentified,
        )

    def corrected(self, terms: RowTerms) -> tuple[Any, Any]:
        """Deltas after the fixed-point steps, and where they can be trusted, (b,)."""
        point, factor = self.point, self.point.factor
        layout, xp = point.objective.layout, array_namespace(terms.block)
        A = factor.row_blocks_of_inverse(terms.block, layout, terms.share, terms.rows)
        inverse, _ = downdated_inverse(terms.bend, A)
        slope = terms.weight[:, None, None] * terms.slope
        start = row_gradients(point, terms, slope)

        def length(rhs: Any) -> Any:
            return factor.norm(xp.permute_dims(rhs, (1, 2, 0)))

        newton = rhs = downdated_rhs(point, terms, inverse, start)
        changes = []
        for _ in range(_FIXED_POINT_STEPS):
            theta = factor.steps(rhs, terms.share)
            bent = 0.5 * self.third.product(terms, theta, theta)
            before, rhs = rhs, downdated_rhs(point, terms, inverse, start - bent)
            changes.append(length(rhs - before))
        settles = changes[-1] <= _LEAST_CONTRACTION * changes[-2]
        rounding = changes[-1] <= 1e-14 * length(newton)
        small = length(rhs - newton) <= _MOST_CORRECTION * length(newton)
        return factor.steps(rhs, terms.share), (settles & small) | rounding

    @cached_property
    def third(self) -> "ThirdDerivative":
        """Third derivative of the objective at the point."""
        return ThirdDerivative.of(self.point)


@final
@dataclass(frozen=True)
class ThirdDerivative:
    """``T[D, D]`` for losses whose outputs are not coupled (Kb = 1).

    Symmetric, so pairs (a <= b) of columns are enough.
    """

    point: Point
    tensor: Any  # (G, D, D (D + 1) / 2)
    pairs: tuple[Any, Any]  # a, b, each (D (D + 1) / 2,)

    @classmethod
    def of(cls, point: Point) -> "ThirdDerivative":
        """Sum over the rows, block by block."""
        objective = point.objective
        xp = array_namespace(point.theta)
        width = objective.layout.width
        pairs = [(a, b) for a in range(width) for b in range(a, width)]
        first, second = (
            xp.asarray(column, device=device_of(point.theta))
            for column in zip(*pairs, strict=True)
        )

        def add(total: Any, block: Any, y: Any, u: Any, s: Any) -> Any:
            products = xp.take(block, first, axis=1) * xp.take(block, second, axis=1)
            bend = s[:, None] * objective.loss.third(y, u)  # (b, K)
            scaled = bend.T[:, :, None] * block[None, :, :]  # (K, b, q)
            return total + xp.matmul(xp.matrix_transpose(scaled), products)

        shape = (objective.layout.n_groups, width, len(pairs))
        aligned = objective.targets, point.outputs, objective.weight
        start = xp.zeros(shape, dtype=xp.float64, device=device_of(point.theta))
        total = sum_over_rows(add, start, objective.design, *aligned)
        return cls(point, total, (first, second))

    def product(self, terms: Any, left: Any, right: Any) -> Any:
        """``T_-i[left_i, right_i]`` for vectors (b, G, D), of their shape."""
        xp = array_namespace(left)
        objective, (first, second) = self.point.objective, self.pairs
        products = xp.take(left, first, axis=2) * xp.take(right, second, axis=2)
        products += xp.take(left, second, axis=2) * xp.take(right, first, axis=2)
        diagonal = xp.astype(first == second, xp.float64)
        products *= 1 - 0.5 * diagonal  # it came twice
        whole = xp.matmul(
            self.tensor, xp.permute_dims(products, (1, 2, 0))
        )  # (G, D, b)
        y = taken(objective.targets, terms.rows)
        bend = objective.layout.grouped(objective.loss.third(y, terms.outputs))
        own = terms.weight[:, None, None] * bend
        for vectors in (left, right):
            own = own * own_outputs(terms.block, vectors, objective.layout)
        return xp.permute_dims(whole, (2, 0, 1)) - objective.layout.lifted(
            terms.block, own
        )
