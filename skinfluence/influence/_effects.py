"""Effects of training rows on quantities at test points, block of rows by block.

``influence`` is the derivative in the weight of a row, ``I_up = -grad' inv(H_bar) g_i``
with ``H_bar = H / S``; positive means that up-weighting the row raises the quantity.
Deltas are the quantity without the row minus with it.

References
----------
.. [1] Koh & Liang (2017). Understanding black-box predictions via influence functions.
   Equations 1 and 2.
"""

from collections.abc import Callable, Iterator
from typing import Any

from skinfluence._array import Array, Rows, array_namespace
from skinfluence._design import Design
from skinfluence._rows import iterate, row_blocks, stream_blocks
from skinfluence.deletion import AbstractDeletion, Deltas
from skinfluence.influence._quantities import AbstractQuantity
from skinfluence.influence._spread import Slopes, Spread, spread_without
from skinfluence.solvers import (
    Point,
    RowTerms,
    learned_gradients,
    learned_self_influence,
    learned_steps,
    per_weight,
    row_terms,
)

Blocks = Iterator[tuple[slice, Any]]
Watch = Callable[[Rows, Deltas], None]

# Training rows in a block of effects at least: products with few are slow.
_EFFECT_ROWS = 1024


def influence_on_parameters(point: Point, rows: Rows) -> Any:
    """``I_up,params = -inv(H_bar) g_i`` for the rows of a slice or indices, (b, G, D)."""
    terms, learned = row_terms(point, rows), learned_steps(point, rows)
    steps = point.factor.row_steps(terms.block, terms.slope)
    if learned is not None:
        steps = steps + per_weight(point, rows)[:, None, None] * learned
    return -point.objective.weight_sum * steps


def self_influence(point: Point, rows: Rows) -> Any:
    """``I_up,loss(z_i, z_i) = -g_i' inv(H_bar) g_i`` of training rows, (b,)."""
    return learned_self_influence(point, rows) - pull_of_rows(point, rows)


def pull_of_rows(point: Point, rows: Rows) -> Any:
    """``g_i' inv(H_bar) g_i``, what is learned of the columns held, (b,)."""
    terms = row_terms(point, rows)
    return -_self_influence(point, terms.block, terms.slope, rows)


def self_influence_of(point: Point, design: Design, quantity: AbstractQuantity) -> Any:
    """``-grad f' inv(H_bar) grad f`` of points that need not be training rows, (m,)."""
    layout = point.objective.layout
    xp = array_namespace(point.theta)
    B = layout.unpack(point.theta).T
    parts = [
        _self_influence(
            point, block, layout.grouped(quantity.gradient(block @ B, points))
        )
        for points, (block,) in iterate(design, dense=True)
    ]
    return xp.concat(parts, axis=0)


def influence_blocks(
    point: Point, design: Design, quantity: AbstractQuantity, aggregate: str | None
) -> Blocks:
    """Influence on the quantity: pairs of a slice of training rows and (m, b) values.

    Aggregated over the points, values are (b,) and the cost is one solve, not m.
    """
    scale = -point.objective.weight_sum
    return _linear_blocks(
        point,
        design,
        quantity,
        aggregate,
        lambda terms: scale * terms.slope,
        lambda terms: scale * per_weight(point, terms.rows),
    )


def delta_blocks(
    point: Point,
    deletion: AbstractDeletion,
    design: Design,
    quantity: AbstractQuantity,
    aggregate: str | None,
    *,
    entries: int = 2**22,
    watch: Watch = lambda rows, deltas: None,
    in_order: bool = False,
) -> Blocks:
    """The quantity without each training row minus with it, in the same blocks.

    The quantity is evaluated at the new parameters, unless the deletion is linear.
    ``entries`` bounds one temporary array; ``watch`` sees the flags of the deltas;
    ``in_order`` asks the deletion for one block after the other.
    """
    if deletion.linear:
        return _linear_blocks(
            point,
            design,
            quantity,
            aggregate,
            lambda terms: terms.weight[:, None, None] * terms.slope,
            lambda terms: array_namespace(terms.weight).ones_like(terms.weight),
            with_shares=True,
        )
    return _evaluated_blocks(
        point, deletion, design, quantity, aggregate, entries, watch, in_order
    )


def _linear_blocks(
    point: Point,
    design: Design,
    quantity: AbstractQuantity,
    aggregate: str | None,
    coefficients: Callable[[RowTerms], Any],
    of_learned: Callable[[RowTerms], Any],
    *,
    with_shares: bool = False,
) -> Blocks:
    """``grad' inv(H) c_i``, with the row's share of the penalty or without it.

    And with what is learned of the row, ``of_learned`` (b,) times.
    """
    xp, layout = array_namespace(point.theta), point.objective.layout
    # Gradients of training rows have no part along shifts: theirs is not solved for.
    Q = point.factor.loss_steps(_pulled_gradients(point, design, quantity, aggregate))
    of_penalty = xp.sum(Q * point.objective.penalty.gradient(point.theta), axis=(1, 2))
    width = max(design.row_entries, Q.shape[0] if design.is_sparse else 0)
    of_points = Slopes.of(point, design, quantity, aggregate)

    def effects(rows: slice) -> tuple[slice, Any]:
        terms = row_terms(point, rows)
        values = layout.effects(terms.block, coefficients(terms), Q)  # (m, b)
        if with_shares and terms.share is not None:
            values = values + of_penalty[:, None] * terms.share[None, :]
        learned = learned_gradients(point, rows)
        if learned is not None:
            columns = xp.reshape(learned, (learned.shape[0], -1)).T
            of_learning = xp.reshape(Q, (Q.shape[0], -1)) @ columns
            spread = spread_without(point, design, rows, "derivative")
            if spread is not None and of_points is not None:
                of_learning = of_learning + spread.changes(of_points)
            values = values + of_learning * of_learned(terms)[None, :]
        return rows, values if aggregate is None else values[0, :]

    train = point.objective.design
    blocks = row_blocks(train.n_rows, width, _EFFECT_ROWS, place=point.theta)
    n_entries = train.width + Q.shape[0]
    return stream_blocks(effects, blocks, train, width=n_entries, in_order=False)


