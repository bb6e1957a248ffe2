"""How points change when what steps learn moves their values by more than units."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from skinfluence._array import Array, Rows, array_namespace, like, to_numpy
from skinfluence._design import Design
from skinfluence._rows import iterate
from skinfluence.influence._quantities import AbstractQuantity
from skinfluence.solvers import (
    Point,
    fill_outputs,
    indices_of,
    norm_derivatives,
    norm_outputs,
    per_weight,
)


class Spread(NamedTuple):
    """What moves points without each of b groups."""

    fills: Any  # (b, w) moves of what fills their gaps; None without gaps
    growths: Any  # (b, q) of terms that make their lengths; None without such
    linear: bool  # derivatives

    def outputs(self, point: Point, design: Design, points: Rows, theta: Array) -> Any:
        """What outputs of points gain, at theta (b or 1, G, D), (m, K, b)."""
        total: Any = 0.0
        if self.fills is not None and design.gaps is not None:
            gaps = design.gaps
            total = fill_outputs(point.objective, theta, self.fills, gaps, points)
        if self.growths is not None:
            at = points, theta, self.growths, self.linear
            total = total + norm_outputs(point.objective, design, *at)
        return total

    def changes(self, slopes: "Slopes") -> Any:
        """First-order changes of a quantity of these slopes, (m, b), or (1, b)."""
        total: Any = 0.0
        if self.fills is not None and slopes.fills is not None:
            total = slopes.fills @ self.fills.T
        if self.growths is not None:
            host = np.asarray(slopes.growths @ to_numpy(self.growths).T)
            total = total + like(host, self.growths)
        return total


class Slopes(NamedTuple):
    """Derivatives of a quantity in what moves points, of m points or their mean or sum."""

    fills: Any  # (m or 1, w) in what fills their gaps; None without gaps
    growths: Any  # (m or 1, q) in the terms that make their lengths; on the host

    @classmethod
    def of(
        cls,
        point: Point,
        design: Design,
        quantity: AbstractQuantity,
        aggregate: str | None,
    ) -> "Slopes | None":
        """At the fit; None where points move by units alone."""
        objective, gaps = point.objective, design.gaps
        if gaps is None and not objective.norms:
            return None
        B = objective.layout.unpack(point.theta)
        parts = [quantity.gradient(u @ B.T, rows) for rows, (u,) in iterate(design)]
        slope, fills, growths = array_namespace(B).concat(parts, axis=0), None, None
        if gaps is not None:
            mask = gaps.block(slice(None), slope)
            fills = _aggregated(
                (slope @ objective.of_filled(B, gaps)) * mask, aggregate
            )
        if objective.norms:
            growths = norm_derivatives(objective, design, point.theta, slope)
            growths = _aggregated(growths, aggregate)
        return cls(fills, growths)


def _aggregated(values: Any, aggregate: str | None) -> Any:
    """Values of m points (m, r), or their mean or sum, (1, r)."""
    if aggregate is None:
        return values
    total = (
        values.sum(axis=0).reshape(1, -1)
        if issparse(values)
        else array_namespace(values).sum(values, axis=0, keepdims=True)
    )
    return total / values.shape[0] if aggregate == "mean" else total


def spread_without(point: Point, design: Design, rows: Rows, of: str) -> Spread | None:
    """How points move without training rows, None if by units alone.

    ``of`` is "without" each row, "without_group" or "derivative".
    """
    objective, indices = point.objective, indices_of(rows, point)
    fills = None
    if design.gaps is not None:
        fills = objective.fills(indices, of, design.gaps)
    growths = objective.growths(indices, of)
    if fills is None and growths is None:
        return None
    return Spread(fills, growths, of == "derivative")


def spread_of_groups(
    point: Point, design: Design, groups: Sequence[Array], linear: bool
) -> Spread | None:
    """The same without each of some groups; ``linear``: to first order."""
    of = "derivative" if linear else "without_group"
    return _joined([spread_without(point, design, rows, of) for rows in groups])


def spread_per_weight(
    point: Point, design: Design, groups: Sequence[Array]
) -> Spread | None:
    """Derivatives in the weights of each group's rows, for a mean loss."""
    spreads = []
    for rows in groups:
        spread = spread_without(point, design, rows, "derivative")
        if spread is None:
            return None
        weight = -point.objective.weight_sum * per_weight(point, rows)[:, None]
        fills, growths = (
            None if part is None else weight * part
            for part in (spread.fills, spread.growths)
        )
        spreads.append(Spread(fills, growths, True))
    return _joined(spreads)


def _joined(spreads: Sequence[Spread | None]) -> Spread | None:
    """One row for each, the sum of its own."""
    known = [spread for spread in spreads if spread is not None]
    if not known:
        return None
    fills = _sums([spread.fills for spread in known])
    growths = _sums([spread.growths for spread in known])
    return Spread(fills, growths, known[0].linear)


def _sums(parts: Sequence[Any]) -> Any:
    """The sum of each (b, w) as a row, or None."""
    if parts[0] is None:
        return None
    xp = array_namespace(parts[0])
    return xp.concat([xp.sum(part, axis=0, keepdims=True) for part in parts], axis=0)
