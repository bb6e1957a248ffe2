"""One pass over all pairs of rows and candidates: what the candidates do to each row."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from skinfluence import _threads
from skinfluence._array import Array, array_namespace
from skinfluence._objective import Objective
from skinfluence._rows import iterate, row_blocks
from skinfluence.solvers import Point

# Candidates times rows of a block, in float64: they must stay in the cache.
_PAIRS = 2**17
_LEAST_CANDIDATES, _MOST_CANDIDATES, _LEAST_ROWS = 32, 256, 128


def in_runs(point: Point, n_candidates: int) -> list[list[slice]]:
    """Candidates to take through one pass, and these passes in a run for each thread."""
    objective, n_outputs = point.objective, point.objective.layout.n_outputs
    most = _PAIRS // (2 * _LEAST_ROWS * n_outputs)
    most = min(max(most, _LEAST_CANDIDATES), _MOST_CANDIDATES)
    n_threads = 1
    if objective.design.source.is_shared:
        n_threads = _threads.n_runs(n_candidates * objective.n_rows * n_outputs)
    # As many for one thread as for another.
    n_threads = min(n_threads, max(n_candidates, 1))
    share = max(-(-n_candidates // (most * n_threads)), 1)
    n_passes = share * n_threads
    ends = [n_candidates * k // n_passes for k in range(n_passes + 1)]
    passes = [slice(a, b) for a, b in pairwise(ends)]
    return [passes[k : k + share] for k in range(0, n_passes, share)]


def summed_over_rows(
    point: Point,
    slopes: Callable[..., Any],
    *vectors: Array,
    factors: Array | None = None,
    single: bool = False,
) -> Any:
    """``sum_j X~_j' slopes(y_j, u_j, s_j, X~_j v, ...)``, one for each candidate.

    ``vectors`` are (b, G, D), one or more for each of b candidates, and so is the sum.
    ``slopes`` gets targets, outputs, weights and moves (rows, K, b) of a block of rows,
    which it may overwrite, and returns (rows, K, b). ``factors`` (b, C + 1, G or 1) of the
    classes of rows multiply these. ``single``: rows and moves are float32, and so are
    sums over a block. Cost: ``2 n D b`` flops for each of vectors
    and sum.
    """
    objective, layout = point.objective, point.objective.layout
    xp, n_candidates = array_namespace(point.theta), vectors[0].shape[0]
    dtype = xp.float32 if single else xp.float64
    flat = [layout.side_by_side(xp.permute_dims(v, (1, 2, 0))) for v in vectors]
    total = xp.zeros_like(flat[0].T)  # (K b, q)
    flat = [xp.astype(columns, dtype, copy=False) for columns in flat]
    shape = (-1, layout.n_outputs, n_candidates)
    aligned = [objective.targets, point.outputs, objective.weight]
    if objective.balanced is not None:
        aligned.append(objective.balanced.classes)
    place, n_pairs = objective.design.centre, layout.n_outputs * n_candidates
    # 1 MiB in either type; on a device as large as it has room for.
    width = max(n_pairs // (4 if single else 2), objective.design.width)
    blocks = row_blocks(objective.n_rows, width, _LEAST_ROWS, place)
    rows = iterate(objective.design, *aligned, most_rows=blocks[0].stop)
    for _, (block, y, u, s, *classes) in rows:
        block = block if not single else xp.astype(block, dtype)
        moves = [xp.reshape(block @ columns, shape) for columns in flat]
        changes = xp.astype(slopes(y, u, s, *moves), dtype, copy=False)
        if factors is not None:
            changes = _weighted(point.objective, changes, factors, *classes)
        total += xp.astype(xp.reshape(changes, (-1, n_pairs)).T @ block, xp.float64)
    return xp.permute_dims(layout.stacked(total), (2, 0, 1))


def _weighted(
    objective: Objective, changes: Array, factors: Array, classes: Array
) -> Any:
    """Changes (rows, K, b) times the factors of the rows' classes."""
    xp, balanced = array_namespace(changes), objective.balanced
    assert balanced is not None
    own = balanced.of_pairs(xp.astype(factors, changes.dtype, copy=False), classes)
    shape = (*own.shape[:2], -1, own.shape[2])
    grouped = xp.reshape(changes, shape) * own[:, :, None, :]
    return xp.reshape(grouped, changes.shape)
