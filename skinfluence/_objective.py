"""The objective in sum form, ``F(theta) = sum_i s_i loss(y_i, u_i) + penalty(theta)``."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

from skinfluence._array import array_namespace
from skinfluence._design import Design
from skinfluence._layout import Layout
from skinfluence._penalty import Penalty
from skinfluence._rows import map_over_rows, sum_over_rows
from skinfluence.losses import AbstractLoss


class FirstOrder(NamedTuple):
    """The gradient of the objective at one theta, with the outputs that gave it."""

    gradient: Any  # (G, D)
    outputs: Any  # (n, K)


@final
@dataclass(frozen=True, eq=False)
class Objective:
    """Loss, rows, weights and penalty of one fitted model."""

    loss: AbstractLoss
    design: Design  # n rows
    targets: Any  # (n, K_y) y as the loss reads it
    weight: Any  # (n,) s_i, sample weight times class weight
    penalty: Penalty
    layout: Layout
    free: Any = None  # (G or 1, D) bool: entries that may move; None for all

    @property
    def n_rows(self) -> int:
        """Number of training rows n."""
        return self.design.n_rows

    @property
    def weight_sum(self) -> float:
        """``S = sum_i s_i``."""
        return float(array_namespace(self.weight).sum(self.weight))

    def without(self, row: int) -> "Objective":
        """The objective when one row, and its share of the penalty, has left."""
        xp = array_namespace(self.weight)
        keep = xp.arange(self.n_rows) != row
        return replace(
            self,
            weight=xp.where(keep, self.weight, 0.0 * self.weight),
            penalty=self.penalty.without(float(self.weight[row])),
        )

    @property
    def free_strength(self) -> Any:
        """Penalty strengths of the entries that may move, flat."""
        xp = array_namespace(self.penalty.strength)
        strength = self.penalty.strength
        if self.free is None:
            return xp.reshape(strength, (-1,))
        shape = (max(strength.shape[0], self.free.shape[0]), strength.shape[1])
        return xp.broadcast_to(strength, shape)[xp.broadcast_to(self.free, shape)]

    @property
    def centred(self) -> bool:
        """Whether the columns are centred: the intercept is free."""
        xp = array_namespace(self.weight)
        return self.design.has_intercept and bool(xp.any(self.design.centre != 0))

    def recentred(self, theta: Any, outputs: Any) -> tuple["Objective", Any]:
        """The same objective and theta, columns centred by the curvature at ``outputs``.

        Then the intercept is orthogonal to the columns, wherever the curvature sits.
        """
        xp = array_namespace(outputs)
        M = self.loss.hessian(self.targets, outputs)
        bend = xp.sum(xp.linalg.diagonal(M), axis=(1, 2))
        design = self.design.centred_by(self.weight * bend)
        coef, intercept = self.design.to_estimator(self.layout.unpack(theta))
        moved = self.layout.pack(design.to_working(coef, intercept))
        return replace(self, design=design), moved

    def outputs(self, theta: Any) -> Any:
        """Linear outputs u of all rows, (n, K)."""
        B = self.layout.unpack(theta).T
        return map_over_rows(lambda block: block @ B, self.design)

    def first_order(self, theta: Any) -> FirstOrder:
        """Gradient and outputs at theta."""
        outputs = self.outputs(theta)
        slopes = self.weight[:, None] * self.loss.gradient(self.targets, outputs)
        gradient = self.pulled_back(slopes) + self.penalty.gradient(theta)
        return FirstOrder(gradient, outputs)

    def value(self, theta: Any, outputs: Any) -> float:
        """The objective at theta, where the outputs of the rows are known."""
        xp = array_namespace(outputs)
        losses = self.weight * self.loss.value(self.targets, outputs)
        return float(xp.sum(losses)) + float(self.penalty.value(theta))

    def pulled_back(self, slopes: Any) -> Any:
        """``sum_i X~_i' slope_i`` for slopes (n, K), as (G, D)."""
        xp = array_namespace(slopes)
        start = xp.zeros((slopes.shape[1], self.design.width), dtype=slopes.dtype)
        total = sum_over_rows(
            lambda total, block, part: total + part.T @ block,
            start,
            self.design,
            slopes,
        )
        return self.layout.pack(total.T)
