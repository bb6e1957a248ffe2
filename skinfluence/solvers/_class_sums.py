"""Sums over the rows of each class, to weigh the classes otherwise."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from skinfluence._array import Array, array_namespace, device_of, take_rows
from skinfluence._class_weights import BalancedWeights
from skinfluence._layout import Layout
from skinfluence._objective import Objective
from skinfluence._rows import row_blocks
from skinfluence.curvature import RowwiseCurvature

# Second derivatives of all classes are formed up to so many entries, 256 MB.
_MOST_ENTRIES = 2**25


@final
@dataclass(frozen=True, eq=False)
class ClassSums:
    """Gradients ``g_c`` and second derivatives ``H_c`` of the losses of each class.

    Factors are those of ``BalancedWeights``, (b, C + 1, G or 1): what a class weighs more
    than at the fit is its factor less 1.
    """

    curvature: RowwiseCurvature  # with balanced class weights
    weights: BalancedWeights

    @cached_property
    def gradients(self) -> list[Any]:
        """``g_c``, (G, D) of each class."""
        objective, layout = self._objective, self._layout
        u = self.curvature.first_order.outputs
        slopes = objective.loss.gradient(objective.targets, u)
        slopes = layout.grouped(objective.weight[:, None] * slopes)
        xp, zero = array_namespace(slopes), array_namespace(slopes).zeros_like(slopes)
        return [
            objective.pulled_back(
                layout.ungrouped(
                    xp.where(self.weights.of_class(c)[..., None], slopes, zero)
                )
            )
            for c in range(self.weights.n_classes)
        ]

    @cached_property
    def hessians(self) -> list[Any] | None:
        """``H_c``, (G or 1, D, D) of each class; None where they are too large."""
        layout, n_classes = self._layout, self.weights.n_classes
        if n_classes * layout.n_groups * layout.size**2 > _MOST_ENTRIES:
            return None
        return [self._hessian(c) for c in range(n_classes)]

    def _hessian(self, c: int) -> Any:
        """By the rows that are of the class in some group, some at a time."""
        xp, of_class = array_namespace(self.curvature.theta), self.weights.of_class(c)
        rows = xp.nonzero(xp.any(of_class, axis=1))[0]
        shape = (1, self._layout.size, self._layout.size)
        place = device_of(self.curvature.theta)
        total = xp.zeros(shape, dtype=self.curvature.theta.dtype, device=place)
        for part in row_blocks(rows.shape[0], self._layout.width):
            some = rows[part]
            held = xp.astype(take_rows(of_class, some), total.dtype)
            objective = self._objective.only(some).weighted(held)
            total = (
                total + RowwiseCurvature(objective, self.curvature.theta).as_matrix()
            )
        return total

    def pull(self, factors: Array) -> Any:
        """What the gradient gains at theta by these factors, (b, G, D)."""
        total = 0.0
        for c, gradient in enumerate(self.gradients):
            total = total + (factors[:, c, :, None] - 1) * gradient
        return total

    def product(self, factors: Array, vectors: Array) -> Any:
        """What H gains by each of these factors, times a vector of its own, (b, G, D)."""
        assert self.hessians is not None
        xp = array_namespace(vectors)
        columns = xp.permute_dims(vectors, (1, 2, 0))
        total = xp.zeros_like(columns)
        for c, hessian in enumerate(self.hessians):
            part = xp.matmul(hessian, columns)
            part *= xp.permute_dims(factors[:, c, :] - 1, (1, 0))[:, None, :]
            total += part
        return xp.permute_dims(total, (2, 0, 1))

    def matrix(self, factors: Array) -> Any:
        """What H gains by factors (1, C + 1, G or 1), (G or 1, D, D)."""
        assert self.hessians is not None
        total = 0.0
        for c, hessian in enumerate(self.hessians):
            total = total + (factors[0, c, :] - 1)[:, None, None] * hessian
        return total

    @property
    def _objective(self) -> Objective:
        return self.curvature.objective

    @property
    def _layout(self) -> Layout:
        return self.curvature.objective.layout
