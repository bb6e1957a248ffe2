"""A design as row blocks: the two primitives that carry every pass over the data.

No formula above knows how rows are stored or where they are. A function receives one
block of working rows and the matching parts of row-aligned arrays. It may multiply a
block by arrays from either side with ``@``, which is all that sparse rows can do.
"""

import copy
import operator
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

from skinfluence import _threads
from skinfluence._array import Array, Rows, array_namespace
from skinfluence._design import Design
from skinfluence._kernels import densified, kernels
from skinfluence._sources import LEAST_ROWS, rows_in_block
from skinfluence.exceptions import DeviceMemoryError

# Where a device has no room for blocks of so few rows, smaller ones will not help.
_FEWEST_ROWS = 16


def row_blocks(
    n_rows: int, width: int, least_rows: int = LEAST_ROWS, place: Array | None = None
) -> list[slice]:
    """Slices over ``n_rows`` rows, in blocks that suit the cache, or a device.

    ``width`` entries are read or made of each row; ``place`` is an array on the device.
    """
    return _slices(n_rows, rows_in_block(width, place, least_rows))


def _slices(n_rows: int, size: int) -> list[slice]:
    starts = range(0, n_rows, size)
    return [slice(start, min(start + size, n_rows)) for start in starts]


def parts_of_rows(rows: Rows, design: Design, width: int) -> list[Rows]:
    """Rows of a slice or index array in parts, of which ``width`` entries are made each."""
    if not isinstance(rows, slice):
        blocks = row_blocks(rows.shape[0], width, place=design.centre)
        return [rows[part] for part in blocks]
    first, stop, _ = rows.indices(design.n_rows)
    blocks = row_blocks(stop - first, width, place=design.centre)
    return [slice(first + part.start, first + part.stop) for part in blocks]


def iterate(
    design: Design,
    *aligned: Any,
    least_rows: int = LEAST_ROWS,
    dense: bool = False,
    most_rows: int | None = None,
) -> Iterator[tuple[slice, tuple[Any, ...]]]:
    """Pairs of a slice and ``(block, *parts)``, over all rows.

    A block is overwritten by the next one. ``dense`` makes arrays of sparse rows too.
    """
    blocks = _blocks(design, least_rows, dense, most_rows)
    yield from _over(blocks, design, aligned, dense)


def _blocks(
    design: Design,
    least_rows: int = LEAST_ROWS,
    dense: bool = False,
    most_rows: int | None = None,
) -> list[slice]:
    if most_rows is None or (design.is_sparse and not dense):
        most_rows = design.source.rows_in_block(design.width)
        if dense:
            most_rows = rows_in_block(design.width, design.centre, least_rows)
    return _slices(design.n_rows, most_rows)


def training_blocks(design: Design, width: int) -> list[slice]:
    """Slices over the rows of a design, where ``width`` entries are made of each row."""
    size = design.for_products.source.rows_in_answer(width)
    return _slices(design.n_rows, size)


def _over(
    blocks: list[slice], design: Design, aligned: tuple[Any, ...], dense: bool = False
) -> Iterator[tuple[slice, tuple[Any, ...]]]:
    scratch = None
    for rows in blocks:
        block = design.block(rows, scratch)
        scratch = block if scratch is None else scratch
        block = densified(block) if dense else block
        yield rows, (block, *(part[rows, ...] for part in aligned))


def sum_over_rows(
    function: Callable[..., Any], start: Any, design: Design, *aligned: Any
) -> Any:
    """Fold ``total = function(total, block, *parts)`` over all rows.

    ``function`` may add into ``total`` in place; totals of disjoint rows must add up:
    threads take runs of rows, and ``+`` puts their totals together, in order.
    """

    def fold(blocks: list[slice], total: Array) -> Any:
        for _, block in _over(blocks, design, aligned):
            total = function(total, *block)
        return total

    def folded(most_rows: int | None) -> Any:
        runs = _runs(_blocks(design, most_rows=most_rows), design)
        again = kernels(design.centre).out_of_memory() or len(runs) > 1
        starts = [copy.deepcopy(start) if again else start for _ in runs]
        return reduce(operator.add, _threads.each(fold, runs, starts))

    return _within_memory(folded, design)


def _runs(blocks: list[slice], design: Design) -> list[list[slice]]:
    """Blocks for each thread."""
    if not design.source.is_shared:
        return [blocks]
    return _threads.runs(blocks, design.n_rows * design.width)


def map_over_rows(function: Callable[..., Any], design: Design, *aligned: Any) -> Any:
    """Results of ``function(block, *parts)``, concatenated along the rows.

    ``function`` returns one array or a tuple of arrays, each with the rows first.
    """

    def over(blocks: list[slice]) -> list[Any]:
        return [function(*block) for _, block in _over(blocks, design, aligned)]

    def mapped(most_rows: int | None) -> list[Any]:
        return _side_by_side(over, _runs(_blocks(design, most_rows=most_rows), design))

    parts = _within_memory(mapped, design)
    if isinstance(parts[0], tuple):
        xp = array_namespace(parts[0][0])
        return tuple(xp.concat(column, axis=0) for column in zip(*parts, strict=True))
    return array_namespace(parts[0]).concat(parts, axis=0)


def stream_blocks(
    function: Callable[[slice], Any],
    blocks: list[slice],
    design: Design,
    *,
    width: int,
    in_order: bool,
) -> Iterator[Any]:
    """``function(rows)`` of blocks of training rows, in order, as they are asked for.

    Threads make the next ones meanwhile, unless ``in_order``. ``width`` entries are read or
    made for each row.
    """
    if (
        in_order or not design.source.is_shared
    ):  # the function may have threads of its own
        return map(function, blocks)
    n_threads = _threads.n_runs(blocks[-1].stop * width)
    return _threads.ordered(function, blocks, n_threads)


def _side_by_side(
    function: Callable[[list[slice]], list[Any]], runs: list[list[slice]]
) -> list[Any]:
    """Results of the blocks of all runs, in order."""
    return [part for parts in _threads.each(function, runs) for part in parts]


def _within_memory(work: Callable[[int | None], Any], design: Design) -> Any:
    """``work`` in smaller and smaller blocks of rows, until they fit the device."""
    kernel, most_rows = kernels(design.centre), None
    while True:
        try:
            return work(most_rows)
        except kernel.out_of_memory() as error:
            if most_rows is None:
                most_rows = design.source.rows_in_block(design.width)
                most_rows = min(most_rows, design.n_rows)
            if most_rows <= _FEWEST_ROWS:
                raise _no_memory(kernel, design, most_rows) from error
            most_rows = max(most_rows // 4, _FEWEST_ROWS)
        kernel.release()  # outside: the error holds the arrays of its frames


def _no_memory(kernel: Any, design: Design, n_rows: int) -> DeviceMemoryError:
    free = kernel.free_bytes(design.centre) / 2**20
    return DeviceMemoryError(
        f"The device has no room to work on {n_rows} rows of {design.width} columns at a "
        f"time: {free:.0f} MiB are free. What stays there is too much, not the blocks: "
        "free other arrays, keep X on the host and give backend='cupy', which sends it "
        "in blocks where it does not fit, or use solver='cg', which needs no matrix of "
        f"{design.width} x {design.width}, or backend='numpy'."
    )
