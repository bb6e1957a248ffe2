"""First-order change of a quantity by moves of the parameters, also those of groups."""

from collections.abc import Sequence
from typing import Any

from skinfluence._array import Array, array_namespace, take_rows
from skinfluence._design import Design
from skinfluence._rows import iterate
from skinfluence.influence._effects import mean_gradient
from skinfluence.influence._quantities import AbstractQuantity
from skinfluence.influence._spread import Slopes, Spread
from skinfluence.solvers import Point, learned_gradients, per_weight


def linear_changes(
    point: Point,
    moves: Array,
    design: Design,
    quantity: AbstractQuantity,
    aggregate: str | None,
    spread: Spread | None = None,
) -> Any:
    """``grad f(z)' move`` at each point for each move (b, G, D), (m, b).

    Or their mean or sum over the points, (b,), if aggregated. ``spread`` is how the
    points themselves move.
    """
    layout, xp = point.objective.layout, array_namespace(point.theta)
    direct: Any = 0.0
    of_points = (
        None if spread is None else Slopes.of(point, design, quantity, aggregate)
    )
    if spread is not None and of_points is not None:
        direct = spread.changes(of_points)
    if aggregate is not None:
        gradient = mean_gradient(point, design, quantity)
        total = xp.sum(gradient * moves, axis=(1, 2))
        total = total * design.n_rows if aggregate == "sum" else total
        return total if of_points is None else total + direct[0, :]
    B = layout.unpack(point.theta).T
    flat = layout.side_by_side(xp.permute_dims(moves, (1, 2, 0)))  # (q, K b)
    parts = []
    for points, (block,) in iterate(design):
        slope = quantity.gradient(block @ B, points)
        outputs = xp.reshape(block @ flat, (*slope.shape, -1))  # (m, K, b)
        parts.append(xp.sum(slope[:, :, None] * outputs, axis=1))
    return xp.concat(parts, axis=0) + direct


def group_gradients(point: Point, groups: Sequence[Array]) -> Any:
    """``sum_{i in G} g_i``, unweighted, for groups of indices, (n_groups, G, D).

    With what is learned of the rows of each group, per weight.
    """
    objective = point.objective
    layout, loss = objective.layout, objective.loss
    sums = []
    for rows in groups:
        y, u = take_rows(objective.targets, rows), take_rows(point.outputs, rows)
        total = layout.pack((loss.gradient(y, u).T @ objective.design.block(rows)).T)
        learned = learned_gradients(point, rows)
        if learned is not None:
            weight = per_weight(point, rows)[:, None, None]
            total = total + array_namespace(total).sum(weight * learned, axis=0)
        sums.append(total)
    return array_namespace(point.theta).stack(sums)
