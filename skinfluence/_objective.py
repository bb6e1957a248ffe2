"""The objective in sum form, ``F(theta) = sum_i s_i loss(y_i, u_i) + penalty(theta)``."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

from skinfluence._array import Array, array_namespace, device_of, like
from skinfluence._design import Design
from skinfluence._layout import Layout, Selection
from skinfluence._penalty import Penalty
from skinfluence._rows import map_over_rows, sum_over_rows
from skinfluence.losses import AbstractLoss


class FirstOrder(NamedTuple):
    """The gradient of the objective at one theta, with the outputs that gave it."""

    gradient: Any  # (G, D)
    outputs: Any  # (n, K)


@final
@dataclass(eq=False)
class FirstOrderSum:
    """The same of the rows seen so far, in their order, penalty apart."""

    gradient: Any  # (K, q)
    outputs: list[Any]  # of each block, (b, K)

    @classmethod
    def empty(cls, objective: "Objective") -> "FirstOrderSum":
        """Before any row."""
        weight, layout = objective.weight, objective.layout
        xp = array_namespace(weight)
        shape = (layout.n_outputs, layout.width)
        return cls(xp.zeros(shape, dtype=xp.float64, device=device_of(weight)), [])

    def add(self, block: Array, outputs: Array, slopes: Array) -> None:
        """Take a block (b, q), its outputs and weighted slopes, (b, K) each."""
        self.gradient = self.gradient + slopes.T @ block
        self.outputs.append(outputs)

    def __add__(self, other: "FirstOrderSum") -> "FirstOrderSum":
        return FirstOrderSum(
            self.gradient + other.gradient, [*self.outputs, *other.outputs]
        )

    def finished(self, objective: "Objective", theta: Array) -> FirstOrder:
        """Penalty added, outputs in one array."""
        gradient = objective.layout.pack(self.gradient.T)
        return FirstOrder(
            gradient + objective.penalty.gradient(theta),
            array_namespace(theta).concat(self.outputs, axis=0),
        )


@final
@dataclass(frozen=True, eq=False)
class Objective:
    """Loss, rows, weights and penalty of one fitted model.

    Where the penalty has corners (L1, or coefficients that must not be negative), this
    is the objective on the *active set*: entries off zero, their signs held. ``wider``
    is the objective on all features, corners included.
    """

    loss: AbstractLoss
    design: Design  # n rows
    targets: Any  # (n, K_y) y as the loss reads it
    weight: Any  # (n,) s_i, sample weight times class weight
    penalty: Penalty
    layout: Layout
    free: Any = None  # (G or 1, D) bool: entries that may move; None for all
    wider: "Objective | None" = None  # what this was narrowed from
    counts: Any = None  # (n,) what rows count in a mean loss; None for their weight

    @property
    def n_rows(self) -> int:
        """Number of training rows n."""
        return self.design.n_rows

    @property
    def rows(self) -> Design:
        """The design for products with its blocks, entries unseen."""
        return self.design.centred_by_formula

    @property
    def weight_sum(self) -> float:
        """``S = sum_i s_i``."""
        return float(array_namespace(self.weight).sum(self.weight))

    @property
    def counted(self) -> Any:
        """What each row counts in a mean loss, and in its share of the penalty, (n,)."""
        return self.weight if self.counts is None else self.counts

    def without(self, row: int) -> "Objective":
        """The objective when one row, and its share of the penalty, has left."""
        xp = array_namespace(self.weight)
        keep = xp.arange(self.n_rows, device=device_of(self.weight)) != row
        return replace(
            self,
            weight=xp.where(keep, self.weight, 0.0 * self.weight),
            penalty=self.penalty.without(float(self.counted[row])),
            wider=None if self.wider is None else self.wider.without(row),
        )

    def narrowed(self, theta: Array) -> tuple["Objective", Any]:
        """On the active set of theta, (G, D), and theta there."""
        if self.penalty.corners is None:
            return self, theta
        xp, p = array_namespace(theta), self.design.n_features
        free = (theta != 0) | ~self.penalty.corners.present  # (G, D)
        used = xp.any(self.layout.unpack(free), axis=0)  # (q,)
        numbers = xp.arange(self.layout.width, device=device_of(theta))
        columns = xp.nonzero(used | (numbers >= p))[0]
        selection = Selection(self.layout, columns)
        penalty = self.penalty.held(theta)
        strength, slope = (
            selection.picked(part) for part in (penalty.strength, penalty.slope)
        )
        free = selection.picked(free)
        features = columns[: columns.shape[0] - self.design.has_intercept]
        centre = xp.take(self.design.centre, features)
        narrow = replace(
            self,
            design=replace(self.design, columns=features, centre=centre),
            penalty=replace(penalty, strength=strength, slope=slope),
            layout=selection.narrow,
            free=None if bool(xp.all(free)) else free,
            wider=self,
        )
        return narrow, selection.picked(theta)

    @property
    def selection(self) -> Selection:
        """Working columns of ``wider`` that are in use here."""
        assert self.wider is not None
        columns, xp = self.design.columns, array_namespace(self.design.columns)
        if self.design.has_intercept:
            last = like([self.design.n_features], columns, columns.dtype)
            columns = xp.concat([columns, last])
        return Selection(self.wider.layout, columns)

    @property
    def penalised(self) -> Any:
        """Whether the penalty keeps each entry that may move in bounds, flat bool."""
        bounded = self.penalty.keeps_bounded
        xp = array_namespace(bounded)
        if self.free is None:
            return xp.reshape(bounded, (-1,))
        shape = (max(bounded.shape[0], self.free.shape[0]), bounded.shape[1])
        return xp.broadcast_to(bounded, shape)[xp.broadcast_to(self.free, shape)]

    @property
    def centred(self) -> bool:
        """Whether the columns are centred: the intercept is free."""
        xp = array_namespace(self.weight)
        return self.design.has_intercept and bool(xp.any(self.design.centre != 0))

    def recentred(self, theta: Array, outputs: Array) -> tuple["Objective", Any]:
        """The same objective and theta, columns centred by the curvature at ``outputs``.

        Then the intercept is orthogonal to the columns, wherever the curvature sits.
        """
        xp = array_namespace(outputs)
        M = self.loss.hessian(self.targets, outputs)
        bend = xp.abs(xp.sum(xp.linalg.diagonal(M), axis=(1, 2)))
        design = self.design.centred_by(self.weight * bend)
        coef, intercept = self.design.to_estimator(self.layout.unpack(theta))
        moved = self.layout.pack(design.to_working(coef, intercept))
        wider = self.wider
        if wider is not None:
            wide = wider.design.centred_by(self.weight * bend)
            wider = replace(wider, design=wide)
        return replace(self, design=design, wider=wider), moved

    def outputs(self, theta: Array) -> Any:
        """Linear outputs u of all rows, (n, K)."""
        B = self.layout.unpack(theta).T
        return map_over_rows(lambda block: block @ B, self.rows)

    def moves(self, vectors: Array) -> Any:
        """Outputs of all rows by m vectors (G, D, m) each: ``X~ V``, (n, K, m)."""
        xp, flat = array_namespace(vectors), self.layout.side_by_side(vectors)
        shape = (-1, self.layout.n_outputs, vectors.shape[-1])
        return map_over_rows(lambda block: xp.reshape(block @ flat, shape), self.rows)

    def lifted_sum(self, slopes: Array) -> Any:
        """``sum_i X~_i' slope_i`` for m slopes of each row, (n, K, m) to (G, D, m)."""
        xp, width = array_namespace(slopes), slopes.shape[1] * slopes.shape[2]
        flat = xp.reshape(slopes, (slopes.shape[0], width))
        start = _zeros((width, self.design.width), slopes)
        total = sum_over_rows(
            lambda total, block, part: total + part.T @ block, start, self.rows, flat
        )
        return self.layout.stacked(total)

    def first_order(self, theta: Array) -> FirstOrder:
        """Gradient and outputs at theta, in one pass over the rows."""
        B = self.layout.unpack(theta).T

        def add(
            total: FirstOrderSum, block: Array, y: Array, s: Array
        ) -> FirstOrderSum:
            u = block @ B
            total.add(block, u, s[:, None] * self.loss.gradient(y, u))
            return total

        start = FirstOrderSum.empty(self)
        total = sum_over_rows(add, start, self.rows, self.targets, self.weight)
        return total.finished(self, theta)

    def value(self, theta: Array, outputs: Array) -> float:
        """The objective at theta, where the outputs of the rows are known."""
        xp = array_namespace(outputs)
        losses = self.weight * self.loss.value(self.targets, outputs)
        return float(xp.sum(losses)) + float(self.penalty.value(theta))

    def pulled_back(self, slopes: Array) -> Any:
        """``sum_i X~_i' slope_i`` for slopes (n, K), as (G, D)."""
        start = _zeros((slopes.shape[1], self.design.width), slopes)
        total = sum_over_rows(
            lambda total, block, part: total + part.T @ block,
            start,
            self.rows,
            slopes,
        )
        return self.layout.pack(total.T)


def _zeros(shape: tuple[int, int], reference: Array) -> Any:
    xp = array_namespace(reference)
    return xp.zeros(shape, dtype=reference.dtype, device=device_of(reference))
