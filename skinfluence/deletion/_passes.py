"""One pass over all pairs of rows and candidates: what the candidates do to each row."""

from collections.abc import Callable
from typing import Any

from skinfluence._array import array_namespace
from skinfluence._rows import iterate
from skinfluence.solvers import Point


def summed_over_rows(point: Point, slopes: Callable[..., Any], *vectors: Any) -> Any:
    """``sum_j X~_j' slopes(y_j, u_j, s_j, X~_j v, ...)``, one for each candidate.

    ``vectors`` are (b, G, D), one or more for each of b candidates, and so is the sum.
    ``slopes`` gets targets, outputs, weights and moves (rows, K, b) of a block of rows,
    and returns (rows, K, b). Cost: ``2 n D b`` flops for each of vectors and sum.
    """
    objective, layout = point.objective, point.objective.layout
    xp, n_candidates = array_namespace(point.theta), vectors[0].shape[0]
    flat = [layout.side_by_side(xp.permute_dims(v, (1, 2, 0))) for v in vectors]
    shape = (-1, layout.n_outputs, n_candidates)
    total = xp.zeros_like(flat[0].T)  # (K b, q)
    aligned = objective.targets, point.outputs, objective.weight
    for _, (block, y, u, s) in iterate(objective.design, *aligned):
        moves = [xp.reshape(block @ columns, shape) for columns in flat]
        found = slopes(y, u, s, *moves)
        total += xp.reshape(found, (found.shape[0], -1)).T @ block
    return xp.permute_dims(layout.stacked(total), (2, 0, 1))
