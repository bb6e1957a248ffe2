"""The Newton step corrected by third derivatives: no pass over all pairs of rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from skinfluence import _threads
from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._rows import row_blocks, sum_over_rows
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._one_step import (
    Newton,
    downdated_inverse,
    downdated_rhs,
)
from skinfluence.deletion._passes import summed_over_rows
from skinfluence.exceptions import InvalidParameterError
from skinfluence.solvers import (
    Point,
    RowTerms,
    own_outputs,
    row_gradients,
    row_terms,
    taken,
)

# The tensor is half of this number cubed: 67 MB at 256.
MOST_ENTRIES = 256
# Candidates whose pairs of entries are multiplied by the tensor at once.
_TOGETHER = 128
# Its products cost ``D**3`` flops a row, passes over the rows ``6 n D`` and some sums.
_ROWS_A_TENSOR_IS_WORTH = 4
_FIXED_POINT_STEPS = 3
# The series is trusted where its last two changes shrink to this, and while the whole
# correction stays small against the Newton step.
_LEAST_CONTRACTION = 0.3
_MOST_CORRECTION = 0.3


@final
@dataclass(frozen=True)
class Halley(AbstractDeletion):
    """``H_-i D + 1/2 T_-i[D, D] = s_i g_i + share``, by fixed-point steps from Newton's.

    ``T = sum_j s_j loss'''_j x_j x_j x_j``, downdated by row i, is formed once or
    multiplied row by row (``ThirdDerivative``). A row whose correction is not small
    against its Newton step, or does not settle, keeps its Newton step and is flagged.

    References
    ----------
    .. [1] Giordano et al. (2019). A higher-order Swiss army infinitesimal jackknife.
       Section 3.
    """

    point: Point

    @classmethod
    def of(cls, point: Point) -> "Halley":
        """The deletion at this point; refused where the loss has none of its kind."""
        loss = point.objective.loss
        if not (loss.has_third or loss.quadratic):
            raise InvalidParameterError(
                f"deletion='halley' needs third derivatives, which {type(loss).__name__} "
                "does not have: its second ones jump. Use 'newton' or 'exact'."
            )
        return cls(point)

    def deltas(self, rows: Rows) -> Deltas:
        newton = Newton(self.point).deltas(rows)
        if self.point.objective.loss.quadratic:
            return newton
        # The products are too small for threads inside BLAS.
        [(theta, settled)] = _threads.each(
            self.corrected, [row_terms(self.point, rows)]
        )
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

        def length(rhs: Array) -> Any:
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
    """``T_-i[v, w]``, third derivatives of the objective without a row, times vectors.

    A symmetric tensor of ``D**3 / 2`` numbers, formed by one pass. Where that costs more
    than passes for the products themselves, None, and each product is such a pass.
    """

    point: Point
    tensor: Any  # (G, D (D + 1) / 2, D) or None

    @classmethod
    def of(cls, point: Point) -> "ThirdDerivative":
        """By the tensor or by passes, whichever is cheaper."""
        size, n_rows = point.objective.layout.size, point.objective.n_rows
        is_cheap = size <= MOST_ENTRIES and size**2 <= _ROWS_A_TENSOR_IS_WORTH * n_rows
        return cls(point, tensor_of(point) if is_cheap else None)

    def product(self, terms: Any, left: Array, right: Array) -> Any:
        """``T_-i[left_i, right_i]`` for vectors (b, G, D), of their shape."""
        objective, layout = self.point.objective, self.point.objective.layout
        y = taken(objective.targets, terms.rows)
        moves = (own_outputs(terms.block, v, layout) for v in (left, right))
        moves = (layout.ungrouped(move)[..., None] for move in moves)  # (b, K, 1)
        own = objective.loss.third_product(y, terms.outputs, *moves)[..., 0]
        own = layout.grouped(terms.weight[:, None] * own)
        return self._whole(left, right) - layout.lifted(terms.block, own)

    def _whole(self, left: Array, right: Array) -> Any:
        """``T[left_i, right_i]`` with every row."""
        xp, loss = array_namespace(left), self.point.objective.loss
        if self.tensor is not None:
            parts = row_blocks(left.shape[0], left.shape[-1] ** 2, _TOGETHER, left)
            both = [left] if right is left else [left, right]
            found = [_times(self.tensor, *(v[p, ...] for v in both)) for p in parts]
            return xp.concat(found, axis=0)

        def slopes(y: Array, u: Array, s: Array, *moves: Array) -> Any:
            return s[:, None, None] * loss.third_product(y, u, *moves)

        return summed_over_rows(self.point, slopes, left, right)


def _times(tensor: Any, left: Array, right: Array | None = None) -> Any:
    """``T[left_i, right_i]``; of one and the same vector if there is no other."""
    xp = array_namespace(tensor)
    if right is None:
        pairs = _pairs(left, left)
    else:
        pairs = 0.5 * (_pairs(left, right) + _pairs(right, left))
    pairs = xp.permute_dims(pairs, (1, 0, 2))
    return xp.permute_dims(xp.matmul(pairs, tensor), (1, 0, 2))


def _pairs(left: Array, right: Array) -> Any:
    """``left_a right_b`` for all pairs of entries a <= b, (b, G, D (D + 1) / 2)."""
    entries = range(left.shape[-1])
    parts = [left[..., a : a + 1] * right[..., a:] for a in entries]
    return array_namespace(left).concat(parts, axis=-1)


def tensor_of(point: Point) -> Any:
    """``T = sum_j s_j l'''_j x_j x_j x_j``, one of each symmetric pair, and that twice."""
    objective, layout = point.objective, point.objective.layout
    xp = array_namespace(point.theta)

    def add(total: Array, block: Array, y: Array, u: Array, s: Array) -> Any:
        pairs = block[:, :, None] * block[:, None, :]
        third = s[:, None, None, None, None] * objective.loss.third(y, u)
        third = xp.reshape(third, (block.shape[0], -1, 1)) * block[:, None, :]
        left = xp.reshape(third, (block.shape[0], -1))  # (b, G Kb**3 q)
        total += left.T @ xp.reshape(pairs, (block.shape[0], -1))
        return total

    G, Kb, q = layout.n_groups, layout.group_size, layout.width
    shape = (G * Kb**3 * q, q**2)
    start = xp.zeros(shape, dtype=xp.float64, device=device_of(point.theta))
    aligned = objective.targets, point.outputs, objective.weight
    total = sum_over_rows(add, start, objective.design, *aligned)
    total = xp.reshape(total, (G, Kb, Kb, Kb, q, q, q))
    # Outputs beside their columns.
    total = xp.permute_dims(total, (0, 1, 4, 2, 5, 3, 6))
    total = xp.reshape(total, (G, layout.size, layout.size, layout.size))
    parts = [
        xp.concat([total[:, a, a : a + 1, :], 2 * total[:, a, a + 1 :, :]], axis=1)
        for a in range(layout.size)
    ]
    return xp.concat(parts, axis=1)
