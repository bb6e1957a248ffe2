"""How far a step is taken to see the curvature of its start, where no bound is known."""

from math import inf
from typing import Any

from skinfluence._array import Array, array_namespace
from skinfluence._rows import stream_blocks, training_blocks
from skinfluence.curvature import AbstractCurvature
from skinfluence.solvers._base import AbstractFactor

# The part of H that may change on the way, how much shorter a way is tried next, and how
# often.
_MOST_CHANGED, _SHORTER, _MOST_TRIALS = 0.25, 1.5, 100


def trusted_length(curvature: AbstractCurvature, factor: AbstractFactor) -> float:
    """Length, as H measures it, up to which a step hardly changes H.

    Tried at the outputs of each row, moved as far as vectors of that length move them in
    the root mean square over all directions. No more than the longest effect of a row.
    Cost: a pass over the leverages of all rows, and some over their losses.
    """
    objective, layout = curvature.objective, curvature.layout
    y, u, s = objective.targets, curvature.first_order.outputs, objective.weight
    A = _leverages(curvature, factor)  # (n, G, Kb, Kb)
    xp = array_namespace(A)
    slope = layout.grouped(s[:, None] * objective.loss.gradient(y, u))  # (n, G, Kb)
    squared = xp.sum(slope[..., None] * A * slope[..., None, :], axis=(1, 2, 3))
    length = float(xp.max(squared)) ** 0.5
    M = objective.loss.hessian(y, u)  # (n, G or 1, Kb, Kb)
    own = xp.sqrt(xp.clip(xp.linalg.diagonal(A), min=0.0))  # (n, G, Kb)
    width = xp.where(own > 0, own, xp.ones_like(own))
    moves = [
        sign / layout.size**0.5 * layout.ungrouped(A[..., k] / width[..., k : k + 1])
        for k in range(layout.group_size)
        for sign in (-1.0, 1.0)
    ]

    def changed() -> float:
        """The part of H that a step of this length may change."""
        most = xp.zeros_like(own[..., 0])  # (n, G)
        for move in moves:
            change = objective.loss.hessian(y, u + length * move) - M
            held = xp.abs(xp.sum(change * A, axis=(-2, -1)))
            most = xp.where(held > most, held, most)
        return float(xp.max(xp.sum(s[:, None] * most, axis=0)))

    for _ in range(_MOST_TRIALS):
        if not length > 0:
            return inf
        if changed() <= _MOST_CHANGED:
            break
        length /= _SHORTER
    return length


def _leverages(curvature: AbstractCurvature, factor: AbstractFactor) -> Any:
    """``X~_j inv(H) X~_j'`` of all rows, (n, G, Kb, Kb)."""
    design, layout = curvature.objective.rows, curvature.layout
    xp = array_namespace(curvature.theta)

    def blocks(rows: slice) -> Array:
        return factor.loss_blocks(design.block(rows), rows=rows)

    slices = training_blocks(design, layout.n_outputs * layout.size)
    width = design.width * layout.n_outputs
    parts = stream_blocks(blocks, slices, design, width=width, in_order=False)
    return xp.concat(list(parts), axis=0)
