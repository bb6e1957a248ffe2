"""A design as row blocks: the two primitives that carry every pass over the data.

No formula above knows how rows are stored or where they are. A function receives one
block of working rows and the matching parts of row-aligned arrays. It may multiply a
block by arrays from either side with ``@``, which is all that sparse rows can do.
"""

from collections.abc import Callable, Iterator
from typing import Any

from skinfluence._array import array_namespace
from skinfluence._design import Design
from skinfluence._kernels import densified

# A block should fit the second-level cache together with one scaled copy of itself.
_BLOCK_ENTRIES = 2**16
_LEAST_ROWS, _MOST_ROWS = 256, 4096
# Not even the least number of rows may hold more numbers than this, 64 MiB.
_MOST_ENTRIES = 2**23
# Sparse rows are few numbers each; what they are multiplied by is wide.
_MOST_SPARSE_ROWS = 2**15


def row_blocks(n_rows: int, width: int, least_rows: int = _LEAST_ROWS) -> list[slice]:
    """Slices over ``n_rows`` rows of ``width`` numbers, in blocks that suit a cache."""
    size = max(min(_BLOCK_ENTRIES // max(width, 1), _MOST_ROWS), least_rows)
    size = max(min(size, _MOST_ENTRIES // max(width, 1)), 1)
    starts = range(0, n_rows, size)
    return [slice(start, min(start + size, n_rows)) for start in starts]


def iterate(
    design: Design, *aligned: Any, least_rows: int = _LEAST_ROWS, dense: bool = False
) -> Iterator[tuple[slice, tuple[Any, ...]]]:
    """Pairs of a slice and ``(block, *parts)``, over all rows.

    A block is overwritten by the next one. ``dense`` makes arrays of sparse rows too.
    """
    scratch = None
    if design.is_wide_sparse and not dense:
        blocks = row_blocks(design.n_rows, design.row_entries, _MOST_SPARSE_ROWS)
    else:
        blocks = row_blocks(design.n_rows, design.width, least_rows)
    for rows in blocks:
        block = design.block(rows, scratch)
        if design.is_wide_sparse:
            block = densified(block) if dense else block
        elif scratch is None:
            scratch = block
        yield rows, (block, *(part[rows, ...] for part in aligned))


def sum_over_rows(
    function: Callable[..., Any], start: Any, design: Design, *aligned: Any
) -> Any:
    """Fold ``total = function(total, block, *parts)`` over all rows.

    ``function`` may add into ``total`` in place; totals of disjoint rows must add up.
    """
    total = start
    for _, block in iterate(design, *aligned):
        total = function(total, *block)
    return total


def map_over_rows(function: Callable[..., Any], design: Design, *aligned: Any) -> Any:
    """Results of ``function(block, *parts)``, concatenated along the rows.

    ``function`` returns one array or a tuple of arrays, each with the rows first.
    """
    parts = [function(*block) for _, block in iterate(design, *aligned)]
    if isinstance(parts[0], tuple):
        xp = array_namespace(parts[0][0])
        return tuple(xp.concat(column, axis=0) for column in zip(*parts, strict=True))
    return array_namespace(parts[0]).concat(parts, axis=0)
