"""How points change when what steps learn moves their values by more than units."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from skinfluence._array import Array, Rows, array_namespace
from skinfluence._design import Design
from skinfluence._rows import iterate
from skinfluence.influence._quantities import AbstractQuantity
from skinfluence.solvers import (
    Point,
    fill_outputs,
    indices_of,
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

    def changes(
        self,
        point: Point,
        design: Design,
        quantity: AbstractQuantity,
        aggregate: str | None,
    ) -> Any:
        """First-order changes of a quantity, (m, b), or (1, b) aggregated."""
        theta, B = point.theta[None, ...], point.objective.layout.unpack(point.theta)
        xp, parts = array_namespace(theta), []
        for points, (block,) in iterate(design):
            slope = quantity.gradient(block @ B.T, points)
            gained = self.outputs(point, design, points, theta)
            values = xp.sum(slope[:, :, None] * gained, axis=1)
            if aggregate is not None:
                values = xp.sum(values, axis=0, keepdims=True)
            parts.append(values)
        values = xp.concat(parts, axis=0)
        if aggregate is None:
            return values
        total = xp.sum(values, axis=0, keepdims=True)
        return total / design.n_rows if aggregate == "mean" else total


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
