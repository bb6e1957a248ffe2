"""The objective in sum form, ``F(theta) = sum_i s_i loss(y_i, u_i) + penalty(theta)``."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np

from skinfluence._array import (
    Array,
    Rows,
    array_namespace,
    device_of,
    like,
    take_rows,
    to_numpy,
)
from skinfluence._class_weights import BalancedWeights
from skinfluence._design import Design
from skinfluence._following import AbstractFollowing, Gaps, Norm
from skinfluence._layout import Layout, Selection
from skinfluence._penalty import Penalty
from skinfluence._rows import map_over_rows, sum_over_rows
from skinfluence.losses import AbstractLoss


class FirstOrder(NamedTuple):
    """The gradient of the objective at one theta, and the outputs of the rows there."""

    gradient: Any  # (G, D)
    outputs: Any  # (n, K)


@final
@dataclass(eq=False)
class FirstOrderSum:
    """Sums for ``FirstOrder`` over the rows so far, in their order, without penalty."""

    gradient: Any  # (K, q)
    outputs: list[Any]  # of each block, (b, K)

    @classmethod
    def empty(cls, objective: "Objective") -> "FirstOrderSum":
        """Before any row."""
        layout = objective.layout
        return cls(_zeros((layout.n_outputs, layout.width), objective.weight), [])

    def add(self, block: Array, outputs: Array, slopes: Array) -> None:
        """Add a block (b, q), its outputs and weighted slopes, (b, K) each."""
        self.gradient = self.gradient + slopes.T @ block
        self.outputs.append(outputs)

    def __add__(self, other: "FirstOrderSum") -> "FirstOrderSum":
        return FirstOrderSum(
            self.gradient + other.gradient, [*self.outputs, *other.outputs]
        )

    def finished(self, objective: "Objective", theta: Array) -> FirstOrder:
        """The gradient with its penalty, and all outputs in one array."""
        gradient = objective.layout.pack(self.gradient.T)
        gradient = gradient + objective.penalty.gradient(theta)
        return FirstOrder(
            gradient if objective.tilt is None else gradient + objective.tilt,
            array_namespace(theta).concat(self.outputs, axis=0),
        )


@final
@dataclass(frozen=True, eq=False)
class Objective:
    """Loss, rows, weights and penalty of one fitted model.

    Row i has the outputs ``u_i = offset_i + X~_i theta``, the offset known and fixed.

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
    offset: Any = None  # (n, K) added to the outputs; None for zero
    following: AbstractFollowing | None = None  # of what is learned again without rows
    balanced: BalancedWeights | None = None  # class weights that are learned again
    tilt: Any = None  # (G, D) gradient of a linear term; None for zero

    @property
    def learns(self) -> bool:
        """Whether more than the model is learned again without rows."""
        return self.following is not None or self.balanced is not None

    @property
    def n_rows(self) -> int:
        """Number of training rows n."""
        return self.design.n_rows

    @property
    def rows(self) -> Design:
        """The design in the form whose blocks are multiplied fastest."""
        return self.design.for_products

    @cached_property
    def weight_sum(self) -> float:
        """``S = sum_i s_i``."""
        return float(array_namespace(self.weight).sum(self.weight))

    @property
    def counted(self) -> Any:
        """What each row counts for in a mean loss and in its share of the penalty, (n,)."""
        return self.weight if self.counts is None else self.counts

    def without(self, rows: int | Array) -> "Objective":
        """The objective without rows and their share of the penalty.

        In the coordinates of all rows; where columns are in other units without them, it
        is the penalty that differs. Balanced class weights are those of the rows left.
        """
        xp, kept = array_namespace(self.weight), np.ones(self.n_rows, dtype=bool)
        kept[to_numpy(rows)] = False
        keep = xp.asarray(kept, device=device_of(self.weight))
        zero = xp.zeros_like(self.weight)
        leaving = float(xp.sum(xp.where(keep, zero, self.counted)))
        weight = xp.where(keep, self.weight, zero)
        staying = float(xp.sum(weight)) if self.counts is None else None
        penalty, units = self.penalty.without(leaving, staying), self.group_units(rows)
        rest = replace(
            self,
            weight=weight,
            penalty=penalty if units is None else penalty.in_units(units[0, ...]),
            wider=None if self.wider is None else self.wider.without(rows),
            following=None,
            balanced=None,
        )
        factors = self.group_factors(self._indices(rows))
        if self.balanced is None or factors is None:
            return rest
        return rest.weighted(
            self.balanced.of_pairs(factors, self.balanced.classes)[..., 0]
        )

    def weighted(self, factors: Array) -> "Objective":
        """The same with weights times factors, of rows or of rows in groups, (n, G or 1).

        Weights in groups are part of the targets, behind those of the loss.
        """
        if factors.shape[1] == 1:
            return replace(self, weight=self.weight * factors[:, 0])
        xp, G = array_namespace(self.targets), self.layout.n_groups
        own, weights = self.targets[:, :-G], self.targets[:, -G:]
        return replace(self, targets=xp.concat([own, weights * factors], axis=1))

    def row_factors(self, rows: Array) -> Any:
        """What weights of classes are multiplied by without each row, (b, C + 1, G or 1).

        None where they are held.
        """
        return None if self.balanced is None else self.balanced.without(rows)

    def group_factors(self, rows: Array) -> Any:
        """The same without these rows together, (1, C + 1, G or 1)."""
        return None if self.balanced is None else self.balanced.without_group(rows)

    def _indices(self, rows: int | Array) -> Any:
        xp, device = array_namespace(self.weight), device_of(self.weight)
        return xp.reshape(xp.asarray(rows, device=device), (-1,))

    def row_units(self, rows: Rows) -> Any:
        """Units of the columns without each row, over those here, (b, 1, D).

        None where they are held.
        """
        if self.following is None:
            return None
        return self._of_columns(self.following.without(rows).ratio, 1.0)

    def row_changes(self, rows: Rows) -> Any:
        """``row_units**2 - 1`` for far fewer operations, (b, 1, D); None if held."""
        if self.following is None:
            return None
        return self._of_columns(self.following.changes(rows), 0.0)

    def group_units(self, rows: int | Array) -> Any:
        """The same without these rows together, (1, 1, D).

        Columns that change by more than a shift and a unit are held.
        """
        if self.following is None:
            return None
        xp = array_namespace(self.weight)
        ratio = self.following.without_group(self._indices(rows)).ratio
        ratio = xp.where(xp.isnan(ratio), xp.ones_like(ratio), ratio)
        return self._of_columns(ratio, 1.0)

    def group_changes(self, rows: int | Array) -> Any:
        """``group_units**2 - 1``, (1, 1, D); None if held."""
        units = self.group_units(rows)
        return None if units is None else units**2 - 1

    def unit_changes(self, rows: Rows) -> Any:
        """To first order, how ``row_units`` differ from one, (b, 1, D); None if held."""
        if self.following is None:
            return None
        return self._of_columns(self.following.derivative(rows).ratio, 0.0)

    @property
    def gaps(self) -> Gaps:
        """Entries of the rows that steps have filled in, where they have."""
        assert self.design.gaps is not None
        return self.design.gaps

    @property
    def spreads(self) -> bool:
        """Whether other rows change by more than units: in gaps, or by their lengths."""
        gaps = self.design.gaps
        return (gaps is not None and len(gaps.which) > 0) or bool(self.norms)

    @property
    def norms(self) -> tuple[Norm, ...]:
        """Columns whose rows are divided by their lengths, as far as that is followed."""
        return () if self.following is None else self.following.norms

    def growths(self, rows: Array, of: str) -> Any:
        """How the columns of ``norms`` grow in length without rows (indices), (b, q).

        Relative to what they are; ``of`` as for ``fills``. None without any.
        """
        if self.following is None or not self.norms:
            return None
        ratio = getattr(self.following, of)(rows).ratio
        xp = array_namespace(ratio)
        which = np.concatenate([norm.columns for norm in self.norms])
        ratio = xp.take(ratio, like(which, ratio, xp.int64), axis=1)
        if of == "derivative":
            return -ratio
        held = xp.isnan(ratio)  # by a group that decides what columns there are
        return xp.where(held, xp.zeros_like(ratio), 1 / ratio - 1)

    def fills(self, rows: Array, of: str, gaps: Gaps | None = None) -> Any:
        """Moves of what is filled in, without rows (indices), (b, w), of columns with gaps.

        ``of`` is "without" each row, "without_group" (b is 1) or "derivative"; the gaps
        are those of the training rows, unless others are given. None without any.
        """
        gaps = self.design.gaps if gaps is None else gaps
        if gaps is None or self.following is None or not len(gaps.which):
            return None
        return getattr(self.following.fills, of)(rows, gaps.which)

    def of_filled(self, table: Array, gaps: Gaps | None = None) -> Any:
        """What a table (..., q) of working columns holds of those with gaps, (..., w).

        0 of columns that are not in use.
        """
        xp, gaps = array_namespace(table), self.gaps if gaps is None else gaps
        places, used = self._filled_places(gaps)
        values = xp.take(table, like(places, table, xp.int64), axis=-1)
        return values * like(used, table)

    @property
    def filled_columns(self) -> np.ndarray:
        """1 at the working column of each with gaps, if it is in use, (w, q)."""
        places, used = self._filled_places(self.gaps)
        table = np.zeros((len(places), self.layout.width))
        table[np.arange(len(places)), places] = used
        return table

    def _filled_places(self, gaps: Gaps) -> tuple[np.ndarray, np.ndarray]:
        """Working columns of those with gaps, (w,), and whether they are in use."""
        features = gaps.features
        if self.design.columns is None:
            return features, np.ones(len(features), dtype=bool)
        columns = to_numpy(self.design.columns)
        places = np.minimum(np.searchsorted(columns, features), len(columns) - 1)
        return places, columns[places] == features

    def _of_columns(self, values: Array, of_intercept: float) -> Any:
        """Values of features (b, p) for the entries of theta, (b, 1, D)."""
        xp = array_namespace(values)
        if self.design.columns is not None:
            values = xp.take(values, self.design.columns, axis=1)
        if self.design.has_intercept:
            shape, device = (values.shape[0], 1), device_of(values)
            last = xp.full(shape, of_intercept, dtype=values.dtype, device=device)
            values = xp.concat([values, last], axis=1)
        if self.layout.group_size > 1:
            values = xp.tile(values, (1, self.layout.group_size))
        return values[:, None, :]

    def only(self, rows: Array) -> "Objective":
        """What leaves with rows: their losses, and their share of the penalty."""
        xp, penalty = array_namespace(self.weight), self.penalty
        share = penalty.share * float(xp.sum(take_rows(self.counted, rows)))
        return replace(
            self,
            design=self.design.take(rows),
            targets=take_rows(self.targets, rows),
            weight=take_rows(self.weight, rows),
            penalty=Penalty(share * penalty.strength, share * penalty.slope),
            wider=None,
            counts=None,
            following=None,
            balanced=None,
            offset=None if self.offset is None else take_rows(self.offset, rows),
        )

    def narrowed(self, theta: Array) -> tuple["Objective", Any]:
        """On the active set of theta, (G, D), and theta there.

        Where that is empty and there is no intercept, one column at rest stands for it.
        """
        if self.penalty.corners is None:
            return self, theta
        xp, p = array_namespace(theta), self.design.n_features
        free = (theta != 0) | ~self.penalty.corners.present  # (G, D)
        used = xp.any(self.layout.unpack(free), axis=0)  # (q,)
        every = xp.arange(self.layout.width, device=device_of(theta))
        columns = xp.nonzero(used | (every >= p))[0]
        columns = columns if columns.shape[0] else every[:1]
        selection = Selection(self.layout, columns)
        penalty = self.penalty.held(theta)
        strength, slope = (
            selection.picked(part) for part in (penalty.strength, penalty.slope)
        )
        free = selection.picked(free)
        features = columns[: columns.shape[0] - self.design.has_intercept]
        narrow = replace(
            self,
            design=self.design.with_columns(features),
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

    def as_changes(self, theta: Array) -> tuple[Any, Any]:
        """Vectors (..., G, D) as changes of ``coef_`` (..., K, p) and ``intercept_``.

        Those of the intercepts sum to zero if neither the loss nor the penalty sees a
        constant added to all, as in a refit: zero here is not zero of centred columns.
        """
        coef, intercept = self.design.to_estimator(self.layout.unpack(theta))
        if not (self.loss.shift_invariant and self.design.has_intercept):
            return coef, intercept
        xp, layout = array_namespace(theta), self.layout
        last = slice(layout.width - 1, None, layout.width)  # of each output
        if bool(xp.any(self.penalty.strength[:, last] > 0)):
            return coef, intercept
        own = layout.grouped(intercept)
        return coef, layout.ungrouped(own - xp.mean(own, axis=-1, keepdims=True))

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
        tilt = self._recentred_tilt(design.centre)
        return replace(self, design=design, wider=wider, tilt=tilt), moved

    def _recentred_tilt(self, centre: Array) -> Any:
        """The gradient of the linear term where columns have another centre."""
        if self.tilt is None:
            return None
        xp, table = array_namespace(self.tilt), self.layout.unpack(self.tilt)
        of_intercept = table[:, -1:]
        coef = table[:, :-1] - of_intercept * (centre - self.design.centre)
        return self.layout.pack(xp.concat([coef, of_intercept], axis=1).T)

    def outputs(self, theta: Array) -> Any:
        """Linear outputs u of all rows, (n, K)."""
        B = self.layout.unpack(theta).T

        def outputs(block: Array, *offset: Array) -> Any:
            return shifted(block @ B, offset)

        return map_over_rows(outputs, self.rows, *self.offsets)

    def moves(self, vectors: Array) -> Any:
        """``X~ V`` for m vectors (G, D, m), without offset, (n, K, m)."""
        xp, flat = array_namespace(vectors), self.layout.side_by_side(vectors)
        shape = (-1, self.layout.n_outputs, vectors.shape[-1])
        return map_over_rows(lambda block: xp.reshape(block @ flat, shape), self.rows)

    def lifted_sum(self, slopes: Array) -> Any:
        """``sum_i X~_i' slope_i`` for m slopes of each row, (n, K, m) to (G, D, m)."""
        xp, width = array_namespace(slopes), slopes.shape[1] * slopes.shape[2]
        flat = xp.reshape(slopes, (slopes.shape[0], width))
        total = sum_over_rows(
            lambda total, block, part: total + part.T @ block,
            _zeros((width, self.design.width), slopes),
            self.rows,
            flat,
        )
        return self.layout.stacked(total)

    def pulled_back(self, slopes: Array) -> Any:
        """``sum_i X~_i' slope_i`` for slopes (n, K), as (G, D)."""
        return self.lifted_sum(slopes[..., None])[..., 0]

    def first_order(self, theta: Array) -> FirstOrder:
        """Gradient and outputs at theta, in one pass over the rows."""
        B = self.layout.unpack(theta).T

        def add(
            total: FirstOrderSum, block: Array, y: Array, s: Array, *offset: Array
        ) -> FirstOrderSum:
            u = shifted(block @ B, offset)
            total.add(block, u, s[:, None] * self.loss.gradient(y, u))
            return total

        aligned = self.targets, self.weight, *self.offsets
        total = sum_over_rows(add, FirstOrderSum.empty(self), self.rows, *aligned)
        return total.finished(self, theta)

    @property
    def offsets(self) -> tuple[Array, ...]:
        """The offset as an array aligned with the rows: one, or none."""
        return () if self.offset is None else (self.offset,)

    def value(self, theta: Array, outputs: Array) -> float:
        """The objective at theta, where the outputs of the rows are known."""
        xp = array_namespace(outputs)
        losses = self.weight * self.loss.value(self.targets, outputs)
        value = float(xp.sum(losses)) + float(self.penalty.value(theta))
        return value if self.tilt is None else value + float(xp.sum(self.tilt * theta))


def shifted(outputs: Array, offset: tuple[Array, ...]) -> Any:
    """Outputs (b, K) plus their offset, if there is one."""
    return outputs + offset[0] if offset else outputs


def _zeros(shape: tuple[int, int], reference: Array) -> Any:
    xp = array_namespace(reference)
    return xp.zeros(shape, dtype=reference.dtype, device=device_of(reference))
