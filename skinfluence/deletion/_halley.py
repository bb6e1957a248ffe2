"""The Newton step corrected by third derivatives: no pass over all pairs of rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from skinfluence import _threads
from skinfluence._array import Array, Rows, array_namespace, device_of
from skinfluence._rows import row_blocks, sum_over_rows
from skinfluence.deletion._base import AbstractDeletion, Deltas
from skinfluence.deletion._fill_error import with_fill_error
from skinfluence.deletion._leaving import AbstractLeaving, OneByOne, Step
from skinfluence.deletion._one_step import Newton
from skinfluence.deletion._passes import summed_over_rows
from skinfluence.deletion._vouching import own_length, vouched_groups
from skinfluence.solvers import AbstractSolver, Point

# The tensor has half the cube of this many entries: 67 MB at 256.
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
# A last change of this part of the Newton step is rounding: there was nothing to correct.
_ROUNDING = 1e-14


@final
@dataclass(frozen=True)
class Halley(AbstractDeletion):
    """``H_-G D + 1/2 T_-G[D, D] = sum_i s_i g_i + share``, by steps from Newton's.

    ``T = sum_j s_j loss'''_j x_j x_j x_j``, downdated by the rows that leave, is formed
    once or multiplied row by row (``ThirdDerivative``). Where the correction is not small
    against the Newton step, or does not settle, the Newton step stays and is flagged.

    References
    ----------
    .. [1] Giordano et al. (2019). A higher-order Swiss army infinitesimal jackknife.
       Section 3.
    .. [2] Basu, You & Feizi (2020). On second-order group influence functions for
       black-box predictions. ICML. Section 3, for groups.
    """

    point: Point
    solver: AbstractSolver

    @cached_property
    def newton(self) -> Newton:
        """Where the steps start."""
        return Newton(self.point, self.solver)

    def deltas(self, rows: Rows) -> Deltas:
        if self.point.objective.loss.quadratic:
            return self.newton.deltas(rows)
        unbounded = self.newton.unbounded(rows)
        return self._deltas(OneByOne.of(self.point, rows), unbounded)

    def group_delta(self, rows: Array) -> Deltas:
        if self.point.objective.loss.quadratic:
            return self.newton.group_delta(rows)
        group = self.newton.group(rows)
        return self._deltas(group, group.unbounded)

    def _deltas(self, leaving: AbstractLeaving, unbounded: Array | bool) -> Deltas:
        """Newton's deltas, corrected where the correction can be trusted."""

        def corrected(newton: Step) -> tuple[Step, Any]:
            return self.corrected(leaving, newton)

        newton = leaving.solve(leaving.gradient)
        # The products are too small for threads inside BLAS.
        [(better, trusted)] = _threads.each(corrected, [newton])
        xp = array_namespace(trusted)
        theta = xp.where(trusted[:, None, None], better.value, newton.value)
        deltas = self.newton.certified(theta, leaving.unidentified, unbounded)
        length = better.less(newton).length
        apart = xp.where(trusted, length, xp.zeros_like(length))
        deltas = vouched_groups(deltas, leaving, newton, self.solver, apart)
        if self.point.objective.spreads:
            far = own_length(leaving, newton) + apart
            known = self.point, leaving.fills, leaving.nearby(), far
            deltas = with_fill_error(deltas, *known)
        return deltas._replace(
            n_steps=deltas.n_steps + _FIXED_POINT_STEPS * xp.astype(trusted, xp.int64),
            converged=trusted | deltas.is_missing,
        )

    def corrected(self, leaving: AbstractLeaving, newton: Step) -> tuple[Step, Any]:
        """The way to the end of the fixed-point steps, and where to trust it, (b,)."""
        gradient, at = leaving.gradient, newton
        changes = []
        for _ in range(_FIXED_POINT_STEPS):
            bent = 0.5 * self.third.product(leaving, at.value, at.value)
            before, at = at, leaving.solve(gradient - bent)
            changes.append(at.less(before).length)
        settles = changes[-1] <= _LEAST_CONTRACTION * changes[-2]
        rounding = changes[-1] <= _ROUNDING * newton.length
        small = at.less(newton).length <= _MOST_CORRECTION * newton.length
        return at, (settles & small) | rounding

    @cached_property
    def third(self) -> "ThirdDerivative":
        """Third derivative of the objective at the point."""
        return ThirdDerivative.of(self.point)


@final
@dataclass(frozen=True)
class ThirdDerivative:
    """``T_-G[v, w]``, third derivatives of the objective without rows, times vectors.

    A symmetric tensor of ``D**3 / 2`` entries, formed by one pass. Where that costs more
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

    def product(self, leaving: AbstractLeaving, left: Array, right: Array) -> Any:
        """``T_-G[left, right]`` for a vector of each group, (b, G, D), of their shape."""
        return self._whole(left, right) - leaving.third_product(left, right)

    def _whole(self, left: Array, right: Array) -> Any:
        """``T[left, right]`` of all rows."""
        xp, loss = array_namespace(left), self.point.objective.loss
        if self.tensor is not None:
            parts = row_blocks(left.shape[0], left.shape[-1] ** 2, _TOGETHER, left)
            both = [left] if right is left else [left, right]
            products = [_times(self.tensor, *(v[p, ...] for v in both)) for p in parts]
            return xp.concat(products, axis=0)

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