def _evaluated_blocks(
    point: Point,
    deletion: AbstractDeletion,
    design: Design,
    quantity: AbstractQuantity,
    aggregate: str | None,
    entries: int,
    watch: Watch,
    in_order: bool,
) -> Blocks:
    xp = array_namespace(point.theta)
    layout, train = point.objective.layout, point.objective.design
    width = layout.n_groups * layout.size

    def effects(rows: slice) -> tuple[slice, Deltas, Any]:
        deltas = deletion.deltas(rows)
        spread = spread_without(point, design, rows, "without")
        values = changes(
            point, deltas.theta, design, quantity, aggregate, spread, entries
        )
        values = values if aggregate is None else xp.sum(values, axis=0)
        return rows, deltas.flags, values

    blocks = row_blocks(train.n_rows, width, place=point.theta)
    n_entries = width + design.n_rows
    for rows, flags, values in stream_blocks(
        effects, blocks, train, width=n_entries, in_order=in_order
    ):
        watch(rows, flags)
        yield rows, values


def mean_gradient(point: Point, design: Design, quantity: AbstractQuantity) -> Any:
    """Gradient in theta of the mean of the quantity over the points, (1, G, D)."""
    parts = _pulled_gradients(point, design, quantity, "mean")
    return array_namespace(parts).sum(parts, axis=0, keepdims=True)


def changes(
    point: Point,
    deltas: Array,
    design: Design,
    quantity: AbstractQuantity,
    aggregate: str | None,
    spread: Spread | None = None,
    entries: int = 2**22,
) -> Any:
    """Change of the quantity at each point for each delta (b, G, D) of the parameters.

    Shape (m, b), or partial means or sums over the points, to be added, if aggregated.
    ``spread`` is how the points themselves move.
    """
    layout = point.objective.layout
    xp = array_namespace(point.theta)
    B = layout.unpack(point.theta).T
    flat = layout.side_by_side(xp.permute_dims(deltas, (1, 2, 0)))  # (q, K b)
    size = max(entries // (4 * flat.shape[1]), 16)
    values = []
    for first in range(0, design.n_rows, size):
        points = slice(first, min(first + size, design.n_rows))
        block = design.block(points)
        u = block @ B
        base = quantity.value(u, points)
        after = _moved(block, u, flat)
        if spread is not None:
            more = spread.outputs(point, design, points, point.theta + deltas)
            after = after + xp.permute_dims(more, (0, 2, 1))
        moved = quantity.value(after, points) - base[:, None]
        values.append(_aggregated(moved, aggregate, design.n_rows))
    return xp.concat(values, axis=0)


def _moved(block: Array, u: Array, flat: Array) -> Any:
    """Outputs of points (m, K) after the moves of parameters (q, K b): (m, b, K)."""
    xp = array_namespace(u)
    moves = xp.reshape(block @ flat, (*u.shape, -1))  # (m, K, b)
    return u[:, None, :] + xp.permute_dims(moves, (0, 2, 1))


def _pulled_gradients(
    point: Point, design: Design, quantity: AbstractQuantity, aggregate: str | None
) -> Any:
    """Gradients of the quantity in theta, (m, G, D), or their mean or sum, (1, G, D)."""
    layout = point.objective.layout
    xp = array_namespace(point.theta)
    B = layout.unpack(point.theta).T
    parts = []
    for points, (block,) in iterate(design):
        slope = quantity.gradient(block @ B, points)
        if aggregate is None:
            parts.append(layout.lifted(block, layout.grouped(slope)))
        else:
            parts.append(layout.pack((slope.T @ block).T)[None, ...])
    if aggregate is None:
        return xp.concat(parts, axis=0)
    return _aggregated(xp.concat(parts, axis=0), aggregate, design.n_rows)


def _aggregated(values: Array, aggregate: str | None, n_points: int) -> Any:
    """Values of points as they are, or their share of the mean or sum, (1, ...)."""
    if aggregate is None:
        return values
    total = array_namespace(values).sum(values, axis=0, keepdims=True)
    return total / n_points if aggregate == "mean" else total


def _self_influence(
    point: Point, block: Array, slope: Array, rows: Rows | None = None
) -> Any:
    squared = point.factor.squared_lengths(block, slope, rows)
    return -point.objective.weight_sum * squared
