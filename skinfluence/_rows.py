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

from sklearn import get_config

from skinfluence import _threads
from skinfluence._array import Array, array_namespace, is_numpy_array
from skinfluence._design import Design
from skinfluence._kernels import densified, kernels
from skinfluence.exceptions import DeviceMemoryError

# A block should fit the second-level cache together with one scaled copy of itself.
_BLOCK_ENTRIES = 2**16
_LEAST_ROWS, _MOST_ROWS = 256, 4096
# Rows that are multiplied as they are are copied into the cache by their kernels only.
_PLAIN_ENTRIES, _LEAST_PLAIN_ROWS, _MOST_PLAIN_ROWS = 2**19, 2048, 8192
# Not even the least number of rows may hold more numbers than this, 64 MiB.
_MOST_ENTRIES = 2**23
# Where a device has no room for blocks of so few rows, smaller ones will not help.
_FEWEST_ROWS = 16
# Sparse rows are few numbers each; what they are multiplied by is wide.
_MOST_SPARSE_ROWS = 2**15
# Blocks that hold so many numbers, where all that could be made of their rows is.
_SPARSE_SHARE = 128


def row_blocks(
    n_rows: int, width: int, least_rows: int = _LEAST_ROWS, place: Any = None
) -> list[slice]:
    """Slices over ``n_rows`` rows of ``width`` numbers, in blocks that suit a cache.

    Or an accelerator, where an array at ``place`` lives on one: blocks as large as its
    free memory allows, since each costs the launch of its kernels.
    """
    entries = None if place is None else kernels(place).block_entries(place)
    if entries is not None:
        size = max(entries // max(width, 1), 1)
    else:
        size = _host_block(width, least_rows)
    return _slices(n_rows, size)


def _slices(n_rows: int, size: int) -> list[slice]:
    starts = range(0, n_rows, size)
    return [slice(start, min(start + size, n_rows)) for start in starts]


def _host_block(width: int, least_rows: int) -> int:
    size = max(min(_BLOCK_ENTRIES // max(width, 1), _MOST_ROWS), least_rows)
    return max(min(size, _MOST_ENTRIES // max(width, 1)), 1)


def iterate(
    design: Design,
    *aligned: Any,
    least_rows: int = _LEAST_ROWS,
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
    least_rows: int = _LEAST_ROWS,
    dense: bool = False,
    most_rows: int | None = None,
) -> list[slice]:
    if design.is_wide_sparse and not dense:
        return row_blocks(design.n_rows, design.row_entries, _MOST_SPARSE_ROWS)
    if most_rows is not None:
        return _slices(design.n_rows, most_rows)
    if design.by_formula:
        return plain_blocks(design.n_rows, design.width)
    return row_blocks(design.n_rows, design.width, least_rows, design.centre)


def plain_blocks(n_rows: int, width: int) -> list[slice]:
    """Slices over rows that are read where they lie, and ``width`` numbers made of each.

    Not more at a time than scikit-learn's ``working_memory`` holds.
    """
    entries = min(_PLAIN_ENTRIES, working_entries())
    size = max(entries // max(width, 1), _LEAST_PLAIN_ROWS)
    return _slices(n_rows, min(size, _MOST_PLAIN_ROWS))


def working_entries() -> int:
    """Float64 numbers that fit scikit-learn's ``working_memory``."""
    return int(get_config()["working_memory"] * 2**20 / 8)


def training_blocks(design: Design, width: int) -> list[slice]:
    """Slices over the rows of a design, where ``width`` numbers are made of each row."""
    if design.centred_by_formula.by_formula:
        return plain_blocks(design.n_rows, width)
    if design.is_wide_sparse:  # most answers make few numbers of each row
        width = max(design.row_entries, width // _SPARSE_SHARE)
    return row_blocks(design.n_rows, width, place=design.centre)


def _over(
    blocks: list[slice], design: Design, aligned: tuple[Any, ...], dense: bool = False
) -> Iterator[tuple[slice, tuple[Any, ...]]]:
    scratch = None
    for rows in blocks:
        block = design.block(rows, scratch)
        if design.is_wide_sparse or design.by_formula:
            block = densified(block) if dense else block
        elif scratch is None:
            scratch = block
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
    if not is_shared(design):
        return [blocks]
    return _threads.runs(blocks, design.n_rows * design.width)


def is_shared(design: Design) -> bool:
    """Whether threads overlap: products with sparse rows hold the interpreter's lock."""
    return is_numpy_array(design.centre) and not design.is_wide_sparse


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
    alone: bool,
) -> Iterator[Any]:
    """``function(rows)`` of blocks of training rows, in order, as they are asked for.

    Threads make the next ones meanwhile, unless ``alone``. ``width`` numbers are read or
    made for each row.
    """
    if alone or not is_shared(design):  # the function may have threads of its own
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
                place = design.centre
                first = row_blocks(design.n_rows, design.width, place=place)[0]
                most_rows = first.stop
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
