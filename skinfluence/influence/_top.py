"""The k largest effects per test point, from blocks of rows, never the whole matrix."""

from typing import Any, final

from skinfluence._array import Array, array_namespace, device_of, like
from skinfluence._kernels import kernels
from skinfluence.influence._effects import Blocks

_DIRECTION = {"absolute": 0.0, "harmful": 1.0, "helpful": -1.0}


def top_blocks(blocks: Blocks, k: int, order: str, sign: float) -> tuple[Any, Any]:
    """Values and indices of the k rows that come first, each (m, k).

    ``order`` is "absolute", "harmful" or "helpful"; ``sign`` is +1 if a positive value
    is harmful and -1 if it is helpful. Rows without a value (NaN) come last.
    """
    top = _Top(k, _DIRECTION[order] * sign)
    for rows, block in blocks:
        top.add(rows.start, block)
    return top.ranked()


@final
class _Top:
    """The first of the rows seen so far, and the score to beat for each point."""

    values: Any = None  # (m, k), fewer columns before k rows were seen
    indices: Any = None  # (m, k)
    least: Any = None  # (m,) lowest score among them

    def __init__(self, k: int, direction: float) -> None:
        self.k, self.direction = k, direction

    def add(self, first: int, block: Array) -> None:
        """Take the values (m, b) of the rows from number ``first`` on."""
        full = self.values is not None and self.values.shape[1] == self.k
        # Among rows without a value, those that fill up would not be told apart.
        full = full and bool(array_namespace(block).all(self.least > -float("inf")))
        contenders = kernels(block).contenders
        better = contenders(block, self.least, self.direction) if full else None
        if better is None:
            self._merge_all(first, block)
        elif better[1].shape[1]:
            self._merge_some(first, block, *better)

    def _merge_all(self, first: int, block: Array) -> None:
        xp, place = array_namespace(block), device_of(block)
        own = xp.arange(first, first + block.shape[1], device=place)
        own = xp.broadcast_to(own[None, :], block.shape)
        if self.values is not None:
            block = xp.concat([self.values, block], axis=1)
            own = xp.concat([self.indices, own], axis=1)
        self.values, self.indices, score = self._largest(block, own)
        self.least = xp.min(score, axis=1)

    def _merge_some(
        self, first: int, block: Array, points: Any, columns: Array
    ) -> None:
        xp = array_namespace(block)
        values = block[points[:, None], columns]
        values = xp.where(columns < 0, xp.nan, values)
        block = xp.concat([self.values[points], values], axis=1)
        own = xp.concat([self.indices[points], first + columns], axis=1)
        kept, own, score = self._largest(block, own)
        self.values[points], self.indices[points] = kept, own
        self.least[points] = xp.min(score, axis=1)

    def _largest(self, values: Array, indices: Array) -> tuple[Any, Any, Any]:
        """Of each row the k with the largest scores, in any order."""
        xp, score = array_namespace(values), self._score(values)
        kept = kernels(values).largest(score, self.k)
        return tuple(
            xp.take_along_axis(part, kept, axis=1) for part in (values, indices, score)
        )

    def ranked(self) -> tuple[Any, Any]:
        """Values and indices, the first one first."""
        xp = array_namespace(self.values)
        ranks = xp.argsort(-self._score(self.values), axis=1, stable=True)
        return (
            xp.take_along_axis(self.values, ranks, axis=1),
            xp.take_along_axis(self.indices, ranks, axis=1),
        )

    def _score(self, values: Array) -> Any:
        xp = array_namespace(values)
        score = self.direction * values if self.direction else xp.abs(values)
        return xp.where(xp.isnan(score), like(-xp.inf, values), score)
