"""The k largest effects per test point, from blocks of rows, never the whole matrix."""

from typing import Any

from skinfluence._array import array_namespace, device_of, like
from skinfluence._kernels import kernels
from skinfluence.influence._effects import Blocks


def top_blocks(blocks: Blocks, k: int, order: str, sign: float) -> tuple[Any, Any]:
    """Values and row numbers of the k rows that come first, each (m, k).

    ``order`` is "absolute", "harmful" or "helpful"; ``sign`` is +1 if a positive value
    is harmful and -1 if it is helpful. Rows without a value (NaN) come last.
    """
    values = indices = None
    for rows, block in blocks:
        xp = array_namespace(block)
        own = xp.arange(
            rows.start, rows.start + block.shape[1], device=device_of(block)
        )
        own = xp.broadcast_to(own[None, :], block.shape)
        if values is not None:
            block = xp.concat([values, block], axis=1)
            own = xp.concat([indices, own], axis=1)
        kept = kernels(block).largest(_score(block, order, sign), k)
        values = xp.take_along_axis(block, kept, axis=1)
        indices = xp.take_along_axis(own, kept, axis=1)
    xp = array_namespace(values)
    ranks = xp.argsort(-_score(values, order, sign), axis=1, stable=True)
    return (
        xp.take_along_axis(values, ranks, axis=1),
        xp.take_along_axis(indices, ranks, axis=1),
    )


def _score(values: Any, order: str, sign: float) -> Any:
    xp = array_namespace(values)
    score = xp.abs(values) if order == "absolute" else _DIRECTION[order] * sign * values
    return xp.where(xp.isnan(score), like(-xp.inf, values), score)


_DIRECTION = {"harmful": 1.0, "helpful": -1.0}
